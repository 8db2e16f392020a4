"""Explanations: the arguments for and against a pair of job and resume, from their texts alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from matchlib.data.rules import same_place, split_items
from matchlib.extraction.facts import Evidence, Segment, extract_with_evidence, split_segments
from matchlib.retrieval.encoder import Encoder

EXPLANATION_COLUMNS = (
    "matched_skills",
    "denied_skills",
    "not_stated_skills",
    "required_years",
    "resume_years",
    "place",
    "resume_not_read",
    "evidence",
    "nearest",
)
MAX_REQUIREMENTS = 12
"""Statements of a job that are explained; longer adverts repeat themselves."""
MAX_RESUME_STATEMENTS = 80
"""Statements of a resume that are compared with the requirements."""
MAX_SHOWN_CHARACTERS = 120
"""Characters of a statement that are shown."""


def explain_pairs(
    pairs: pd.DataFrame,
    jobs: pd.DataFrame,
    resumes: pd.DataFrame,
    encoder: Encoder,
) -> pd.DataFrame:
    """Explain each of the pairs (job_id, resume_id): a frame with EXPLANATION_COLUMNS, row by row.

    matched_skills: skills that the job names and the resume has; denied_skills: required skills that
    the resume says it lacks, or only wants; not_stated_skills: required skills of which it says
    nothing, which is no reason against a person; required_years, resume_years: Int64, missing where the text names
    none; place: "both in Leeds", "Leeds against Exeter", "remote", or "" where one is unknown;
    resume_not_read: how many of the resume's statements name nothing that is known, so that "not
    stated" may mean "not understood"; evidence: for each matched skill the resume's statement that
    says it, marked where it is only similar;
    nearest: for each requirement the resume's most similar statement and their cosine.

    All is extracted from the texts (see `facts`), structured columns are not read. The cost is that
    of encoding every distinct statement of the pairs' documents once.
    """
    job_texts = _texts_by_id(jobs, "job_id", pairs)
    resume_texts = _texts_by_id(resumes, "resume_id", pairs)
    job_facts, _ = _facts_by_id(job_texts, encoder, only_held=False)
    resume_facts, evidence = _facts_by_id(resume_texts, encoder, only_held=True)
    nearest_statements = _NearestStatements(job_texts, resume_texts, encoder)
    rows = []
    for job_id, resume_id in zip(pairs["job_id"], pairs["resume_id"], strict=True):
        row = _compare_facts(job_facts[job_id], resume_facts[resume_id])
        row["evidence"] = _describe_evidence(
            split_items(row["matched_skills"]), evidence[resume_id]
        )
        row["nearest"] = nearest_statements.describe(job_id, resume_id)
        rows.append(row)
    explained = pd.DataFrame(rows, columns=list(EXPLANATION_COLUMNS), index=pairs.index)
    return explained.astype({"required_years": "Int64", "resume_years": "Int64"})


def _texts_by_id(
    documents: pd.DataFrame,
    key: str,
    pairs: pd.DataFrame,
) -> pd.Series:
    needed = documents[documents[key].isin(pairs[key])]
    return needed.drop_duplicates(key).set_index(key)["text"]


def _facts_by_id(
    texts: pd.Series, encoder: Encoder, *, only_held: bool
) -> tuple[dict[str, dict], dict[str, dict[str, Evidence]]]:
    facts, evidence = extract_with_evidence(texts.tolist(), encoder=encoder, only_held=only_held)
    facts_by_id = facts.set_index(texts.index).to_dict("index")
    return facts_by_id, dict(zip(texts.index, evidence, strict=True))


def _describe_evidence(skills: Sequence[str], evidence: Mapping[str, Evidence]) -> str:
    """`skill <- statement` of each skill, separated by " | "; "(similar)" where that is all."""
    described = []
    for skill in skills:
        statement, is_similar = evidence[skill]
        mark = " (similar)" if is_similar else ""
        described.append(f"{skill} <- {shorten(statement)}{mark}")
    return " | ".join(described)


def _compare_facts(job_facts: Mapping, resume_facts: Mapping) -> dict[str, object]:
    resume_skills = set(_all_skills(resume_facts))
    required_skills = split_items(job_facts["skills"])
    matched = [skill for skill in _all_skills(job_facts) if skill in resume_skills]
    not_met = [skill for skill in required_skills if skill not in resume_skills]
    said_to_lack = set(split_items(resume_facts["denied_skills"]))
    return {
        "matched_skills": "; ".join(matched),
        "denied_skills": "; ".join(skill for skill in not_met if skill in said_to_lack),
        "not_stated_skills": "; ".join(skill for skill in not_met if skill not in said_to_lack),
        "required_years": job_facts["years"],
        "resume_years": resume_facts["years"],
        "place": _compare_places(job_facts, resume_facts),
        "resume_not_read": resume_facts["not_read"],
    }


def _all_skills(facts: Mapping) -> Sequence[str]:
    return split_items(f"{facts['skills']}; {facts['nice_skills']}")


def _compare_places(job_facts: Mapping, resume_facts: Mapping) -> str:
    is_remote = "yes" in (job_facts["remote"], resume_facts["remote"])
    both_known = job_facts["city"] and resume_facts["city"]
    if is_remote or both_known:
        return same_place().why(job_facts, resume_facts)
    return ""


def side_by_side(rows: pd.DataFrame) -> pd.DataFrame:
    """A few rows turned for reading: a column for each, their fields below one another."""
    renamed = rows.rename(columns=lambda name: name.replace("_", " "))
    return renamed.T.add_prefix("pair ").reset_index(names="")


def requirements(text: str) -> dict[str, str]:
    """The statements of a job that ask for something, in plain form -> as they are written.

    Statements are compared in plain form (see data.normal). They are those under the job's
    headings; without headings all but the header, and without these all.
    """
    segments = split_segments(text)
    under_heading = [segment for segment in segments if segment.under_heading]
    below_header = [segment for segment in segments if not segment.in_header]
    return _distinct_statements(under_heading or below_header or segments, MAX_REQUIREMENTS)


def _resume_statements(text: str) -> dict[str, str]:
    return _distinct_statements(split_segments(text), MAX_RESUME_STATEMENTS)


def _distinct_statements(segments: list[Segment], max_statements: int) -> dict[str, str]:
    originals: dict[str, str] = {}
    for segment in segments:
        if len(originals) == max_statements:
            break
        originals.setdefault(segment.text, segment.original)
    return originals


class _NearestStatements:
    """The statements of jobs and resumes (Series of texts by id) and their vectors."""

    def __init__(
        self,
        job_texts: pd.Series,
        resume_texts: pd.Series,
        encoder: Encoder,
    ):
        self.requirements = job_texts.map(requirements).to_dict()
        self.statements = resume_texts.map(_resume_statements).to_dict()
        self.job_vectors = _encode_distinct(self.requirements, encoder.encode_jobs)
        self.resume_vectors = _encode_distinct(self.statements, encoder.encode_resumes)

    def describe(self, job_id: str, resume_id: str) -> str:
        """`requirement <- statement (cosine)` for each requirement, separated by " | "."""
        required = list(self.requirements[job_id].values())
        statements = list(self.statements[resume_id].values())
        if not required or not statements:
            return ""
        cosines = self.job_vectors[job_id] @ self.resume_vectors[resume_id].T
        described = []
        for requirement, row in zip(required, cosines, strict=True):
            best = row.argmax()
            described.append(
                f"{shorten(requirement)} <- {shorten(statements[best])} ({row[best]:.2f})"
            )
        return " | ".join(described)


def _encode_distinct(
    statements: Mapping[str, Mapping[str, str]],
    encode: Callable[[list[str]], np.ndarray],
) -> dict[str, np.ndarray]:
    """(n, dim) vectors of each document's statements; equal ones are encoded once."""
    row_of: dict[str, int] = {}
    for own_statements in statements.values():
        for statement in own_statements:
            row_of.setdefault(statement, len(row_of))
    if not row_of:
        return {}
    vectors = encode(list(row_of))
    by_document = {}
    for key, own_statements in statements.items():
        rows = [row_of[statement] for statement in own_statements]
        by_document[key] = vectors[rows]
    return by_document


def shorten(text: str) -> str:
    """A statement in one line, of MAX_SHOWN_CHARACTERS at most."""
    text = " ".join(text.split())
    if len(text) <= MAX_SHOWN_CHARACTERS:
        return text
    return f"{text[: MAX_SHOWN_CHARACTERS - 3]}..."
