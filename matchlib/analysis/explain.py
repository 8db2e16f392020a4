"""Explanations: what speaks for and against a pair of job and resume, from their texts alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from matchlib.analysis.reading import Piece, cut, read_facts
from matchlib.data.rules import same_place, split_items
from matchlib.retrieval.encoder import Encoder

COLUMNS = ("matched_skills", "missing_skills", "years_asked", "years_held", "place", "nearest")
MAX_REQUIREMENTS = 12
"""Statements of a job that are explained; longer adverts repeat themselves."""
MAX_STATEMENTS = 80
"""Statements of a resume among which the nearest is sought."""
SHOWN = 120
"""Characters of a statement that are shown."""


def explain_pairs(
    pairs: pd.DataFrame, jobs: pd.DataFrame, resumes: pd.DataFrame, encoder: Encoder
) -> pd.DataFrame:
    """Explain each of the pairs (job_id, resume_id): a frame with COLUMNS, row by row.

    matched_skills: skills the job names and the resume has; missing_skills: must-haves that the
    resume does not name;
    years_asked, years_held: Int64, missing where the text names none; place: "both in Leeds",
    "Leeds against Exeter", "remote" or "" where one is unknown; nearest: for each requirement the
    resume's nearest statement and their cosine. Read from the texts alone (see `reading`),
    structured columns are not looked at. Every distinct statement of the pairs' documents is
    encoded once, which is what an explanation costs.
    """
    jobs, resumes = (
        frame[frame[key].isin(set(pairs[key]))].drop_duplicates(key).set_index(key)["text"]
        for frame, key in ((jobs, "job_id"), (resumes, "resume_id"))
    )
    job_facts, resume_facts = (
        read_facts(texts.tolist(), encoder=encoder).set_index(texts.index)
        for texts in (jobs, resumes)
    )
    nearest = _Nearest(jobs, resumes, encoder)
    rows = []
    asked_of, held_of = job_facts.to_dict("index"), resume_facts.to_dict("index")
    for job, resume in zip(pairs["job_id"], pairs["resume_id"], strict=True):
        asked, held = asked_of[job], held_of[resume]
        has = set(_all_skills(held))
        rows.append(
            (
                "; ".join(skill for skill in _all_skills(asked) if skill in has),
                "; ".join(skill for skill in split_items(asked["skills"]) if skill not in has),
                asked["years"],
                held["years"],
                _place(asked, held),
                nearest.of(job, resume),
            )
        )
    frame = pd.DataFrame(rows, columns=list(COLUMNS), index=pairs.index)
    return frame.astype({"years_asked": "Int64", "years_held": "Int64"})


def side_by_side(rows: pd.DataFrame) -> pd.DataFrame:
    """A few rows turned for reading: a column for each, their fields below one another."""
    return (
        rows.rename(columns=lambda name: name.replace("_", " "))
        .T.add_prefix("pair ")
        .reset_index(names="")
    )


def requirements(text: str) -> dict[str, str]:
    """The statements of a job that ask for something: those under its headings, else all but its
    head, else all.

    In plain form (see data.normal), in which they are compared -> as they are written, in which
    they are shown.
    """
    pieces = cut(text)
    chosen = [p for p in pieces if p.listed] or [p for p in pieces if not p.head] or pieces
    return _distinct(chosen, MAX_REQUIREMENTS)


def _statements(text: str) -> dict[str, str]:
    return _distinct(cut(text), MAX_STATEMENTS)


def _distinct(pieces: list[Piece], most: int) -> dict[str, str]:
    shown: dict[str, str] = {}
    for piece in pieces:
        if len(shown) == most:
            break
        shown.setdefault(piece.text, piece.shown)
    return shown


class _Nearest:
    """The statements of jobs and resumes (Series of texts by id) and their vectors."""

    def __init__(self, jobs: pd.Series, resumes: pd.Series, encoder: Encoder):
        self.asked = {key: requirements(text) for key, text in jobs.items()}
        self.held = {key: _statements(text) for key, text in resumes.items()}
        self.job_vectors = _vectors(self.asked, encoder.encode_jobs)
        self.resume_vectors = _vectors(self.held, encoder.encode_resumes)

    def of(self, job: str, resume: str) -> str:
        """`requirement <- statement (cosine)` for each requirement, parted by " | "."""
        if not self.asked[job] or not self.held[resume]:
            return ""
        cosines = self.job_vectors[job] @ self.resume_vectors[resume].T
        best = cosines.argmax(1)
        held = list(self.held[resume].values())
        return " | ".join(
            f"{_shown(asked)} <- {_shown(held[at])} ({cosines[i, at]:.2f})"
            for i, (asked, at) in enumerate(zip(self.asked[job].values(), best, strict=True))
        )


def _vectors(statements: dict[str, dict[str, str]], encode) -> dict[str, np.ndarray]:
    """(n, dim) vectors of each document's statements; equal ones are encoded once."""
    unique = list(dict.fromkeys(text for texts in statements.values() for text in texts))
    if not unique:
        return {}
    row, matrix = {text: i for i, text in enumerate(unique)}, encode(unique)
    return {key: matrix[[row[text] for text in texts]] for key, texts in statements.items()}


def _shown(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def _all_skills(facts: dict) -> Sequence[str]:
    return split_items(f"{facts['skills']}; {facts['nice_skills']}")


def _place(asked: dict, held: dict) -> str:
    if "yes" in (asked["remote"], held["remote"]) or (asked["city"] and held["city"]):
        return same_place().why(asked, held)
    return ""
