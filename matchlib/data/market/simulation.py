"""The simulated labour market: a small world with known truth, built so that it can also say no.

Channels, kept apart:
  rule       place, area and seniority as structured rules see them (0 or 1)
  text_fit   how well the documents' contents fit: coverage of must-haves and nice-to-haves, with
             penalties
  true_score both, plus traits that no document shows; a pair above the threshold truly fits
Recruiter labels are noisy, sparse samples of the true fits among the few people who applied.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from functools import cached_property
from random import Random
from typing import Any

import numpy as np
import pandas as pd

from matchlib.data import rules
from matchlib.data.market.config import (
    APPLICATION_SPLITS,
    CITIES,
    NAMES_PER_GENDER,
    RULE_WEIGHT,
    SHARE_OF_TYPICAL_YEARS,
    TEXT_WEIGHT,
    VERSION,
    MarketConfig,
)
from matchlib.data.market.wording import PROXIES, Wording
from matchlib.data.names import draw_names
from matchlib.data.schema import DataError
from matchlib.data.skills import DEGREES, GRAPH_FILE, LEVELS, Occupation, load_graph


class Market:
    """A named, seeded market. The same seed and settings give the same bytes, however many
    documents are drawn."""

    def __init__(self, seed: int = 1, **settings: float):
        known = {field.name for field in fields(MarketConfig)}
        unknown = sorted(set(settings) - known)
        if unknown:
            raise DataError(
                f"market: unknown setting {unknown[0]!r}; the settings are {', '.join(sorted(known))}"
            )
        self.seed = seed
        self.config = MarketConfig(**settings)
        self.graphs = {"seen": load_graph("seen"), "held_out": load_graph("held_out")}
        self.graph = self.graphs["seen"]
        self.occupations = self._largest_occupations()
        sizes = np.array([occupation.size for occupation in self.occupations])
        weights = sizes**self.config.concentration
        probabilities = weights / weights.sum()
        self._occupation_cdf = np.cumsum(probabilities).tolist()
        self.skill_index = {skill: i for i, skill in enumerate(self.graph.skills)}
        # People name skills by the canonical name in tables, by any wording in texts.
        self.skill_id = {skill.name: skill.id for skill in self.graph.skills.values()}

    def _largest_occupations(self) -> list[Occupation]:
        """The first `occupations` of the graph, taking every family's largest, then every family's
        second, ..."""
        by_size = sorted(
            self.graph.occupations.values(),
            key=lambda occupation: (-occupation.size, occupation.id),
        )
        rank_in_family = {}
        n_in_family = Counter()
        for occupation in by_size:
            rank_in_family[occupation.id] = n_in_family[occupation.family]
            n_in_family[occupation.family] += 1
        # sorted() keeps equal ranks in the order of size
        by_rank = sorted(by_size, key=lambda occupation: rank_in_family[occupation.id])
        return by_rank[: int(self.config.occupations)]

    def given_names(self, split: str) -> dict[str, tuple[str, ...]]:
        """woman and man -> the names of a split's resumes: of each market its own, and in the test
        none of training."""
        drawn = draw_names(f"{VERSION}/{self.seed}/names", NAMES_PER_GENDER)
        half = NAMES_PER_GENDER // 2
        if split in ("train", "valid"):
            return {gender: names[:half] for gender, names in drawn.items()}
        return {gender: names[half:] for gender, names in drawn.items()}

    @property
    def fingerprint(self) -> str:
        """Hash of version, seed, settings, names and graph: two markets with equal fingerprints are
        the same."""
        names = []
        if self.config.gender_shown:
            names = [self.given_names("train"), self.given_names("test")]
        world = {
            "version": VERSION,
            "seed": self.seed,
            "settings": asdict(self.config),
            "names": names,
            "graph": hashlib.sha256(GRAPH_FILE.read_bytes()).hexdigest(),
        }
        as_json = json.dumps(world, sort_keys=True)
        return hashlib.sha256(as_json.encode()).hexdigest()

    # ---- documents
    # -------------------------------------------------------------------------------------

    def stream_resumes(
        self,
        n: int,
        split: str = "train",
        *,
        start: int = 0,
    ) -> Iterator[dict]:
        """Yield resume rows start .. start + n - 1 of a split, each independent of all others."""
        wording = self._wording(split)
        n_fillers = round(self.config.detail * self.config.length_ratio)
        for i in range(start, start + n):
            rng = Random(f"{VERSION}/{self.seed}/{split}/resume/{i}")
            person = self._person(rng, split)
            yield {
                "resume_id": f"r-{split}-{i:06d}",
                "text": wording.resume(person, rng, detail=n_fillers),
                "title": self.graph.occupations[person["occupation"]].name,
                "occupation": person["occupation"],
                "industry": person["industry"],
                "city": person["city"],
                "region": person["region"],
                "remote": person["remote"],
                "seniority": person["seniority"],
                "degree": person["degree"],
                "years": person["years"],
                "skills": self._names(person["skills"]),
                "gender": person["gender"],
                "given_name": person["name"],
            }

    def stream_jobs(
        self,
        n: int,
        split: str = "train",
        *,
        start: int = 0,
    ) -> Iterator[dict]:
        """Yield job rows start .. start + n - 1 of a split, each independent of all others."""
        wording = self._wording(split)
        for i in range(start, start + n):
            rng = Random(f"{VERSION}/{self.seed}/{split}/job/{i}")
            job = self._job(rng)
            yield {
                "job_id": f"j-{split}-{i:06d}",
                "text": wording.job(job, rng, detail=self.config.detail),
                "title": self.graph.occupations[job["occupation"]].name,
                "occupation": job["occupation"],
                "industry": job["industry"],
                "city": job["city"],
                "region": job["region"],
                "remote": job["remote"],
                "seniority": job["seniority"],
                "degree": job["degree"],
                "min_years": job["min_years"],
                "skills": self._names(job["must"]),
                "nice_skills": self._names(job["nice"]),
            }

    def resumes(self, n: int, split: str = "train") -> pd.DataFrame:
        """The resumes table of a split: n rows with text, structured columns and gender (by default
        in no text)."""
        return pd.DataFrame(self.stream_resumes(n, split))

    def jobs(self, n: int, split: str = "train") -> pd.DataFrame:
        """The jobs table of a split: n rows with text and structured columns."""
        return pd.DataFrame(self.stream_jobs(n, split))

    def _wording(self, split: str) -> Wording:
        if split not in APPLICATION_SPLITS:
            raise ValueError(f"split {split!r} is not one of {APPLICATION_SPLITS}")
        unseen = 0.0
        if split == "test":
            unseen = self.config.unseen_wording
        return Wording(
            self.graphs,
            alias_gap=self.config.alias_gap,
            title_gap=self.config.title_gap,
            unseen=unseen,
        )

    def _names(self, skills: list[str]) -> str:
        names = [self.graph.skills[skill].name for skill in skills]
        return "; ".join(names)

    def _background(self, rng: Random) -> dict:
        """Occupation, place and degree: what jobs and people have in common."""
        occupation = rng.choices(self.occupations, cum_weights=self._occupation_cdf)[0]
        city, region = rng.choice(CITIES)
        degree = DEGREES.index(occupation.degree)
        degree += rng.choice((-1, 0, 0, 0, 1))
        degree = min(max(degree, 0), len(DEGREES) - 1)
        is_remote = rng.random() < 0.08
        return {
            "occupation": occupation.id,
            "family": occupation.family,
            "city": city,
            "region": region,
            "industry": self.graph.families[occupation.family]["industry"],
            "degree": DEGREES[degree],
            "remote": "yes" if is_remote else "no",
            "typical_years": occupation.years,
        }

    def _person(self, rng: Random, split: str) -> dict:
        person = self._background(rng)
        occupation = self.graph.occupations[person["occupation"]]
        pace = rng.gammavariate(2.0, 0.6)
        person["years"] = round(pace * 2 * occupation.years)
        person["seniority"] = _level(person["years"], occupation.years)
        skills = _sample_between(3, 5, occupation.essential, rng)
        skills += _sample_between(1, 3, occupation.optional, rng)
        rng.shuffle(skills)
        person["skills"] = skills
        lean = _uniform(f"lean/{occupation.id}") - 0.5
        share_of_women = 0.5 + self.config.segregation * lean
        is_woman = rng.random() < share_of_women
        gender = "woman" if is_woman else "man"
        person["gender"] = gender
        person["name"] = ""
        if rng.random() < self.config.gender_shown:
            person["name"] = rng.choice(self.given_names(split)[gender])
        person["proxy"] = ""
        if rng.random() < self.config.gender_proxies:
            person["proxy"] = rng.choice(PROXIES[gender])
        return person

    def _job(self, rng: Random) -> dict:
        job = self._background(rng)
        occupation = self.graph.occupations[job["occupation"]]
        job["seniority"] = rng.choices(LEVELS, (3, 4, 2, 1))[0]
        level = LEVELS.index(job["seniority"])
        job["min_years"] = round(occupation.years * SHARE_OF_TYPICAL_YEARS[level])
        essential = _sample_between(2, 4, occupation.essential, rng)
        optional = _sample_between(2, 4, occupation.optional, rng)
        job["must"] = essential + optional[:1]
        job["nice"] = optional[1:]
        return job

    # ---- channels
    # --------------------------------------------------------------------------------------

    @cached_property
    def rule(self) -> rules.Rule:
        """The market's structured rule: same place, two shared skills, seniority within one level."""
        return rules.same_place() & rules.area_overlap(minimum=2) & rules.seniority_within(levels=1)

    def channels(self, jobs: pd.DataFrame, resumes: pd.DataFrame) -> dict[str, np.ndarray]:
        """rule, text_fit and true_score, each a (J, R) float array; a pair truly fits above
        `threshold`."""
        rule = self.rule.holds(jobs, resumes).astype(float)
        weight = self.config.rule_text_correlation
        text_fit = (1 - weight) * self._coverage(jobs, resumes) + weight * rule
        job_traits = self.hidden_traits(jobs["job_id"])
        resume_traits = self.hidden_traits(resumes["resume_id"])
        hidden = job_traits[:, :1] * resume_traits[:, :1].T
        hidden = hidden + resume_traits[:, 1][None, :]
        seen = RULE_WEIGHT * rule + TEXT_WEIGHT * text_fit
        score = seen + self.config.out_of_scope * hidden
        return {"rule": rule, "text_fit": text_fit, "true_score": score}

    def _coverage(self, jobs: pd.DataFrame, resumes: pd.DataFrame) -> np.ndarray:
        """Share of must-haves (.7) and nice-to-haves (.3) covered, less for asking too much or too
        little."""
        must = self.multi_hot(jobs["skills"])
        nice = self.multi_hot(jobs["nice_skills"])
        present = self.multi_hot(resumes["skills"])
        n_must = must.sum(1, keepdims=True)
        n_nice = nice.sum(1, keepdims=True)
        must_covered = 0.7 * (must @ present.T) / np.maximum(n_must, 1)
        nice_covered = 0.3 * (nice @ present.T) / np.maximum(n_nice, 1)
        coverage = must_covered + nice_covered
        min_years = jobs["min_years"].to_numpy()[:, None]
        years = resumes["years"].to_numpy()[None, :]
        share_missing = (min_years - years) / np.maximum(min_years, 1)
        too_much = np.clip(share_missing, 0, 1)
        too_little = np.clip(1 - n_must / 3, 0, 1)
        return coverage * (1 - 0.5 * too_much) * (1 - 0.5 * too_little)

    def multi_hot(self, skills: pd.Series) -> np.ndarray:
        """(n, skills) 1 where a "; "-joined list of names holds the skill."""
        hot = np.zeros((len(skills), len(self.skill_index)), dtype=np.float32)
        for row, items in enumerate(skills):
            for name in rules.split_items(items):
                skill = self.skill_id[name]
                hot[row, self.skill_index[skill]] = 1
        return hot

    def hidden_traits(self, ids: pd.Series) -> np.ndarray:
        """(n, 2) traits in [-1, 1] that depend on the id alone, so that no column and no text holds
        them."""
        traits = np.empty((len(ids), 2))
        for row, document in enumerate(ids):
            for trait in (0, 1):
                traits[row, trait] = 2 * _uniform(f"{self.seed}/{trait}/{document}") - 1
        return traits

    @cached_property
    def threshold(self) -> float:
        """The true score above which a pair truly fits, so that true_fit_share of random pairs do."""
        # Fillers and wording do not enter the score, so any split would do; this one is used for
        # nothing else.
        jobs = self.jobs(300, "calibration")
        resumes = self.resumes(900, "calibration")
        scores = self.channels(jobs, resumes)["true_score"]
        return float(np.quantile(scores, 1 - self.config.true_fit_share))

    def true_fits(
        self,
        jobs: pd.DataFrame,
        resumes: pd.DataFrame,
        *,
        block: int = 256,
    ) -> pd.DataFrame:
        """All pairs that truly fit: a frame job_id, resume_id."""
        resume_ids = resumes["resume_id"].to_numpy()
        found = []
        for start in range(0, len(jobs), block):
            part = jobs.iloc[start : start + block]
            job_ids = part["job_id"].to_numpy()
            scores = self.channels(part, resumes)["true_score"]
            row, column = np.nonzero(scores > self.threshold)
            pairs = {"job_id": job_ids[row], "resume_id": resume_ids[column]}
            found.append(pd.DataFrame(pairs))
        return pd.concat(found, ignore_index=True)

    # ---- outcomes
    # --------------------------------------------------------------------------------------

    def labels(
        self,
        jobs: pd.DataFrame,
        resumes: pd.DataFrame,
        split: str,
        *,
        block: int = 256,
    ) -> pd.DataFrame:
        """The labels table of one split: who applied where, and the recruiters' decisions (source
        recruiter)."""
        rng = np.random.default_rng([self.seed, APPLICATION_SPLITS.index(split)])
        is_woman = (resumes["gender"] == "woman").to_numpy()
        penalty = self.config.gender_bias * is_woman
        max_applicants = round(2 * self.config.labels_per_job)
        resume_ids = resumes["resume_id"].to_numpy()
        rows = []
        for start in range(0, len(jobs), block):
            part = jobs.iloc[start : start + block]
            channels = self.channels(part, resumes)
            perceived = RULE_WEIGHT * channels["rule"] + TEXT_WEIGHT * channels["text_fit"]
            noise = rng.gumbel(size=perceived.shape)
            wish = self.config.application_selectivity * perceived + noise
            n_applicants = rng.integers(1, max(2, max_applicants), size=len(part))
            for i, job_id in enumerate(part["job_id"]):
                true_score = channels["true_score"][i]
                applicants = np.argsort(-wish[i], kind="stable")[: n_applicants[i]]
                decisions = self._decide((true_score - penalty)[applicants], rng)
                rows += _labels_of_job(job_id, resume_ids[applicants], decisions)
                if self.config.unlabelled_fits < 1:
                    others = self._labelled_non_applicants(true_score, applicants, rng)
                    accepted = np.ones(len(others), dtype=bool)
                    rows += _labels_of_job(job_id, resume_ids[others], accepted)
        labels = pd.DataFrame(rows, columns=["job_id", "resume_id", "label"])
        return labels.assign(split=split, source="recruiter")

    def _decide(self, scores: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(n,) bool: whom a recruiter accepts, some by the toss of a coin."""
        is_coin_flip, coin = rng.random((2, len(scores)))
        is_coin_flip = is_coin_flip < self.config.acceptance_noise
        return np.where(is_coin_flip, coin < 0.5, scores > self.threshold)

    def _labelled_non_applicants(
        self,
        true_score: np.ndarray,
        applicants: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Positions of true fits that did not apply and get a label all the same."""
        fits = np.flatnonzero(true_score > self.threshold)
        others = np.setdiff1d(fits, applicants)
        is_labelled = rng.random(len(others)) >= self.config.unlabelled_fits
        return others[is_labelled]

    def tables(self, sizes: dict[str, tuple[int, int]]) -> dict[str, pd.DataFrame]:
        """Tables jobs, resumes, labels and truth (job_id, resume_id, split) for sizes {split:
        (jobs, resumes)}.

        Jobs and resumes are split first and people apply inside their split, so nothing crosses.
        """
        parts = {"jobs": [], "resumes": [], "labels": [], "truth": []}
        for split, (n_jobs, n_resumes) in sizes.items():
            jobs = self.jobs(n_jobs, split)
            resumes = self.resumes(n_resumes, split)
            parts["jobs"].append(jobs.assign(split=split))
            parts["resumes"].append(resumes.assign(split=split))
            parts["labels"].append(self.labels(jobs, resumes, split))
            parts["truth"].append(self.true_fits(jobs, resumes).assign(split=split))
        return {name: pd.concat(frames, ignore_index=True) for name, frames in parts.items()}


def _labels_of_job(job_id: str, resume_ids: np.ndarray, accepted: np.ndarray) -> list[dict]:
    rows = []
    for resume_id, label in zip(resume_ids, accepted, strict=True):
        rows.append({"job_id": job_id, "resume_id": resume_id, "label": int(label)})
    return rows


def _sample_between(
    least: int,
    most: int,
    items: tuple[str, ...],
    rng: Random,
) -> list[str]:
    """least to most of the items, or all where there are fewer."""
    wanted = rng.randint(least, most)
    return rng.sample(list(items), min(len(items), wanted))


def _level(years: float, typical: float) -> str:
    """Seniority from years, against what is typical for the occupation's middle level."""
    ends = (0.6 * typical, 1.5 * typical, 2.8 * typical)
    level = np.searchsorted(ends, years, side="right")
    return LEVELS[int(level)]


def _uniform(key: str) -> float:
    """A number in [0, 1) that depends on the key alone."""
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def market_of(parameters: Mapping[str, Any]) -> Market | None:
    """The market that the parameters of notebook 01 name; None if its tables come from elsewhere."""
    if parameters["source"] != "market":
        return None
    return Market(parameters["seed"], **parameters["market_settings"])
