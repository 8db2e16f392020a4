"""How the text of a Word file looks, as far as it decides whether a reader sees it."""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

SMALLEST_HALF_POINTS = 3
"""Text of 1.5 points or less cannot be read on the page."""
_LIGHTEST = 0xF5
_OFF = frozenset(("0", "false", "off"))
_NO_FILL = frozenset(("", "auto", "ffffff", "white"))
_MAX_ANCESTORS = 20


def local(node: etree._Element | None) -> str:
    """The name of an element without its namespace; "" of what is no element."""
    if node is None or not isinstance(node.tag, str):
        return ""
    return node.tag.rpartition("}")[2]


def value(node: etree._Element, name: str) -> str | None:
    """An attribute by its name without the namespace."""
    for key, text in node.attrib.items():
        if key.rpartition("}")[2] == name:
            return text
    return None


def is_on(node: etree._Element) -> bool:
    """Whether a property that is on by being there is not set to off."""
    return (value(node, "val") or "").lower() not in _OFF


def is_shaded(properties: etree._Element | None) -> bool:
    """Whether properties of a run, paragraph, cell or table give it a ground that is not white."""
    if properties is None:
        return False
    shading = properties.find("{*}shd")
    if shading is not None:
        fill = (value(shading, "fill") or "").lower()
        pattern = (value(shading, "val") or "clear").lower()
        if fill not in _NO_FILL or value(shading, "themeFill") or pattern not in ("clear", "nil"):
            return True
    highlight = properties.find("{*}highlight")
    return highlight is not None and (value(highlight, "val") or "none").lower() not in (
        "none",
        "white",
    )


@dataclass(frozen=True)
class Look:
    """What decides whether text is seen; None: the properties do not say."""

    is_vanished: bool | None = None
    is_white: bool | None = None
    half_points: float | None = None
    is_shaded: bool = False

    @classmethod
    def of(cls, properties: etree._Element | None) -> Look:
        """The look that a run's properties give it."""
        if properties is None:
            return cls()
        vanish = properties.find("{*}vanish")
        color = properties.find("{*}color")
        size = properties.find("{*}sz")
        return cls(
            None if vanish is None else is_on(vanish),
            None if color is None else _is_white(color),
            None if size is None else _half_points(size),
            is_shaded(properties),
        )

    def changed_by(self, nearer: Look) -> Look:
        """This look where the nearer one does not say otherwise."""
        return Look(
            self.is_vanished if nearer.is_vanished is None else nearer.is_vanished,
            self.is_white if nearer.is_white is None else nearer.is_white,
            self.half_points if nearer.half_points is None else nearer.half_points,
            self.is_shaded or nearer.is_shaded,
        )

    def is_hidden(self, *, on_backdrop: bool) -> bool:
        """Whether a reader of the page does not see text of this look."""
        is_too_small = self.half_points is not None and self.half_points <= SMALLEST_HALF_POINTS
        return bool(self.is_vanished) or is_too_small or (bool(self.is_white) and not on_backdrop)


def _is_white(color: etree._Element) -> bool:
    text = (value(color, "val") or "").lower()
    if len(text) != 6:
        return False
    try:
        channels = bytes.fromhex(text)
    except ValueError:
        return False
    return min(channels) >= _LIGHTEST


def _half_points(size: etree._Element) -> float | None:
    text = (value(size, "val") or "").removesuffix("pt")  # the strict form may write "12pt"
    try:
        number = float(text)
    except ValueError:
        return None
    return 2 * number if (value(size, "val") or "").endswith("pt") else number


class Styles:
    """The styles of a Word file: what a style and those that it is based on say of the look."""

    def __init__(self, root: etree._Element | None):
        self._nodes: dict[str, etree._Element] = {}
        self._own: dict[str, Look] = {}
        self._looks: dict[tuple[str, str], Look] = {}
        self._shading: dict[str, bool] = {}
        self._default_paragraph = ""
        self._defaults = Look()
        if root is None:
            return
        self._defaults = Look.of(root.find("{*}docDefaults/{*}rPrDefault/{*}rPr"))
        for style in root.iterfind("{*}style"):
            name = value(style, "styleId") or ""
            self._nodes[name] = style
            if value(style, "type") == "paragraph" and value(style, "default") in (
                "1",
                "true",
                "on",
            ):
                self._default_paragraph = name

    def look(self, run_style: str, paragraph_style: str) -> Look:
        """The look of a run by the styles of itself and of its paragraph ("": none)."""
        key = (run_style, paragraph_style)
        if key not in self._looks:
            look = self._defaults.changed_by(
                self._look_of(paragraph_style or self._default_paragraph)
            )
            self._looks[key] = look.changed_by(self._look_of(run_style))
        return self._looks[key]

    def shades(self, table_style: str) -> bool:
        """Whether a table style, or one that it is based on, gives some cells a ground that is not
        white."""
        if table_style not in self._shading:
            shadings = [
                shading for node in self._ancestry(table_style) for shading in node.iter("{*}shd")
            ]
            self._shading[table_style] = any(is_shaded(shading.getparent()) for shading in shadings)
        return self._shading[table_style]

    def _look_of(self, name: str) -> Look:
        if name not in self._own:
            look = Look()
            for node in reversed(self._ancestry(name)):
                look = look.changed_by(Look.of(node.find("{*}rPr")))
                if is_shaded(node.find("{*}pPr")):
                    look = look.changed_by(Look(is_shaded=True))
            self._own[name] = look
        return self._own[name]

    def _ancestry(self, name: str) -> list[etree._Element]:
        """A style and those that it is based on, itself first; a circle ends."""
        found: list[etree._Element] = []
        while name in self._nodes and len(found) < _MAX_ANCESTORS:
            node = self._nodes[name]
            found.append(node)
            base = node.find("{*}basedOn")
            name = "" if base is None else value(base, "val") or ""
        return found
