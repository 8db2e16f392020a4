"""Text from strangers, made safe to look at: nothing invisible, nothing endless."""

import re

# Bidi controls reorder a line, zero-width and tag characters hide text in it, and a lone surrogate
# cannot be written as UTF-8. Joiners (U+200C, U+200D) stay: Persian and emoji are spelled with
# them.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0d\x0e-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
# Marks without a width of their own pile up over the lines around them; no language stacks more
# than four.
_MARK = (
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u0e31\u0e34-\u0e3a\u0e47-\u0e4e"
    "\u1ab0-\u1aff\u1dc0-\u1dff\u200c\u200d\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f\U000e0100-\U000e01ef]"
)
_PILE = re.compile(f"({_MARK}{{4}})({_MARK}+)")


def show_invisible(text: str) -> str:
    """Text with control, bidi and zero-width characters written out, as in ⟨U+202E⟩; tab and
    newline stay.

    Of combining marks that pile up on one letter four stay, and the others are counted.
    """
    text = _INVISIBLE.sub(lambda match: f"⟨U+{ord(match[0]):04X}⟩", text.replace("\r\n", "\n"))
    return _PILE.sub(lambda match: f"{match[1]}⟨{len(match[2]):,} more marks⟩", text)


def cut_text(text: str, *, max_characters: int, max_lines: int) -> str:
    """The beginning of a text, with an ellipsis and the number of characters left out when it is
    longer."""
    kept = "\n".join(text.split("\n", max_lines)[:max_lines])[:max_characters]
    if len(kept) == len(text):
        return text
    return f"{kept}… ({len(text) - len(kept):,} more characters)"


def cut_line(text: str, *, max_characters: int = 200) -> str:
    """A text as one line of a title's length."""
    return cut_text(" ".join(text.split()), max_characters=max_characters, max_lines=1)
