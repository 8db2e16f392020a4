"""Demanded skills of a job by a classifier of phrases: where a phrase stands, and what training
jobs made of it.

Every phrase of up to MAX_WORDS words is a candidate; what training jobs say of it leaves out the
job itself, so that a phrase that only one job names is as unknown in training as in use. Reads
layout (sections, lists) that single sentences do not have: for these, see `tagger`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import skops.io
from sklearn.ensemble import HistGradientBoostingClassifier

from matchlib.data.schema import DataError
from matchlib.hrtasks.facts import DemandedSkill
from matchlib.hrtasks.resume_parts import STOP_WORDS
from matchlib.hrtasks.scores import normal_phrase

MAX_WORDS = 6
SECTIONS = {
    "skills": r"skill|qualif|requirement|competenc",
    "experience": r"experience",
    "title": r"title",
    "duties": r"respons|dut",
    "summary": r"summary|description|about",
}
"""Kinds of sections of a job, by words of their headings; the first that fits is meant."""
TRUSTED = ["sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"]
"""Types of scikit-learn that a saved model holds, beside those that skops knows."""

_WORD = re.compile(r"[^\W_](?:[\w+#'/&.-]*[\w+#])?|\.NET\b", re.I)
_HEADING = re.compile(
    r"\b(skills?|experiences?|responsibilit\w*|summary|title|duties|qualifications?|education|"
    r"benefits?|requirements?|description)\b",
    re.I,
)
_CROSSING = re.compile(r"[,;:]|\.\s")
_JOINED = re.compile(r"[,(:/]\s*$|\b(?:and|or|in|of|with)\s*$", re.I)
_SKILL_BEHIND = re.compile(r"\s*(?:skills?|abilit|knowledge|experience)", re.I)


@dataclass(frozen=True)
class Occurrence:
    """A phrase at a place of a text. section: of SECTIONS or "other"; is_first, is_last: of its
    line; has_colon, has_comma: behind it; is_joined: behind a comma, "and", "in" and the like;
    skill_behind: "skills", "knowledge" follow."""

    text: str
    start: int
    section: str
    n_words: int
    is_first: bool
    is_last: bool
    has_colon: bool
    has_comma: bool
    is_joined: bool
    skill_behind: bool


FLAGS = (
    "is_first",
    "is_last",
    "has_colon",
    "has_comma",
    "is_joined",
    "skill_behind",
)


@lru_cache(maxsize=2_000)
def find_candidates(text: str) -> dict[str, list[Occurrence]]:
    """Phrases of a job in normal form, each with the places where it stands.

    Those that begin or end with a word such as "the" are left out, those with a comma or full stop
    inside, and headings.
    """
    found: dict[str, list[Occurrence]] = {}
    section = "other"
    start = 0
    for line in text.split("\n"):
        if _is_heading(line):
            section = _section_of(line)
        else:
            for occurrence in _of_line(line, start, section):
                found.setdefault(normal_phrase(occurrence.text), []).append(occurrence)
        start += len(line) + 1
    return found


def _is_heading(line: str) -> bool:
    text = line.strip(" #*:\t-")
    return 0 < len(text.split()) <= 4 and not text.endswith(".") and bool(_HEADING.search(text))


def _section_of(heading: str) -> str:
    for name, words in SECTIONS.items():
        if re.search(words, heading, re.I):
            return name
    return "other"


def _of_line(line: str, start: int, section: str) -> list[Occurrence]:
    words = [match.span() for match in _WORD.finditer(line)]
    found = []
    for first in range(len(words)):
        if line[slice(*words[first])].lower() in STOP_WORDS:
            continue
        for last in range(first, min(first + MAX_WORDS, len(words))):
            if line[slice(*words[last])].lower() in STOP_WORDS:
                continue
            begin, end = words[first][0], words[last][1]
            before, behind = line[:begin], line[end:]
            inside = line[begin:end]
            if _CROSSING.search(inside):
                break
            found.append(
                Occurrence(
                    inside,
                    start + begin,
                    section,
                    last - first + 1,
                    is_first=not re.search(r"[^\W\d]", before),
                    is_last=not re.search(r"\w", behind),
                    has_colon=behind[:1] == ":",
                    has_comma=bool(re.match(r"\s*[,;]", behind)),
                    is_joined=bool(_JOINED.search(before)),
                    skill_behind=bool(_SKILL_BEHIND.match(behind)),
                )
            )
    return found


class PhraseClassifier:
    """Which phrases of a job are skills that it demands.

    gold, seen: of each phrase, the training jobs that name it as a skill, and that hold it.
    """

    def __init__(self, model, gold: Counter[str], seen: Counter[str]):
        self.model = model
        self.gold = gold
        self.seen = seen

    @classmethod
    def train(
        cls, jobs: Sequence[str], skills: Sequence[Sequence[str]], *, seed: int
    ) -> PhraseClassifier:
        """jobs: texts; skills: of each job. Raises DataError where no skill stands in its job."""
        candidates = [find_candidates(job) for job in jobs]
        true = [{normal_phrase(skill) for skill in of_job} for of_job in skills]
        gold = Counter(phrase for of_job in true for phrase in of_job)
        seen = Counter(phrase for of_job in candidates for phrase in of_job)
        rows, outcomes = [], []
        for of_job, names in zip(candidates, true, strict=True):
            for phrase, places in of_job.items():
                is_skill = phrase in names
                n_gold, n_seen = gold[phrase] - is_skill, seen[phrase] - 1
                rows.append(_features(phrase, places, n_gold, n_seen))
                outcomes.append(is_skill)
        if not any(outcomes):
            raise DataError("no skill of a training row stands in its job; nothing can be learned")
        model = HistGradientBoostingClassifier(
            max_iter=80, learning_rate=0.12, max_leaf_nodes=15, random_state=seed
        )
        return cls(model.fit(np.array(rows), np.array(outcomes)), gold, seen)

    def find(self, jobs: Sequence[str]) -> list[list[DemandedSkill]]:
        """The candidates of each job, the likeliest first."""
        return [self._of_job(find_candidates(job)) for job in jobs]

    def _of_job(self, candidates: dict[str, list[Occurrence]]) -> list[DemandedSkill]:
        if not candidates:
            return []
        rows = [
            _features(phrase, places, self.gold[phrase], self.seen[phrase])
            for phrase, places in candidates.items()
        ]
        p = self.model.predict_proba(np.array(rows))[:, 1]
        found = [
            DemandedSkill(places[0].text, float(probability))
            for places, probability in zip(candidates.values(), p, strict=True)
        ]
        return sorted(found, key=lambda skill: -skill.probability)

    def save(self, folder: Path) -> None:
        """Write the trees (skops, which holds no code) and the counts of phrases (JSON)."""
        folder.mkdir(parents=True, exist_ok=True)
        skops.io.dump(self.model, folder / "phrases.skops")
        known = {phrase: [self.gold[phrase], self.seen[phrase]] for phrase in self.gold}
        seen = {phrase: n for phrase, n in self.seen.items() if n > 1 and phrase not in known}
        counts = json.dumps({"gold": known, "seen": seen}, sort_keys=True, indent=0)
        (folder / "phrases.json").write_text(counts, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> PhraseClassifier:
        """Read what `save` wrote. Raises DataError where there is none."""
        if not (folder / "phrases.json").is_file():
            raise DataError(f"{folder}: no phrases.json; name a model of a stage of 08_hr_tasks")
        counts = json.loads((folder / "phrases.json").read_text(encoding="utf-8"))
        model = skops.io.load(folder / "phrases.skops", trusted=TRUSTED)
        gold = Counter({phrase: n for phrase, (n, _) in counts["gold"].items()})
        seen = Counter({phrase: n for phrase, (_, n) in counts["gold"].items()})
        seen.update(counts["seen"])
        return cls(model, gold, seen)


def _features(phrase: str, places: Sequence[Occurrence], n_gold: int, n_seen: int) -> list[float]:
    sections = {place.section for place in places}
    in_skills = [place for place in places if place.section == "skills"]
    first = places[0]
    return [
        n_gold,
        (n_gold + 0.2) / (n_seen + 1),
        n_seen,
        len(places),
        first.n_words,
        first.text[:1].isupper(),
        bool(re.search(r"\w[A-Z]", first.text)),
        phrase.endswith(("skill", "skills")),
        *(name in sections for name in SECTIONS),
        *(any(getattr(place, flag) for place in places) for flag in FLAGS),
        any(place.is_first and place.has_colon for place in places),
        any(place.is_first and place.is_last for place in places),
        any(place.is_first for place in in_skills),
        any(place.is_joined for place in in_skills),
        any(place.is_joined and (place.is_last or place.has_comma) for place in in_skills),
        any(place.text[:1].isupper() for place in in_skills),
    ]


def gazetteer(skills: Sequence[Sequence[str]], jobs: Sequence[str]) -> list[list[str]]:
    """The baseline: every skill of the training rows that a job holds as whole words."""
    known = {normal_phrase(name) for of_row in skills for name in of_row} - {""}
    pattern = {name: re.compile(rf"(?<!\w){re.escape(name)}(?![\w+#])") for name in known}
    found = []
    for job in jobs:
        text = normal_phrase(job)
        found.append(
            [name for name in sorted(known) if name in text and pattern[name].search(text)]
        )
    return found
