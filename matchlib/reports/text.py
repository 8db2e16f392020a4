"""Text from strangers, made safe to look at: nothing invisible, nothing endless."""

import re

# Bidi controls reorder a line, zero-width and tag characters hide text in it, and a lone surrogate
# cannot be written as UTF-8. Joiners (U+200C, U+200D) stay: Persian and emoji are spelled with them.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0d\x0e-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def show_invisible(text: str) -> str:
    """Text with control, bidi and zero-width characters written out, as in ⟨U+202E⟩; tab and newline stay."""
    return _INVISIBLE.sub(lambda match: f"⟨U+{ord(match[0]):04X}⟩", text.replace("\r\n", "\n"))


def cut_text(text: str, *, max_characters: int, max_lines: int) -> str:
    """The beginning of a text, with an ellipsis and the number of characters left out when it is longer."""
    kept = "\n".join(text.split("\n", max_lines)[:max_lines])[:max_characters]
    if len(kept) == len(text):
        return text
    return f"{kept}… ({len(text) - len(kept):,} more characters)"
