"""What a job demands and what a resume lacks: the explainer, and the features of the matcher.

Demanded skills come from an extractor (a tagger, a gazetteer), demanded experiences from patterns;
a resume is read by `claims.Evidence`. Nothing is a reason that has no words in the job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from matchlib.hrtasks.claims import Evidence
from matchlib.hrtasks.experiences import (
    Experience,
    align,
    demanded_experiences,
    shown_experiences,
)
from matchlib.hrtasks.resume_parts import content_words, skill_core

EXPERIENCE_KINDS = ("none", "shortened", "dropped")


@dataclass(frozen=True)
class DemandedSkill:
    """A skill that a job asks for, as the job writes it; probability: that it is meant as one."""

    name: str
    probability: float = 1.0


@dataclass(frozen=True)
class JobFacts:
    """What a job demands."""

    text: str
    skills: tuple[DemandedSkill, ...]
    experiences: tuple[Experience, ...]

    @classmethod
    def of(cls, job: str, skills: Sequence[DemandedSkill]) -> JobFacts:
        """skills: as an extractor found them; of two with the same words the likelier is kept."""
        best: dict[tuple[str, ...], DemandedSkill] = {}
        for skill in skills:
            core = tuple(skill_core(skill.name))
            if core and (core not in best or best[core].probability < skill.probability):
                best[core] = skill
        return cls(job, tuple(best.values()), tuple(demanded_experiences(job)))

    @property
    def states_a_demand(self) -> bool:
        """Whether an experience, or a skill that is likelier than not, was read."""
        return bool(self.experiences) or any(skill.probability > 0.5 for skill in self.skills)


@dataclass(frozen=True)
class Gaps:
    """What a resume lacks of a job's demands.

    skills: demanded and not stated; shortened: (demanded, shown) with fewer years; missing:
    demanded experiences that no dated row is of.
    """

    skills: tuple[DemandedSkill, ...]
    shortened: tuple[tuple[Experience, Experience], ...]
    missing: tuple[Experience, ...]

    @property
    def experience_kind(self) -> str:
        """Of EXPERIENCE_KINDS: what was done to the experience, a shortened one first."""
        if self.shortened:
            return "shortened"
        return "dropped" if self.missing else "none"

    def sentences(self) -> list[str]:
        """The gaps in words, each with its evidence."""
        found = [f"{skill.name}: demanded, and the resume does not say so" for skill in self.skills]
        for demanded, shown in self.shortened:
            found.append(
                f"{demanded.title}: {demanded.years:g} years demanded, {shown.years:g} shown "
                f'("{shown.quote}")'
            )
        for demanded in self.missing:
            found.append(
                f"{demanded.title}: {demanded.years:g} years demanded, no dated position is one"
            )
        return found


@lru_cache(maxsize=2_000)
def evidence_of(resume: str) -> Evidence:
    """What a resume states; it is asked for each job and each task again."""
    return Evidence(resume)


def find_gaps(job: JobFacts, resume: str, *, min_probability: float = 0.5) -> Gaps:
    """Compare a job's demands with a resume.

    min_probability: below it a demanded skill is not named.
    """
    evidence = evidence_of(resume)
    shown = shown_experiences(resume)
    pairs = align(job.experiences, shown)
    shortened = [
        (job.experiences[i], shown[j])
        for i, j in pairs
        if shown[j].years < job.experiences[i].years
    ]
    aligned = {i for i, _ in pairs}
    missing = [one for i, one in enumerate(job.experiences) if i not in aligned]
    skills = [
        skill
        for skill in job.skills
        if skill.probability >= min_probability and not evidence.quote_of_skill(skill.name)
    ]
    return Gaps(tuple(skills), tuple(shortened), tuple(missing))


FEATURES = (
    "largest deficit of years",
    "sum of deficits",
    "shortened experiences",
    "missing experiences",
    "share of experiences missing",
    "demanded experiences",
    "shown experiences",
    "demanded minus shown experiences",
    "demanded minus shown years",
    "expected missing skills",
    "probability that a skill is missing",
    "share of skills missing",
    "demanded skills",
    "share of the job's words in the resume",
    "words of the resume",
)


def pair_features(job: JobFacts, resume: str) -> np.ndarray:
    """(len(FEATURES),) numbers on how well a resume meets a job's demands."""
    evidence = evidence_of(resume)
    shown = shown_experiences(resume)
    pairs = align(job.experiences, shown)
    deficits = [
        max(0.0, job.experiences[i].years - shown[j].years)
        for i, j in pairs
        if not np.isnan(shown[j].years)
    ]
    n_demanded = len(job.experiences)
    n_missing = n_demanded - len(pairs)
    lacks = np.array(
        [s.probability for s in job.skills if not evidence.quote_of_skill(s.name)], dtype=float
    )
    expected = sum(skill.probability for skill in job.skills)
    job_words = set(content_words(job.text))
    resume_words = content_words(resume)
    return np.array(
        [
            max(deficits, default=0.0),
            sum(deficits),
            sum(deficit > 0 for deficit in deficits),
            n_missing,
            n_missing / max(1, n_demanded),
            n_demanded,
            len(shown),
            n_demanded - len(shown),
            sum(e.years for e in job.experiences) - np.nansum([e.years for e in shown]),
            lacks.sum(),
            1 - np.prod(1 - lacks.clip(0, 0.99)),
            lacks.sum() / expected if expected else 0.0,
            expected,
            len(job_words & set(resume_words)) / max(1, len(job_words)),
            len(resume_words),
        ],
        dtype=float,
    )
