"""Matching rules: small predicates on a job and a resume that compose and say why they fired.

Source: RankPO (arXiv 2503.10723) takes positives from real-world rules (place, research area,
seniority); the exact rules are unpublished, so these are our reading of the abstract.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import and_

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import CountVectorizer

from matchlib.data.normal import plain
from matchlib.data.schema import DataError
from matchlib.data.skills import DEGREES, LEVELS


@dataclass(frozen=True)
class Rule:
    """A predicate on pairs.

    holds: (jobs, resumes) -> (J, R) bool array; why: (job row, resume row) -> the reason in words.
    Rules compose: `a & b`, `a | b`, `~a`.
    """

    name: str
    holds: Callable[[pd.DataFrame, pd.DataFrame], np.ndarray]
    why: Callable[[pd.Series, pd.Series], str]

    def __and__(self, other: Rule) -> Rule:
        return Rule(
            f"{self.name} and {other.name}",
            lambda jobs, resumes: self.holds(jobs, resumes) & other.holds(jobs, resumes),
            lambda job, resume: f"{self.why(job, resume)}; {other.why(job, resume)}",
        )

    def __or__(self, other: Rule) -> Rule:
        def why(job: pd.Series, resume: pd.Series) -> str:
            first = self if self.fires(job, resume) else other
            return first.why(job, resume)

        return Rule(
            f"({self.name} or {other.name})",
            lambda jobs, resumes: self.holds(jobs, resumes) | other.holds(jobs, resumes),
            why,
        )

    def __invert__(self) -> Rule:
        return Rule(
            f"not {self.name}",
            lambda jobs, resumes: ~self.holds(jobs, resumes),
            lambda job, resume: f"not ({self.why(job, resume)})",
        )

    def fires(self, job: pd.Series, resume: pd.Series) -> bool:
        """True if the rule holds for one job row and one resume row."""
        return bool(self.holds(job.to_frame().T, resume.to_frame().T)[0, 0])


def same_place() -> Rule:
    """Same city (see `same_city`), same region, or one side remote.

    Needs the column city; region and remote ("yes") are used where present.
    """

    def holds(jobs: pd.DataFrame, resumes: pd.DataFrame) -> np.ndarray:
        job_cities = _column(jobs, "city", "jobs")
        resume_cities = _column(resumes, "city", "resumes")
        fits = same_city(job_cities, resume_cities)
        if "region" in jobs and "region" in resumes:
            fits |= _equal(jobs["region"], resumes["region"])
        fits |= _remote(jobs)[:, None]
        fits |= _remote(resumes)[None, :]
        return fits

    def why(job: pd.Series | dict, resume: pd.Series | dict) -> str:
        job_city = job["city"]
        resume_city = resume["city"]
        if same_city(pd.Series([job_city]), pd.Series([resume_city]))[0, 0]:
            return f"both in {min(job_city, resume_city, key=len)}"
        region = job.get("region")
        if region and region == resume.get("region"):
            return f"{job_city} and {resume_city} are both in {region}"
        if job.get("remote") == "yes" or resume.get("remote") == "yes":
            return "remote"
        return f"{job_city} against {resume_city}"

    return Rule("same place", holds, why)


_CITY_ADDITION = re.compile(r"\s*(?:[,(|]|\s[-/–]\s)")
"""What parts a city's name from its region or country: "Leeds (UK)", "Leeds, England", "Leeds -
UK"."""
_WITHOUT_DECOMPOSITION = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe", "ð": "d"}
)
"""Letters with a stroke and joined letters, which Unicode does not take apart."""


def split_city(city: str) -> tuple[str, str]:
    """A city's name and the addition that tells which one, both without case, accents, punctuation
    and postcodes.

    "São Paulo (BR)" is ("sao paulo", "br"); "10115 Berlin" is ("berlin", "").
    """
    decomposed = unicodedata.normalize("NFKD", plain(city).casefold())
    letters = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    letters = letters.translate(_WITHOUT_DECOMPOSITION)
    separator = _CITY_ADDITION.search(letters, 1)
    if separator is None:
        return _words_of_place(letters), ""
    name = letters[: separator.start()]
    addition = letters[separator.end() :]
    return _words_of_place(name), _words_of_place(addition)


def _words_of_place(text: str) -> str:
    words = re.findall(r"\w+", text)
    without_postcode = [word for word in words if word.isalpha()]
    return " ".join(without_postcode or words)


def same_city(job_cities: pd.Series, resume_cities: pd.Series) -> np.ndarray:
    """Whether two cities are one: (J, R) bool array.

    Their names are equal but for case, accents and punctuation, and so are their additions where
    both have one: "Leeds (UK)" is "Leeds", but "Cambridge, UK" is not "Cambridge, MA". An empty
    city is no city.
    """
    job_name, job_addition = _split_cities(job_cities)
    resume_name, resume_addition = _split_cities(resume_cities)
    job_lacks_addition = job_addition == ""
    resume_lacks_addition = resume_addition == ""
    same_name = _pairwise_equal(job_name, resume_name)
    same_addition = _pairwise_equal(job_addition, resume_addition)
    one_lacks_addition = job_lacks_addition[:, None] | resume_lacks_addition[None, :]
    has_name = job_name != ""
    return has_name[:, None] & same_name & (one_lacks_addition | same_addition)


def _split_cities(cities: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    name_of = {}
    addition_of = {}
    for city in cities.unique():
        name_of[city], addition_of[city] = split_city(city)
    names = np.array([name_of[city] for city in cities], dtype=object)
    additions = np.array([addition_of[city] for city in cities], dtype=object)
    return names, additions


def describe_unmatched_cities(jobs: pd.DataFrame, resumes: pd.DataFrame) -> list[str]:
    """Sentences on cities that cannot meet `same_place`: of one table alone, or told apart by their
    additions only."""
    job_cities = _distinct_cities(jobs)
    resume_cities = _distinct_cities(resumes)
    if job_cities.empty or resume_cities.empty:
        return []
    meets = same_city(job_cities, resume_cities)
    jobs_alone = job_cities[~meets.any(axis=1)]
    resumes_alone = resume_cities[~meets.any(axis=0)]
    sentences = []
    if len(jobs_alone):
        sentences.append(_describe_cities_alone(jobs, "jobs", jobs_alone, "resumes"))
    if len(resumes_alone):
        sentences.append(_describe_cities_alone(resumes, "resumes", resumes_alone, "jobs"))
    job_names, _ = _split_cities(job_cities)
    resume_names, _ = _split_cities(resume_cities)
    differ_in_addition = _pairwise_equal(job_names, resume_names) & ~meets
    if differ_in_addition.any():
        row, column = np.argwhere(differ_in_addition)[0]
        sentences.append(
            f"{differ_in_addition.sum():,} pairs of cities differ in region or country alone and do not "
            f"meet (e.g. {job_cities[row]!r} and {resume_cities[column]!r})"
        )
    return sentences


def _distinct_cities(frame: pd.DataFrame) -> pd.Series:
    cities = set(frame["city"]) - {""}
    return pd.Series(sorted(cities), dtype=object)


def _describe_cities_alone(
    frame: pd.DataFrame,
    name: str,
    alone: pd.Series,
    other: str,
) -> str:
    n_rows = frame["city"].isin(alone).sum()
    return (
        f"{n_rows:,} of {len(frame):,} {name} have a city that none of the {other} has "
        f"(e.g. {alone.iloc[0]!r}); a city has to be spelled alike in both"
    )


def area_overlap(*, minimum: int = 1, column: str = "skills") -> Rule:
    """At least `minimum` shared items in a column of "; "-separated items (skills, research areas)."""

    def holds(jobs: pd.DataFrame, resumes: pd.DataFrame) -> np.ndarray:
        job_items = _column(jobs, column, "jobs")
        resume_items = _column(resumes, column, "resumes")
        return shared_items(job_items, resume_items) >= minimum

    def why(job: pd.Series, resume: pd.Series) -> str:
        job_items = set(split_items(job[column]))
        resume_items = set(split_items(resume[column]))
        shared = sorted(job_items & resume_items)
        reason = f"{len(shared)} shared {column}"
        if shared:
            reason += f" ({', '.join(shared[:5])})"
        return reason

    return Rule(f"{minimum}+ shared {column}", holds, why)


def seniority_within(*, levels: int = 1) -> Rule:
    """Seniorities at most `levels` steps apart on junior, middle, senior, lead; an unknown one
    never fits."""

    def holds(jobs: pd.DataFrame, resumes: pd.DataFrame) -> np.ndarray:
        job_level = _order(jobs, "seniority", LEVELS, "jobs")
        resume_level = _order(resumes, "seniority", LEVELS, "resumes")
        steps_apart = np.abs(job_level[:, None] - resume_level[None, :])
        return steps_apart <= levels

    def why(job: pd.Series, resume: pd.Series) -> str:
        return f"{job['seniority']} job, {resume['seniority']} resume"

    return Rule(f"seniority within {levels}", holds, why)


def degree_at_least() -> Rule:
    """The resume's degree is the job's or higher; a job that names none asks for none, which every
    resume has."""

    def holds(jobs: pd.DataFrame, resumes: pd.DataFrame) -> np.ndarray:
        required = _order(jobs, "degree", DEGREES, "jobs", empty=0)
        present = _order(resumes, "degree", DEGREES, "resumes", empty=0)
        return present[None, :] >= required[:, None]

    def why(job: pd.Series, resume: pd.Series) -> str:
        return f"asks {job['degree'] or 'none'}, has {resume['degree']}"

    return Rule("degree", holds, why)


def hard_constraints(*, column: str = "hard_constraints") -> Rule:
    """Every item of the job's column (licences, clearances) is among the resume's items of that
    column."""

    def holds(jobs: pd.DataFrame, resumes: pd.DataFrame) -> np.ndarray:
        required = _column(jobs, column, "jobs")
        present = _column(resumes, column, "resumes")
        n_required = np.array([len(set(split_items(items))) for items in required])
        return shared_items(required, present) >= n_required[:, None]

    def why(job: pd.Series, resume: pd.Series) -> str:
        required = set(split_items(job[column]))
        present = set(split_items(resume[column]))
        missing = sorted(required - present)
        if missing:
            return f"lacks {', '.join(missing)}"
        return "has every hard constraint"

    return Rule("hard constraints", holds, why)


BY_NAME: dict[str, Callable[[], Rule]] = {
    "place": same_place,
    "skills": lambda: area_overlap(minimum=2),
    "seniority": seniority_within,
    "degree": degree_at_least,
    "hard_constraints": hard_constraints,
}


def label_by_rules(
    names: list[str],
    jobs: pd.DataFrame,
    resumes: pd.DataFrame,
    *,
    per_job: int = 0,
    seed: int = 1,
    block: int = 512,
) -> pd.DataFrame:
    """The labels table (job_id, resume_id, label 1, source rule) of pairs for which all the named
    rules hold.

    per_job: at most so many of each job, drawn by seed; 0 takes all. Raises DataError on an unknown
    name or none.
    """
    if not names:
        raise DataError("no rule is named; choose from " + ", ".join(BY_NAME))
    rules = rules_by_name(names)
    rule = rules[names[0]] if len(rules) == 1 else rules["all"]
    resume_ids = resumes["resume_id"].to_numpy()
    found = []
    for start in range(0, len(jobs), block):
        part = jobs.iloc[start : start + block]
        job_ids = part["job_id"].to_numpy()
        row, column = np.nonzero(rule.holds(part, resumes))
        pairs_of_part = {"job_id": job_ids[row], "resume_id": resume_ids[column]}
        found.append(pd.DataFrame(pairs_of_part))
    pairs = pd.concat(found, ignore_index=True)
    if per_job:
        shuffled = pairs.sample(frac=1, random_state=seed)
        pairs = shuffled.groupby("job_id").head(per_job).sort_index()
    return pairs.assign(label=1, source="rule").reset_index(drop=True)


def rules_by_name(names: list[str]) -> dict[str, Rule]:
    """The named rules and, where there are several, "all" of them together. Raises DataError on an
    unknown name."""
    chosen = {}
    for name in names:
        if name not in BY_NAME:
            raise DataError(f"rule {name!r} is not one of {', '.join(BY_NAME)}")
        chosen[name] = BY_NAME[name]()
    if len(chosen) > 1:
        chosen["all"] = reduce(and_, chosen.values())
    return chosen


def audit_rules(
    rules: dict[str, Rule],
    jobs: pd.DataFrame,
    resumes: pd.DataFrame,
    pairs: dict[str, pd.DataFrame],
    *,
    block: int = 512,
) -> pd.DataFrame:
    """What each rule selects: percent of all pairs, and of each kind of pairs (frames job_id,
    resume_id; NaN if empty).

    Memory is bounded by `block` jobs.
    """
    row_of_job = pd.Series(range(len(jobs)), index=jobs["job_id"])
    column_of_resume = pd.Series(range(len(resumes)), index=resumes["resume_id"])
    kinds = {}
    for kind, frame in pairs.items():
        rows = row_of_job.loc[frame["job_id"]].to_numpy()
        columns = column_of_resume.loc[frame["resume_id"]].to_numpy()
        kinds[kind] = _PairPositions(rows, columns)
    audit = []
    for name, rule in rules.items():
        fired = dict.fromkeys(["all pairs", *pairs], 0)
        for start in range(0, len(jobs), block):
            holds = rule.holds(jobs.iloc[start : start + block], resumes)
            fired["all pairs"] += int(holds.sum())
            for kind, positions in kinds.items():
                fired[kind] += positions.count(holds, first_row=start)
        row = {"rule": name, "all pairs, %": _percent(fired["all pairs"], len(jobs) * len(resumes))}
        for kind, frame in pairs.items():
            row[f"{kind}, %"] = _percent(fired[kind], len(frame))
        audit.append(row)
    columns = ["rule", "all pairs, %", *(f"{kind}, %" for kind in pairs)]
    return pd.DataFrame(audit, columns=columns)


@dataclass(frozen=True)
class _PairPositions:
    """rows, columns: (n,) positions of some pairs in the matrix of all jobs and resumes."""

    rows: np.ndarray
    columns: np.ndarray

    def count(self, holds: np.ndarray, *, first_row: int) -> int:
        """How many of the pairs a block of rows of the matrix, from first_row on, has as True."""
        is_in_block = (self.rows >= first_row) & (self.rows < first_row + len(holds))
        rows = self.rows[is_in_block] - first_row
        columns = self.columns[is_in_block]
        return int(holds[rows, columns].sum())


def _percent(part: int, whole: int) -> float:
    """NaN of nothing."""
    return 100 * part / whole if whole else np.nan


def split_items(items: str) -> list[str]:
    """Split "a; b" into ["a", "b"]."""
    return [item.strip() for item in items.split(";") if item.strip()]


def shared_items(left: pd.Series, right: pd.Series) -> np.ndarray:
    """Number of items that each left row shares with each right row: (L, R) int array."""
    if not left.map(split_items).map(len).any():
        return np.zeros((len(left), len(right)), dtype=int)
    counter = CountVectorizer(analyzer=lambda items: set(split_items(items)))
    left_items = counter.fit_transform(left)
    right_items = counter.transform(right)
    shared = left_items @ right_items.T
    return shared.toarray()


def _column(
    frame: pd.DataFrame,
    column: str,
    table: str,
) -> pd.Series:
    if column not in frame:
        raise DataError(
            f"{table}: the rule needs a column {column!r}; found {list(frame.columns)}; "
            f"map one in the params file or leave the rule out"
        )
    return frame[column]


def _equal(left: pd.Series, right: pd.Series) -> np.ndarray:
    left_values = left.to_numpy(dtype=object)
    right_values = right.to_numpy(dtype=object)
    has_value = left_values != ""
    return has_value[:, None] & _pairwise_equal(left_values, right_values)


def _pairwise_equal(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(L, R) bool: whether each left value is each right value."""
    return left[:, None] == right[None, :]


def _remote(frame: pd.DataFrame) -> np.ndarray:
    if "remote" not in frame:
        return np.zeros(len(frame), dtype=bool)
    return (frame["remote"] == "yes").to_numpy()


def _order(
    frame: pd.DataFrame,
    column: str,
    scale: tuple[str, ...],
    table: str,
    *,
    empty: float = np.nan,
) -> np.ndarray:
    """Positions on an ordered scale as floats, NaN where the value is not on it (and never compares
    true)."""
    position = {"": empty}
    for i, value in enumerate(scale):
        position[value] = i
    values = _column(frame, column, table)
    positions = [position.get(value, np.nan) for value in values]
    return np.array(positions, dtype=float)
