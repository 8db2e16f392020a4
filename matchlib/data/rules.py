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
        fits = same_city(_column(jobs, "city", "jobs"), _column(resumes, "city", "resumes"))
        if "region" in jobs and "region" in resumes:
            fits |= _equal(jobs["region"], resumes["region"])
        return fits | _remote(jobs)[:, None] | _remote(resumes)[None, :]

    def why(job: pd.Series | dict, resume: pd.Series | dict) -> str:
        if same_city(pd.Series([job["city"]]), pd.Series([resume["city"]]))[0, 0]:
            return f"both in {min(job['city'], resume['city'], key=len)}"
        if job.get("region") and job.get("region") == resume.get("region"):
            return f"{job['city']} and {resume['city']} are both in {job['region']}"
        if "yes" in (job.get("remote"), resume.get("remote")):
            return "remote"
        return f"{job['city']} against {resume['city']}"

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
    name, addition = letters, ""
    if parts := _CITY_ADDITION.search(letters, 1):
        name, addition = letters[: parts.start()], letters[parts.end() :]
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
    same_name = (job_name[:, None] == resume_name[None, :]) & (job_name != "")[:, None]
    one_has_none = (job_addition == "")[:, None] | (resume_addition == "")[None, :]
    return same_name & (one_has_none | (job_addition[:, None] == resume_addition[None, :]))


def _split_cities(cities: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    parts = {city: split_city(city) for city in cities.unique()}
    names = np.array([parts[city][0] for city in cities], dtype=object)
    additions = np.array([parts[city][1] for city in cities], dtype=object)
    return names, additions


def describe_unmatched_cities(jobs: pd.DataFrame, resumes: pd.DataFrame) -> list[str]:
    """Sentences on cities that cannot meet `same_place`: of one table alone, or told apart by their
    additions only."""
    tables = {"jobs": jobs["city"], "resumes": resumes["city"]}
    distinct = {
        name: pd.Series(sorted(set(cities) - {""}), dtype=object) for name, cities in tables.items()
    }
    if not len(distinct["jobs"]) or not len(distinct["resumes"]):
        return []
    job_names, job_additions = _split_cities(distinct["jobs"])
    resume_names, resume_additions = _split_cities(distinct["resumes"])
    meets = same_city(distinct["jobs"], distinct["resumes"])
    sentences = []
    for name, other, alone in (
        ("jobs", "resumes", ~meets.any(axis=1)),
        ("resumes", "jobs", ~meets.any(axis=0)),
    ):
        lonely = distinct[name][alone]
        if len(lonely):
            rows = tables[name].isin(lonely).sum()
            sentences.append(
                f"{rows:,} of {len(tables[name]):,} {name} have a city that none of the {other} has "
                f"(e.g. {lonely.iloc[0]!r}); a city has to be spelled alike in both"
            )
    apart = (job_names[:, None] == resume_names[None, :]) & ~meets
    if apart.any():
        row, column = np.argwhere(apart)[0]
        sentences.append(
            f"{apart.sum():,} pairs of cities differ in region or country alone and do not meet "
            f"(e.g. {distinct['jobs'][row]!r} and {distinct['resumes'][column]!r})"
        )
    return sentences


def area_overlap(*, minimum: int = 1, column: str = "skills") -> Rule:
    """At least `minimum` shared items in a column of "; "-separated items (skills, research areas)."""

    def holds(jobs: pd.DataFrame, resumes: pd.DataFrame) -> np.ndarray:
        return (
            shared_items(_column(jobs, column, "jobs"), _column(resumes, column, "resumes"))
            >= minimum
        )

    def why(job: pd.Series, resume: pd.Series) -> str:
        shared = sorted(set(split_items(job[column])) & set(split_items(resume[column])))
        return f"{len(shared)} shared {column}" + (f" ({', '.join(shared[:5])})" if shared else "")

    return Rule(f"{minimum}+ shared {column}", holds, why)


def seniority_within(*, levels: int = 1) -> Rule:
    """Seniorities at most `levels` steps apart on junior, middle, senior, lead; an unknown one
    never fits."""

    def holds(jobs: pd.DataFrame, resumes: pd.DataFrame) -> np.ndarray:
        job_level, resume_level = (
            _order(jobs, "seniority", LEVELS, "jobs"),
            _order(resumes, "seniority", LEVELS, "resumes"),
        )
        return np.abs(job_level[:, None] - resume_level[None, :]) <= levels

    return Rule(
        f"seniority within {levels}",
        holds,
        lambda job, resume: f"{job['seniority']} job, {resume['seniority']} resume",
    )


def degree_at_least() -> Rule:
    """The resume's degree is the job's or higher; a job that names none asks for none, which every
    resume has."""

    def holds(jobs: pd.DataFrame, resumes: pd.DataFrame) -> np.ndarray:
        asked, has = (
            _order(frame, "degree", DEGREES, name, empty=0)
            for frame, name in ((jobs, "jobs"), (resumes, "resumes"))
        )
        return has[None, :] >= asked[:, None]

    return Rule(
        "degree",
        holds,
        lambda job, resume: f"asks {job['degree'] or 'none'}, has {resume['degree']}",
    )


def hard_constraints(*, column: str = "hard_constraints") -> Rule:
    """Every item of the job's column (licences, clearances) is among the resume's items of that
    column."""

    def holds(jobs: pd.DataFrame, resumes: pd.DataFrame) -> np.ndarray:
        asked = _column(jobs, column, "jobs")
        n_asked = asked.map(lambda items: len(set(split_items(items)))).to_numpy()
        return shared_items(asked, _column(resumes, column, "resumes")) >= n_asked[:, None]

    def why(job: pd.Series, resume: pd.Series) -> str:
        missing = sorted(set(split_items(job[column])) - set(split_items(resume[column])))
        return f"lacks {', '.join(missing)}" if missing else "has every hard constraint"

    return Rule("hard constraints", holds, why)


def select_pairs(
    rule: Rule, jobs: pd.DataFrame, resumes: pd.DataFrame, *, block: int = 512
) -> pd.DataFrame:
    """Every pair for which the rule fires: a frame job_id, resume_id, why. Memory is bounded by
    `block` jobs."""
    rows = []
    for start in range(0, len(jobs), block):
        part = jobs.iloc[start : start + block]
        for i, j in np.argwhere(rule.holds(part, resumes)):
            job, resume = part.iloc[i], resumes.iloc[j]
            rows.append((job["job_id"], resume["resume_id"], rule.why(job, resume)))
    return pd.DataFrame(rows, columns=["job_id", "resume_id", "why"])


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
    rule, found = list(rules_by_name(names).values())[-1], []
    for start in range(0, len(jobs), block):
        part = jobs.iloc[start : start + block]
        row, column = np.nonzero(rule.holds(part, resumes))
        found.append(
            pd.DataFrame(
                {
                    "job_id": part["job_id"].to_numpy()[row],
                    "resume_id": resumes["resume_id"].to_numpy()[column],
                }
            )
        )
    pairs = pd.concat(found, ignore_index=True)
    if per_job:
        pairs = pairs.sample(frac=1, random_state=seed).groupby("job_id").head(per_job).sort_index()
    return pairs.assign(label=1, source="rule").reset_index(drop=True)


def rules_by_name(names: list[str]) -> dict[str, Rule]:
    """The named rules and, where there are several, "all" of them together. Raises DataError on an
    unknown name."""
    if unknown := [name for name in names if name not in BY_NAME]:
        raise DataError(f"rule {unknown[0]!r} is not one of {', '.join(BY_NAME)}")
    chosen = {name: BY_NAME[name]() for name in names}
    return chosen | ({"all": reduce(and_, chosen.values())} if len(chosen) > 1 else {})


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
    row_of, column_of = (
        pd.Series(range(len(ids)), index=ids) for ids in (jobs["job_id"], resumes["resume_id"])
    )
    places = {
        kind: (row_of.loc[frame["job_id"]].to_numpy(), column_of.loc[frame["resume_id"]].to_numpy())
        for kind, frame in pairs.items()
    }
    rows = []
    for name, rule in rules.items():
        fired = dict.fromkeys(["all pairs", *pairs], 0)
        for start in range(0, len(jobs), block):
            holds = rule.holds(jobs.iloc[start : start + block], resumes)
            fired["all pairs"] += int(holds.sum())
            for kind, (row, column) in places.items():
                here = (row >= start) & (row < start + block)
                fired[kind] += int(holds[row[here] - start, column[here]].sum())
        of = {"all pairs": len(jobs) * len(resumes)} | {
            kind: len(frame) for kind, frame in pairs.items()
        }
        rows.append(
            {"rule": name}
            | {f"{k}, %": 100 * n / of[k] if of[k] else np.nan for k, n in fired.items()}
        )
    return pd.DataFrame(rows, columns=["rule", "all pairs, %", *(f"{kind}, %" for kind in pairs)])


def split_items(items: str) -> list[str]:
    """Split "a; b" into ["a", "b"]."""
    return [item.strip() for item in items.split(";") if item.strip()]


def shared_items(left: pd.Series, right: pd.Series) -> np.ndarray:
    """Number of items that each left row shares with each right row: (L, R) int array."""
    if not left.map(split_items).map(len).any():
        return np.zeros((len(left), len(right)), dtype=int)
    counter = CountVectorizer(analyzer=lambda items: set(split_items(items)))
    return (counter.fit_transform(left) @ counter.transform(right).T).toarray()


def _column(frame: pd.DataFrame, column: str, table: str) -> pd.Series:
    if column not in frame:
        raise DataError(
            f"{table}: the rule needs a column {column!r}; found {list(frame.columns)}; "
            f"map one in the params file or leave the rule out"
        )
    return frame[column]


def _equal(left: pd.Series, right: pd.Series) -> np.ndarray:
    values = left.to_numpy(dtype=object)
    return (values[:, None] == right.to_numpy(dtype=object)[None, :]) & (values != "")[:, None]


def _remote(frame: pd.DataFrame) -> np.ndarray:
    return (
        (frame["remote"] == "yes").to_numpy()
        if "remote" in frame
        else np.zeros(len(frame), dtype=bool)
    )


def _order(
    frame: pd.DataFrame, column: str, scale: tuple[str, ...], table: str, *, empty: float = np.nan
) -> np.ndarray:
    """Positions on an ordered scale as floats, NaN where the value is not on it (and never compares
    true)."""
    position = {"": empty} | {value: i for i, value in enumerate(scale)}
    return (
        _column(frame, column, table)
        .map(lambda value: position.get(value, np.nan))
        .to_numpy(dtype=float)
    )
