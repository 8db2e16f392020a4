"""Words of any script: runs of letters and digits and, in scripts that write no spaces, single
characters."""

from __future__ import annotations

import re

from matchlib.data.normal import plain
from matchlib.data.schema import DataError

SEGMENTS = ("characters", "jieba")
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3040-\u30ff\uff66-\uff9f"  # Hiragana, Katakana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)  # Chinese characters
_RUN = re.compile(f"[{UNSPACED}]+")
_WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")
_PIECE = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")


def words(text: str) -> list[str]:
    """Lower-cased words of a text in its plain form; a Chinese, Japanese or Thai character is a
    word of its own."""
    return _WORD.findall(plain(text).lower())


def cut_at_words(text: str, n: int) -> list[str]:
    """Consecutive pieces of n words each, nothing left out; at least one. What stands between
    spaces is a word."""
    ends = [word.end() for word in _PIECE.finditer(text)][n - 1 :: n]
    ends = [*ends, len(text)] if not ends or text[ends[-1] :].strip() else ends
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def spaced(text: str, *, segment: str = "characters") -> str:
    """The text in its plain form with spaces between the words of scripts that write none.

    segment: characters (every character a word), or jieba (Chinese words, by the package of that
    name).
    Raises DataError on an unknown segment or where jieba is not installed.
    """
    if segment not in SEGMENTS:
        raise DataError(f"segment {segment!r} is not one of {', '.join(SEGMENTS)}")
    text = plain(text)
    if not _RUN.search(text):
        return text
    cut = list if segment == "characters" else _jieba()
    return _RUN.sub(lambda run: f" {' '.join(cut(run[0]))} ", text)


def _jieba():
    try:
        import jieba
    except ImportError:
        raise DataError(
            "segment jieba needs the package jieba; install it, or use segment: characters"
        ) from None
    jieba.setLogLevel("WARNING")
    return jieba.lcut


def token_pattern() -> str:
    """Regular expression of the tokens of a `spaced` text: unspaced scripts in any length, others
    from 2 letters on, as BM25 and TF-IDF libraries have it."""
    return rf"(?u)[{UNSPACED}]+|[^\W{UNSPACED}]{{2,}}"
