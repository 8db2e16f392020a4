"""How much of a pair's score comes from which statement, by removal.

The part of a statement is how far the score falls when it alone is taken out of its text (leave one
out). Parts do not add up to the score, since statements share meaning: what is left over, the
score less the parts, is named as the rest, so that parts and rest do. Source: erasure (Li, Monroe and
Jurafsky, arXiv 1612.08220).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from matchlib.analysis.explain import requirements, shorten
from matchlib.extraction.facts import split_segments
from matchlib.retrieval.encoder import Encoder

PART_COLUMNS = ("requirement_parts", "carried_by", "hint")
N_SHOWN = 3
MAX_STATEMENTS = 40
"""Statements of a resume that are taken out, one at a time."""


@dataclass(frozen=True)
class ScoreParts:
    """score: of the pair; requirements, statements: (statement, part) of the job's and the resume's,
    the largest part first; hint: the requirement whose own words would raise the score most if the
    resume held them, and by how much."""

    score: float
    requirements: list[tuple[str, float]]
    statements: list[tuple[str, float]]
    hint: tuple[str, float]

    @property
    def rest(self) -> float:
        """The score less the requirements' parts."""
        return self.score - sum(part for _, part in self.requirements)


def without(text: str, statements: Iterable[str]) -> str:
    """The text without the first occurrence of each statement."""
    for statement in statements:
        text = text.replace(statement, "", 1)
    return text


def resume_statements(text: str) -> list[str]:
    """The statements of a resume below its header, as they are written, each once."""
    found = [segment.original for segment in split_segments(text) if not segment.in_header]
    return list(dict.fromkeys(found))[:MAX_STATEMENTS]


def score_parts(job_text: str, resume_text: str, encoder: Encoder) -> ScoreParts:
    """The parts of the encoder's cosine of a job and a resume.

    It costs as many encodings as both texts have statements.
    """
    asked = list(requirements(job_text).values())
    stated = resume_statements(resume_text)
    job_texts = [job_text, *(without(job_text, [one]) for one in asked)]
    resume_texts = [resume_text, *(without(resume_text, [one]) for one in stated)]
    resume_texts += [f"{resume_text}\n{one}" for one in asked]
    jobs = encoder.encode_jobs(job_texts)
    resumes = encoder.encode_resumes(resume_texts)
    by_job = jobs @ resumes[0]
    by_resume = resumes @ jobs[0]
    score = float(by_job[0])
    gains = by_resume[1 + len(stated) :] - score
    return ScoreParts(
        score,
        requirements=_largest_first(asked, score - by_job[1:]),
        statements=_largest_first(stated, score - by_resume[1 : 1 + len(stated)]),
        hint=_largest_first(asked, gains)[0] if asked else ("", 0.0),
    )


def _largest_first(statements: Sequence[str], parts: np.ndarray) -> list[tuple[str, float]]:
    order = np.argsort(-parts, kind="stable")
    return [(statements[i], float(parts[i])) for i in order]


def describe_parts(
    pairs: pd.DataFrame, jobs: pd.DataFrame, resumes: pd.DataFrame, encoder: Encoder
) -> pd.DataFrame:
    """PART_COLUMNS of each pair (job_id, resume_id), in words, row by row.

    requirement_parts: the job's largest ones and the rest; carried_by: the resume's statements
    without which the score falls most; hint: what is not in the resume and would raise it, which is
    a hint where to look and no advice to write what is not true.
    """
    job_texts = jobs.set_index("job_id")["text"]
    resume_texts = resumes.set_index("resume_id")["text"]
    rows = []
    for job_id, resume_id in pairs[["job_id", "resume_id"]].itertuples(index=False):
        parts = score_parts(job_texts[job_id], resume_texts[resume_id], encoder)
        statement, gain = parts.hint
        rest = parts.score - sum(part for _, part in parts.requirements[:N_SHOWN])
        rows.append(
            {
                "requirement_parts": f"{_shown(parts.requirements)} | all else: {rest:+.3f}",
                "carried_by": _shown(parts.statements),
                "hint": f"{shorten(statement)}: {gain:+.3f}, if it were true" if gain > 0 else "",
            }
        )
    return pd.DataFrame(rows, columns=list(PART_COLUMNS), index=pairs.index)


def _shown(parts: Sequence[tuple[str, float]]) -> str:
    return " | ".join(f"{shorten(statement)}: {part:+.3f}" for statement, part in parts[:N_SHOWN])
