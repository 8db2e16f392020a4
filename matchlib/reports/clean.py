"""The only door through which HTML from a notebook enters a page: an allow-list, kept by nh3."""

import re

import nh3
from markupsafe import Markup
from pygments.token import STANDARD_TYPES

from matchlib.reports.text import show_invisible

_TEXT_TAGS = "a abbr b br code del em i img ins kbd mark q s samp small span strong sub sup u var"
_BLOCK_TAGS = (
    "blockquote dd details div dl dt figcaption figure h1 h2 h3 h4 h5 h6 hr li ol p pre summary ul"
)
_TABLE_TAGS = "caption col colgroup table tbody td tfoot th thead tr"
TAGS = {*_TEXT_TAGS.split(), *_BLOCK_TAGS.split(), *_TABLE_TAGS.split()}
# what stands inside these is code or a document of its own, never text for the reader
_PROGRAM_TAGS = (
    "script style iframe object embed applet template noscript svg math title textarea select"
)
ATTRIBUTES = {
    "a": {"href", "title"},
    "abbr": {"title"},
    "img": {"src", "alt", "width", "height"},
    "ol": {"start"},
    "td": {"colspan", "rowspan", "align"},
    "th": {"colspan", "rowspan", "align", "scope"},
}
CLASSES = {
    "span": set(STANDARD_TYPES.values()) - {""},
    "td": {"number", "text"},
    "th": {"number", "text"},
    "p": {"left-out"},
    "table": {"dataframe"},
}
_LINK = re.compile(r"(https?://|mailto:|#)", re.IGNORECASE)
_EMBEDDED_IMAGE = re.compile(r"data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]+")
# markdown writes a column's alignment as a style, which we let no one have
_ALIGNMENT = re.compile(r'style="text-align: ?(left|right|center);?"')
_SMALL_NUMBER = re.compile(r"\d{1,4}")


def clean_html(html: str) -> Markup:
    """HTML with allowed tags only: no script, no handler, no style, no id, no address that would
    load."""
    return Markup(
        nh3.clean(
            # invisible characters also because nh3 takes no lone surrogate
            _ALIGNMENT.sub(r'align="\1"', show_invisible(str(html))),
            tags=TAGS,
            clean_content_tags=set(_PROGRAM_TAGS.split()),
            attributes=ATTRIBUTES,
            attribute_filter=_allowed_value,
            allowed_classes=CLASSES,
            url_schemes={"http", "https", "mailto", "data"},
            link_rel="noopener noreferrer",
        )
    )


def _allowed_value(tag: str, name: str, value: str) -> str | None:
    """The value, or None where the attribute must go; nh3 has already checked names and URL
    schemes."""
    if name == "href":
        return value if _LINK.match(value) else None
    if name == "src":
        return value if _EMBEDDED_IMAGE.fullmatch(value) else None
    if name in {"width", "height", "colspan", "rowspan", "start"}:
        return value if _SMALL_NUMBER.fullmatch(value) else None
    if name == "align":
        return value if value in {"left", "right", "center"} else None
    return value
