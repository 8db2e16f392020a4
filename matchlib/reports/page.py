"""The page that all reports share: template environment, style, content policy, small formats."""

import base64
import hashlib
import json
import os
import re
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from matchlib.reports.labels import metric_label
from matchlib.reports.tables import format_value
from matchlib.reports.text import cut_text, show_invisible

TEMPLATES = Path(__file__).parent / "templates"
MAX_VALUE_CHARACTERS = 400
MAX_HEADLINE_CHARACTERS = 1_000


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The Jinja environment of all pages: what is not Markup is escaped, a missing name stops."""
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    css = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    templates.globals["css"] = Markup(css)
    templates.globals["content_policy"] = content_policy(css)
    templates.filters |= {
        "value": show_value,
        "headline": show_headline,
        "metric_label": metric_label,
        "first_sentence": first_sentence,
        "number": show_number,
        "duration": show_duration,
        "moment": show_moment,
        "code_version": show_code_version,
    }
    templates.tests["dirty"] = has_uncommitted_changes
    return templates


def content_policy(css: str) -> str:
    """A Content-Security-Policy under which this one stylesheet and embedded images are all that
    loads."""
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    return f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def write_page(path: Path, template: str, **content: object) -> Path:
    """Render a template to a file, written beside and renamed."""
    page = show_invisible(environment().get_template(template).render(**content))
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    beside.write_text(page, encoding="utf-8")
    beside.replace(path)
    return path


def show_value(value: object) -> str:
    """A parameter or other literal as text, of bounded length."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return cut_text(text, max_characters=MAX_VALUE_CHARACTERS, max_lines=20)


def show_headline(text: object) -> str:
    """A stage's answer, of bounded length."""
    return cut_text(str(text), max_characters=MAX_HEADLINE_CHARACTERS, max_lines=20)


def first_sentence(text: str) -> str:
    """A text up to the end of its first sentence."""
    return re.split(r"(?<=[a-z0-9)\]][.?!])\s+(?=[A-Z])", text, maxsplit=1)[0]


def show_number(value: object) -> str:
    """A metric as text: three decimals, thousands separators, a dash for none."""
    if isinstance(value, (dict, list)):
        return show_value(value)
    return cut_text(format_value(value), max_characters=MAX_VALUE_CHARACTERS, max_lines=20)


def show_duration(seconds: object) -> str:
    """Seconds as a reader says them: 8.4 s, 41 s, 3 min 20 s, 1 h 05 min."""
    if not isinstance(seconds, (int, float)) or not 0 <= seconds < 1e9:
        return "–"
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def show_moment(moment: object) -> str:
    """An ISO time as 2026-11-21 09:00 UTC; any other text as it is."""
    try:
        parsed = datetime.fromisoformat(str(moment))
    except ValueError:
        return show_value(moment)
    return f"{parsed:%Y-%m-%d %H:%M} {parsed.tzname() or ''}".strip()


def show_code_version(manifest: dict) -> str:
    """The code that made a stage: version and commit."""
    code = manifest["code"]
    parts = [f"matchlib {show_value(code['version'])}"] if code.get("version") else []
    if code.get("commit"):
        parts.append(f"commit {str(code['commit'])[:10]}")
    return ", ".join(parts) or "unknown code"


def has_uncommitted_changes(manifest: dict) -> bool:
    """Whether the code that made a stage differed from its commit."""
    return bool(manifest["code"].get("dirty"))
