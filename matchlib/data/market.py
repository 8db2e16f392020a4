"""The simulated labour market: a small world with known truth, built so that it can also say no.

Channels, kept apart:
  rule       place, area and seniority as structured rules see them (0 or 1)
  text_fit   how well the documents' contents fit: must-have and nice-to-have coverage, with
  penalties true_fit   both, plus traits that no document shows
Recruiter labels are noisy, sparse samples of true_fit among the few people who applied.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from random import Random
from typing import Any

import numpy as np
import pandas as pd

from matchlib.data import rules
from matchlib.data.names import draw_names
from matchlib.data.schema import DataError
from matchlib.data.skills import DEGREES, GRAPH_FILE, LEVELS, Occupation, load_graph
from matchlib.data.wording import PROXIES, Wording

VERSION = "market-1"
REGIONS = {
    "North East": ("Newcastle", "Sunderland", "Durham"),
    "Yorkshire": ("Leeds", "Bradford", "Sheffield"),
    "North West": ("Manchester", "Liverpool", "Preston"),
    "Midlands": ("Birmingham", "Coventry", "Derby"),
    "East": ("Norwich", "Cambridge", "Ipswich"),
    "South West": ("Bristol", "Exeter", "Plymouth"),
    "South East": ("Brighton", "Southampton", "Reading"),
    "Scotland": ("Glasgow", "Edinburgh", "Dundee"),
}
CITIES = [(city, region) for region, cities in REGIONS.items() for city in cities]
RULE_WEIGHT, TEXT_WEIGHT = 0.4, 0.6
APPLICATION_SPLITS = ("train", "valid", "test", "calibration")
NAMES_PER_GENDER = 200
"""Given names of a market: the first half for its training and validation resumes, the rest for all
others."""


@dataclass(frozen=True)
class MarketConfig:
    """The market's settings; every one is a share or probability unless its comment says otherwise."""

    labels_per_job: float = 4.0  # mean number of applicants a job, 1 .. 2 * mean - 1
    application_selectivity: float = (
        12.0  # 0: people apply anywhere; higher: only where they think they fit
    )
    acceptance_noise: float = 0.1  # decisions replaced by a coin flip
    true_fit_share: float = 0.01  # pairs that truly fit
    unlabelled_fits: float = (
        1.0  # true fits among those who did not apply that stay without a label
    )
    alias_gap: float = 0.6  # mentions of skills not in canonical words
    title_gap: float = 0.2  # job titles not in canonical words
    unseen_wording: float = 0.7  # test phrasings drawn from the held-out wording
    detail: int = 0  # filler sentences a document (a count)
    length_ratio: float = 1.0  # filler sentences of a resume for each of a job (a ratio)
    out_of_scope: float = (
        0.1  # weight of the traits no document shows (a weight beside 0.4 and 0.6)
    )
    rule_text_correlation: float = 0.0  # 1: text_fit is the rule
    occupations: int = 112  # occupations in use, the largest of each family first (a count)
    concentration: float = 1.0  # exponent on occupation sizes; 0: all equally common (an exponent)
    segregation: float = 0.0  # how far an occupation's gender mix leans from one half
    gender_bias: float = 0.0  # taken off the recruiter's score of a woman (in units of the score)
    gender_proxies: float = 0.0  # resumes with a club or leave that hints at gender
    gender_shown: float = 0.0  # resumes with a given name


NULL_WORLDS: dict[str, dict[str, float]] = {
    "labels": {
        "application_selectivity": 0.0,
        "acceptance_noise": 1.0,
    },  # outcomes say nothing about true_fit
    "decisions": {"acceptance_noise": 1.0},  # people apply where they fit, recruiters toss a coin
    "runner_ups": {
        "unlabelled_fits": 0.0,
        "acceptance_noise": 0.0,
    },  # no unlabelled pair fits: the top is safe
    "wording": {"alias_gap": 0.0, "title_gap": 0.0},  # both sides use the same words
    "preference": {
        "rule_text_correlation": 1.0
    },  # rule and text agree: no preference left to learn
    "bias": {"gender_bias": 0.0, "gender_proxies": 0.0, "gender_shown": 0.0},
}


class Market:
    """A named, seeded market. The same seed and settings give the same bytes, however many
    documents are drawn."""

    def __init__(self, seed: int = 1, **settings: float):
        known = {field.name for field in fields(MarketConfig)}
        if unknown := sorted(set(settings) - known):
            raise DataError(
                f"market: unknown setting {unknown[0]!r}; the settings are {', '.join(sorted(known))}"
            )
        self.seed, self.config = seed, MarketConfig(**settings)
        self.graphs = {wording: load_graph(wording) for wording in ("seen", "held_out")}
        self.graph = self.graphs["seen"]
        self.occupations = self._largest_occupations()
        sizes = np.array([o.size for o in self.occupations]) ** self.config.concentration
        self._occupation_cdf = np.cumsum(sizes / sizes.sum()).tolist()
        self.skill_index = {skill: i for i, skill in enumerate(self.graph.skills)}
        # People name skills by the canonical name in tables, by any wording in texts.
        self.skill_id = {skill.name: skill.id for skill in self.graph.skills.values()}

    def _largest_occupations(self) -> list[Occupation]:
        """The first `occupations` of the graph, taking every family's largest, then every family's
        second, ..."""
        frame = pd.DataFrame(
            [(o.id, o.family, -o.size) for o in self.graph.occupations.values()],
            columns=["id", "family", "order"],
        ).sort_values(["order", "id"])
        frame["turn"] = frame.groupby("family").cumcount()
        chosen = frame.sort_values(["turn", "order", "id"])["id"][: int(self.config.occupations)]
        return [self.graph.occupations[occupation] for occupation in chosen]

    def given_names(self, split: str) -> dict[str, tuple[str, ...]]:
        """woman and man -> the names of a split's resumes: of each market its own, and in the test
        none of training."""
        drawn = draw_names(f"{VERSION}/{self.seed}/names", NAMES_PER_GENDER)
        half = NAMES_PER_GENDER // 2
        learned = split in ("train", "valid")
        return {
            gender: names[:half] if learned else names[half:] for gender, names in drawn.items()
        }

    @property
    def fingerprint(self) -> str:
        """Hash of version, seed, settings, names and graph: two markets with equal fingerprints are
        the same."""
        names = (
            [self.given_names(split) for split in ("train", "test")]
            if self.config.gender_shown
            else []
        )
        world = {
            "version": VERSION,
            "seed": self.seed,
            "settings": asdict(self.config),
            "names": names,
            "graph": hashlib.sha256(GRAPH_FILE.read_bytes()).hexdigest(),
        }
        return hashlib.sha256(json.dumps(world, sort_keys=True).encode()).hexdigest()

    # ---- documents
    # -------------------------------------------------------------------------------------

    def stream_resumes(self, n: int, split: str = "train", *, start: int = 0) -> Iterator[dict]:
        """Yield resume rows start .. start + n - 1 of a split, each independent of all others."""
        wording = self._wording(split)
        for i in range(start, start + n):
            rng = Random(f"{VERSION}/{self.seed}/{split}/resume/{i}")
            person = self._person(rng, split)
            text = wording.resume(
                person, rng, detail=round(self.config.detail * self.config.length_ratio)
            )
            yield {
                "resume_id": f"r-{split}-{i:06d}",
                "text": text,
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

    def stream_jobs(self, n: int, split: str = "train", *, start: int = 0) -> Iterator[dict]:
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
        return Wording(
            self.graphs,
            alias_gap=self.config.alias_gap,
            title_gap=self.config.title_gap,
            unseen=self.config.unseen_wording if split == "test" else 0.0,
        )

    def _names(self, skills: list[str]) -> str:
        return "; ".join(self.graph.skills[skill].name for skill in skills)

    def _background(self, rng: Random) -> dict:
        """Occupation, place and degree: what jobs and people have in common."""
        occupation = rng.choices(self.occupations, cum_weights=self._occupation_cdf)[0]
        city, region = rng.choice(CITIES)
        typical = DEGREES.index(occupation.degree)
        degree = DEGREES[min(max(typical + rng.choice((-1, 0, 0, 0, 1)), 0), len(DEGREES) - 1)]
        return {
            "occupation": occupation.id,
            "family": occupation.family,
            "city": city,
            "region": region,
            "industry": self.graph.families[occupation.family]["industry"],
            "degree": degree,
            "remote": "yes" if rng.random() < 0.08 else "no",
            "typical_years": occupation.years,
        }

    def _person(self, rng: Random, split: str) -> dict:
        person = self._background(rng)
        occupation = self.graph.occupations[person["occupation"]]
        pace = rng.gammavariate(2.0, 0.6)
        person["years"] = round(pace * 2 * occupation.years)
        person["seniority"] = _level(person["years"], occupation.years)
        essential, optional = list(occupation.essential), list(occupation.optional)
        chosen = rng.sample(essential, min(len(essential), rng.randint(3, 5)))
        chosen += rng.sample(optional, min(len(optional), rng.randint(1, 3)))
        rng.shuffle(chosen)
        lean = _uniform(f"lean/{occupation.id}") - 0.5
        woman = rng.random() < 0.5 + self.config.segregation * lean
        person["gender"] = "woman" if woman else "man"
        person["skills"] = chosen
        shown = rng.random() < self.config.gender_shown
        person["name"] = rng.choice(self.given_names(split)[person["gender"]]) if shown else ""
        person["proxy"] = (
            rng.choice(PROXIES[person["gender"]])
            if rng.random() < self.config.gender_proxies
            else ""
        )
        return person

    def _job(self, rng: Random) -> dict:
        job = self._background(rng)
        occupation = self.graph.occupations[job["occupation"]]
        job["seniority"] = rng.choices(LEVELS, (3, 4, 2, 1))[0]
        job["min_years"] = round(
            occupation.years * (0.25, 0.75, 1.6, 3.0)[LEVELS.index(job["seniority"])]
        )
        essential = rng.sample(
            list(occupation.essential), min(len(occupation.essential), rng.randint(2, 4))
        )
        optional = rng.sample(
            list(occupation.optional), min(len(occupation.optional), rng.randint(2, 4))
        )
        job["must"], job["nice"] = essential + optional[:1], optional[1:]
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
        c = self.config.rule_text_correlation
        text_fit = (1 - c) * self._coverage(jobs, resumes) + c * rule
        hidden = self._hidden(jobs["job_id"])[:, :1] * self._hidden(resumes["resume_id"])[:, :1].T
        hidden = hidden + self._hidden(resumes["resume_id"])[:, 1][None, :]
        score = RULE_WEIGHT * rule + TEXT_WEIGHT * text_fit + self.config.out_of_scope * hidden
        return {"rule": rule, "text_fit": text_fit, "true_score": score}

    def _coverage(self, jobs: pd.DataFrame, resumes: pd.DataFrame) -> np.ndarray:
        """Share of must-haves (.7) and nice-to-haves (.3) covered, less for asking too much or too
        little."""
        must, nice = self._multi_hot(jobs["skills"]), self._multi_hot(jobs["nice_skills"])
        has = self._multi_hot(resumes["skills"])
        n_must, n_nice = must.sum(1, keepdims=True), nice.sum(1, keepdims=True)
        coverage = 0.7 * (must @ has.T) / np.maximum(n_must, 1) + 0.3 * (nice @ has.T) / np.maximum(
            n_nice, 1
        )
        asked, years = jobs["min_years"].to_numpy()[:, None], resumes["years"].to_numpy()[None, :]
        too_much = np.clip((asked - years) / np.maximum(asked, 1), 0, 1)
        too_little = np.clip(1 - n_must / 3, 0, 1)
        return coverage * (1 - 0.5 * too_much) * (1 - 0.5 * too_little)

    def _multi_hot(self, skills: pd.Series) -> np.ndarray:
        hot = np.zeros((len(skills), len(self.skill_index)), dtype=np.float32)
        for row, items in enumerate(skills):
            hot[
                row, [self.skill_index[self.skill_id[name]] for name in rules.split_items(items)]
            ] = 1
        return hot

    def _hidden(self, ids: pd.Series) -> np.ndarray:
        """(n, 2) traits in [-1, 1] that depend on the id alone, so that no column and no text holds
        them."""
        return np.array([[2 * _uniform(f"{self.seed}/{k}/{i}") - 1 for k in (0, 1)] for i in ids])

    @cached_property
    def threshold(self) -> float:
        """The true score above which a pair truly fits, so that true_fit_share of random pairs do."""
        # Fillers and wording do not enter the score, so any split would do; this one is nobody's
        # data.
        scores = self.channels(self.jobs(300, "calibration"), self.resumes(900, "calibration"))[
            "true_score"
        ]
        return float(np.quantile(scores, 1 - self.config.true_fit_share))

    def true_fits(
        self, jobs: pd.DataFrame, resumes: pd.DataFrame, *, block: int = 256
    ) -> pd.DataFrame:
        """All pairs that truly fit: a frame job_id, resume_id."""
        found = []
        for start in range(0, len(jobs), block):
            part = jobs.iloc[start : start + block]
            i, j = np.nonzero(self.channels(part, resumes)["true_score"] > self.threshold)
            found.append(
                pd.DataFrame(
                    {
                        "job_id": part["job_id"].to_numpy()[i],
                        "resume_id": resumes["resume_id"].to_numpy()[j],
                    }
                )
            )
        return pd.concat(found, ignore_index=True)

    # ---- outcomes
    # --------------------------------------------------------------------------------------

    def labels(
        self, jobs: pd.DataFrame, resumes: pd.DataFrame, split: str, *, block: int = 256
    ) -> pd.DataFrame:
        """The labels table of one split: who applied where, and the recruiters' decisions (source
        recruiter)."""
        rng = np.random.default_rng([self.seed, APPLICATION_SPLITS.index(split)])
        woman = (resumes["gender"] == "woman").to_numpy()
        rows = []
        for start in range(0, len(jobs), block):
            part = jobs.iloc[start : start + block]
            channels = self.channels(part, resumes)
            perceived = RULE_WEIGHT * channels["rule"] + TEXT_WEIGHT * channels["text_fit"]
            wish = self.config.application_selectivity * perceived + rng.gumbel(
                size=perceived.shape
            )
            n_labels = rng.integers(
                1, max(2, round(2 * self.config.labels_per_job)), size=len(part)
            )
            for i, n in enumerate(n_labels):
                applicants = np.argsort(-wish[i], kind="stable")[:n]
                score = (
                    channels["true_score"][i, applicants]
                    - self.config.gender_bias * woman[applicants]
                )
                coin, heads = rng.random((2, len(applicants)))
                accepted = np.where(
                    coin < self.config.acceptance_noise, heads < 0.5, score > self.threshold
                )
                if self.config.unlabelled_fits < 1:
                    others = np.setdiff1d(
                        np.flatnonzero(channels["true_score"][i] > self.threshold), applicants
                    )
                    others = others[rng.random(len(others)) >= self.config.unlabelled_fits]
                    applicants = np.concatenate([applicants, others])
                    accepted = np.concatenate([accepted, np.ones(len(others), dtype=bool)])
                rows += [
                    (part["job_id"].iloc[i], resumes["resume_id"].iloc[r], int(a))
                    for r, a in zip(applicants, accepted, strict=True)
                ]
        frame = pd.DataFrame(rows, columns=["job_id", "resume_id", "label"])
        return frame.assign(split=split, source="recruiter")

    def tables(self, sizes: dict[str, tuple[int, int]]) -> dict[str, pd.DataFrame]:
        """Tables jobs, resumes, labels and truth (job_id, resume_id, split) for sizes {split:
        (jobs, resumes)}.

        Jobs and resumes are split first and people apply inside their split, so nothing crosses.
        """
        parts = {"jobs": [], "resumes": [], "labels": [], "truth": []}
        for split, (n_jobs, n_resumes) in sizes.items():
            jobs, resumes = self.jobs(n_jobs, split), self.resumes(n_resumes, split)
            parts["jobs"].append(jobs.assign(split=split))
            parts["resumes"].append(resumes.assign(split=split))
            parts["labels"].append(self.labels(jobs, resumes, split))
            parts["truth"].append(self.true_fits(jobs, resumes).assign(split=split))
        return {name: pd.concat(frames, ignore_index=True) for name, frames in parts.items()}


def _level(years: float, typical: float) -> str:
    """Seniority from years, against what is typical for the occupation's middle level."""
    return LEVELS[
        int(np.searchsorted((0.6 * typical, 1.5 * typical, 2.8 * typical), years, side="right"))
    ]


def _uniform(key: str) -> float:
    """A number in [0, 1) that depends on the key alone."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest()) / 2**64


def market_of(parameters: Mapping[str, Any]) -> Market | None:
    """The market that the parameters of notebook 01 name; None if its tables come from elsewhere."""
    return (
        Market(parameters["seed"], **parameters["market_settings"])
        if parameters["source"] == "market"
        else None
    )
