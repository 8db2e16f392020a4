"""The skill-occupation graph: occupations, the skills they need, and how people word them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

GRAPH_FILE = Path(__file__).with_name("skills.json")
DEGREES = ("none", "vocational", "bachelor", "master", "doctorate")
LEVELS = ("junior", "middle", "senior", "lead")


@dataclass(frozen=True)
class Skill:
    """One skill: its canonical name, other names (aliases) and deeds that imply it (evidence)."""

    id: str
    name: str
    aliases: tuple[str, ...]
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Occupation:
    """One occupation of a family; `years` is typical for its middle level, `size` a relative
    frequency."""

    id: str
    name: str
    family: str
    titles: tuple[str, ...]
    degree: str
    years: int
    essential: tuple[str, ...]
    optional: tuple[str, ...]
    size: float


@dataclass(frozen=True)
class Graph:
    """families: id -> {"name", "industry"}; occupations and skills by id."""

    families: dict[str, dict[str, str]]
    occupations: dict[str, Occupation]
    skills: dict[str, Skill]


@cache
def load_graph(wording: str = "seen") -> Graph:
    """Read the graph with one set of wordings.

    wording: "seen" (what extractors, classifiers and generators may read) or "held_out" (used only
    to write the simulated market's test texts, so that a model cannot have memorised them).
    """
    if wording not in ("seen", "held_out"):
        raise ValueError(f"wording {wording!r} is neither 'seen' nor 'held_out'")
    raw = json.loads(GRAPH_FILE.read_text(encoding="utf-8"))
    skills = {
        key: Skill(key, s["name"], tuple(s["aliases"][wording]), tuple(s["evidence"][wording]))
        for key, s in raw["skills"].items()
    }
    occupations = {
        key: Occupation(
            key,
            o["name"],
            o["family"],
            tuple(o["titles"][wording]),
            o["degree"],
            o["years"],
            tuple(o["essential"]),
            tuple(o["optional"]),
            o["size"],
        )
        for key, o in raw["occupations"].items()
    }
    return Graph(raw["families"], occupations, skills)
