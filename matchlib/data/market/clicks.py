"""Recruiters' clicks and conversions on the simulated market, whose probabilities are known.

A request: a recruiter with a role searches people for a job; a production ranker of set strength
shows twenty. A click is decided by the summary (title, place, years, first skills), a conversion
(an invitation) by the details, by what the job's team likes, which only past hires show, and by
traits that no document shows. Utilities have thresholds, knock-outs and interactions, so that a
linear model cannot be perfect. Roles weigh the same terms differently; averaged over roles the
weights are those of everyone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from matchlib.data import rules
from matchlib.data.market.simulation import Market
from matchlib.data.schema import DataError
from matchlib.data.skills import DEGREES, LEVELS

ROLES = ("sourcer", "hr_recruiter", "hiring_manager", "technical_interviewer")
CLICK_MODELS = ("position", "cascade", "trust")
SHOWN = 20
"""Resumes of a request."""
CANDIDATES = 40
"""Resumes that the production ranker chooses from."""
SUMMARY_SKILLS = 3
"""Skills of a resume that its summary shows."""
LOG_DAYS = 90
HIRES_PER_JOB = 5
"""Earlier hires of a job's team, dated before the log."""
START = pd.Timestamp("2026-01-01")

CLICK_TERMS = (
    "same title",
    "summary names the skills",
    "far away",
    "too few years",
    "overqualified",
    "same city",
    "skills and years",
)
CLICK_WEIGHTS = np.array([1.2, 1.0, 1.5, 1.0, 0.6, 0.4, 1.2])
CLICK_DEVIATIONS = np.array(
    [
        [2.16, -0.72, -1.44, -1.08, 1.08, -0.72, -1.08],  # sourcer: titles
        [-1.08, -1.44, 2.16, 0.36, -0.72, 1.44, -1.08],  # HR recruiter: place
        [-0.72, -0.36, -0.36, 1.8, -1.08, -0.36, 2.16],  # hiring manager: years
        [-0.36, 2.52, -0.36, -1.08, 0.72, -0.36, 0.0],  # technical interviewer: skills
    ]
)
"""(roles, click terms); each column adds up to zero."""

CONVERSION_TERMS = (
    "most must-haves",
    "nice-to-haves",
    "no must-have",
    "degree too low",
    "nice-to-haves at the right level",
    "liked by the team",
    "far away",
)
CONVERSION_WEIGHTS = np.array([1.4, 0.6, 1.5, 0.8, 0.8, 1.4, 0.8])
CONVERSION_DEVIATIONS = np.array(
    [
        [0.72, -0.54, -0.9, -0.72, -0.72, -0.72, -0.36],
        [-1.08, -0.36, -0.54, 1.8, -0.36, -0.9, 1.44],
        [-0.72, 0.36, -0.36, -0.54, 1.62, 1.8, -0.54],
        [1.08, 0.54, 1.8, -0.54, -0.54, -0.18, -0.54],
    ]
)
"""(roles, conversion terms); each column adds up to zero."""

LEGACY_SHARE = 0.8
"""Of what the production score adds to everyone's utility, the share that is an old ranker's
preference for long experience and many skills; it can be learned, and is no reason to click."""
CLICK_BIAS = -0.8
CONVERSION_BIAS = -1.0
TRAIT_WEIGHT = 0.6


@dataclass(frozen=True)
class ClickConfig:
    """Settings of the logs; shares and probabilities unless said otherwise."""

    role_effect: float = 1.0  # factor on the roles' deviations; 0: every role has the same taste
    fit_effect: float = 1.0  # factor on the utilities; 0: clicks say nothing about fit
    recruiter_noise: float = 0.2  # standard deviation of a recruiter's own weights
    position_bias: float = 0.9  # examination falls as 1 / position ** this; 0: all are seen
    click_model: str = "position"
    ranker_strength: float = 0.6  # correlation of the production score with the mean utility
    label_noise: float = 0.05  # clicks replaced by a coin of the mean click rate
    relevance_noise: float = 0.3  # judgments of relevance replaced by a uniform number
    conversion_delay_days: float = 5.0  # mean of an exponential
    random_share: float = 0.1  # requests shown in random order
    n_recruiters: int = 200


class ClickLog(NamedTuple):
    """What a simulation hands out.

    impressions: the schema's table, and ordering (production, random) and converted_at (NaT where
      nobody converted before the log ends).
    truth: row for row with impressions: examined, attractive (click if examined), clicked_p (click
      with noise), converts_p (conversion if clicked), click_utility, conversion_utility.
    hires: job_id, resume_id, hired_at, of before the log.
    """

    impressions: pd.DataFrame
    truth: pd.DataFrame
    hires: pd.DataFrame


def simulate_clicks(
    market: Market,
    jobs: pd.DataFrame,
    resumes: pd.DataFrame,
    *,
    n_requests: int,
    config: ClickConfig,
    seed: int = 1,
) -> ClickLog:
    """A log of n_requests x 20 impressions, ordered by time.

    jobs, resumes: tables of `market`; the same seed and settings give the same rows. Raises
    DataError on a click model that is none, or fewer than 40 resumes.
    """
    if config.click_model not in CLICK_MODELS:
        raise DataError(
            f"click_model {config.click_model!r} is not one of {', '.join(CLICK_MODELS)}"
        )
    if len(resumes) < CANDIDATES:
        raise DataError(
            f"{len(resumes)} resumes are too few for a log: a request chooses from {CANDIDATES}"
        )
    rng = np.random.default_rng([market.seed, seed, 20])
    pairs = _Pairs(market, jobs, resumes)
    recruiter, role, job, shown_at = _draw_requests(len(jobs), n_requests, config, rng)
    candidates = pairs.draw_candidates(job, rng)
    is_random = rng.random(n_requests) < config.random_share
    shown = _production_order(pairs, job, candidates, config, rng)
    shown[is_random] = rng.permuted(shown[is_random], axis=1)

    own_weights = _recruiter_weights(config, rng)
    click_weights = CLICK_WEIGHTS + config.role_effect * CLICK_DEVIATIONS[role]
    click_weights = click_weights + own_weights[recruiter]
    conversion_weights = CONVERSION_WEIGHTS + config.role_effect * CONVERSION_DEVIATIONS[role]
    click_utility = np.einsum("nsk,nk->ns", pairs.click_terms(job, shown), click_weights)
    conversion_utility = np.einsum(
        "nsk,nk->ns", pairs.conversion_terms(job, shown), conversion_weights
    )
    conversion_utility = conversion_utility + TRAIT_WEIGHT * pairs.traits(job, shown)
    attractive = _sigmoid(CLICK_BIAS + config.fit_effect * click_utility)
    converts = _sigmoid(CONVERSION_BIAS + config.fit_effect * conversion_utility)

    examined, clicks_p, clicked = _draw_clicks(attractive, config, rng)
    delay = rng.exponential(config.conversion_delay_days, size=shown.shape)
    at = shown_at[:, None] + delay
    converted = clicked & (rng.random(shown.shape) < converts) & (at <= LOG_DAYS)
    relevance = _judge_relevance(pairs, job, shown, config, rng)

    n, k = shown.shape
    row = np.repeat(np.arange(n), k)
    flat = shown.ravel()
    resume_ids = resumes["resume_id"].to_numpy()[flat]
    impressions = pd.DataFrame(
        {
            "request_id": np.array([f"q{i:06d}" for i in range(n)])[row],
            "recruiter_id": np.array([f"u{i:04d}" for i in range(config.n_recruiters)])[
                recruiter[row]
            ],
            "role": np.array(ROLES)[role[row]],
            "job_id": jobs["job_id"].to_numpy()[job[row]],
            "resume_id": resume_ids,
            "position": np.tile(np.arange(1, k + 1), n),
            "shown_at": _time(shown_at[row]),
            "clicked": clicked.ravel().astype(int),
            "converted": converted.ravel().astype(int),
            "relevance": relevance.ravel(),
            "ordering": np.where(is_random[row], "random", "production"),
            "converted_at": _time(np.where(converted, at, np.nan).ravel()),
        }
    )
    truth = pd.DataFrame(
        {
            "request_id": impressions["request_id"],
            "resume_id": resume_ids,
            "examined": examined.ravel(),
            "attractive": attractive.ravel(),
            "clicked_p": clicks_p.ravel(),
            "converts_p": converts.ravel(),
            "click_utility": click_utility.ravel(),
            "conversion_utility": conversion_utility.ravel(),
        }
    )
    return ClickLog(impressions, truth, _draw_hires(pairs, jobs, resumes, rng))


def _standardised(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std()


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _time(days: np.ndarray) -> pd.Series:
    """Days since the log's start as moments; NaN becomes NaT."""
    seconds = pd.to_timedelta(pd.Series(days) * 86_400, unit="s").dt.round("s")
    return (START + seconds).astype("datetime64[us]").to_numpy()


def _draw_requests(
    n_jobs: int, n: int, config: ClickConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Recruiter, role, job (numbers) and day of n requests in order of time; a recruiter has one
    role."""
    recruiter = rng.integers(config.n_recruiters, size=n)
    role = recruiter % len(ROLES)
    job = rng.integers(n_jobs, size=n)
    shown_at = np.sort(rng.uniform(0, LOG_DAYS, size=n))
    return recruiter, role, job, shown_at


def _recruiter_weights(config: ClickConfig, rng: np.random.Generator) -> np.ndarray:
    """(recruiters, click terms) own weights, which average to zero over the recruiters of a role."""
    own = rng.normal(size=(config.n_recruiters, len(CLICK_TERMS)))
    for role in range(len(ROLES)):
        own[role :: len(ROLES)] -= own[role :: len(ROLES)].mean(axis=0)
    return config.recruiter_noise * own


def _production_order(
    pairs: _Pairs,
    job: np.ndarray,
    candidates: np.ndarray,
    config: ClickConfig,
    rng: np.random.Generator,
) -> np.ndarray:
    """(n, 20) the first of the candidates by a score of everyone's utility, of what an old ranker
    prefers (long experience, many skills), and of nothing."""
    known = _standardised(pairs.mean_utility(job, candidates))
    legacy = _standardised(pairs.legacy_score(candidates))
    unknown = rng.normal(size=known.shape)
    strength = config.ranker_strength
    rest = np.sqrt(LEGACY_SHARE) * legacy + np.sqrt(1 - LEGACY_SHARE) * unknown
    score = strength * known + np.sqrt(1 - strength**2) * rest
    order = np.argsort(-score, axis=1, kind="stable")[:, :SHOWN]
    return np.take_along_axis(candidates, order, axis=1)


def _draw_clicks(
    attractive: np.ndarray, config: ClickConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(probability of being examined, of a click, the clicks), each (n, 20).

    position: examined with 1 / position ** bias, clicked if attractive (Richardson et al. 2007).
    cascade: from the top, going on after each resume with a probability that is lower after a click
      (dependent click model, Guo et al. 2009).
    trust: as position, and what stands high is clicked more than it deserves (Agarwal et al. 2019).
    """
    n, k = attractive.shape
    place = np.arange(1, k + 1)
    by_position = np.broadcast_to(place**-config.position_bias, (n, k))
    noise = config.label_noise
    if config.click_model == "cascade":
        examined, clicked = _cascade(attractive, config, rng)
        seen_click = examined * attractive
    else:
        examined, seen_click = by_position, by_position * attractive
        if config.click_model == "trust":
            undeserved = 0.3 * config.position_bias / (1 + place)
            seen_click = by_position * (attractive + (1 - attractive) * undeserved)
        clicked = rng.random((n, k)) < seen_click
    mean_click = seen_click.mean()
    is_coin = rng.random((n, k)) < noise
    clicked = np.where(is_coin, rng.random((n, k)) < mean_click, clicked)
    return examined, (1 - noise) * seen_click + noise * mean_click, clicked


def _cascade(
    attractive: np.ndarray, config: ClickConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(probability of being examined, given the clicks above it averaged out; the clicks)."""
    n, k = attractive.shape
    after_none = np.exp(-0.08 * config.position_bias)
    after_click = np.exp(-0.6 * config.position_bias)
    is_reading = np.ones(n, dtype=bool)
    examined_p = np.ones(n)
    examined, clicked = np.empty((n, k)), np.zeros((n, k), dtype=bool)
    for place in range(k):
        examined[:, place] = examined_p
        clicked[:, place] = is_reading & (rng.random(n) < attractive[:, place])
        goes_on = np.where(clicked[:, place], after_click, after_none)
        is_reading &= rng.random(n) < goes_on
        chance = attractive[:, place]
        examined_p = examined_p * (chance * after_click + (1 - chance) * after_none)
    return examined, clicked


def _judge_relevance(
    pairs: _Pairs,
    job: np.ndarray,
    shown: np.ndarray,
    config: ClickConfig,
    rng: np.random.Generator,
) -> np.ndarray:
    """(n, 20) numbers in [0, 1]: everyone's view of the fit; some, by relevance_noise, say nothing."""
    fit = _sigmoid(pairs.mean_utility(job, shown) - 1.0)
    is_noise = rng.random(shown.shape) < config.relevance_noise
    return np.where(is_noise, rng.random(shown.shape), fit)


def _draw_hires(
    pairs: _Pairs, jobs: pd.DataFrame, resumes: pd.DataFrame, rng: np.random.Generator
) -> pd.DataFrame:
    """People hired for each job's team in the two years before the log: those who would convert."""
    job = np.arange(len(jobs))
    candidates = pairs.draw_candidates(job, rng)
    utility = pairs.conversion_terms(job, candidates) @ CONVERSION_WEIGHTS
    wish = 1.5 * utility + rng.gumbel(size=utility.shape)
    best = np.argsort(-wish, axis=1)[:, :HIRES_PER_JOB]
    hired = np.take_along_axis(candidates, best, axis=1)
    days_before = rng.uniform(-730, -1, size=hired.shape)
    return pd.DataFrame(
        {
            "job_id": np.repeat(jobs["job_id"].to_numpy(), HIRES_PER_JOB),
            "resume_id": resumes["resume_id"].to_numpy()[hired.ravel()],
            "hired_at": _time(days_before.ravel()),
        }
    )


class _Pairs:
    """What of a job and a resume the utilities read, for any pairs given by row numbers."""

    def __init__(self, market: Market, jobs: pd.DataFrame, resumes: pd.DataFrame):
        self.market = market
        number = market.skill_index
        occupations = list(market.graph.occupations)
        family = np.array([market.graph.occupations[name].family for name in occupations])
        index = {name: i for i, name in enumerate(occupations)}
        self.job_occupation = jobs["occupation"].map(index).to_numpy()
        self.resume_occupation = resumes["occupation"].map(index).to_numpy()
        self.same_family = family[:, None] == family[None, :]
        self.must = market.multi_hot(jobs["skills"])
        self.nice = market.multi_hot(jobs["nice_skills"])
        self.skills = market.multi_hot(resumes["skills"])
        first = resumes["skills"].map(_first_skills)
        self.summary_skills = market.multi_hot(first)
        self.liked = self._liked_skills(jobs, number)
        self.jobs = {"remote": (jobs["remote"] == "yes").to_numpy()}
        self.resumes = {"remote": (resumes["remote"] == "yes").to_numpy()}
        for place in ("city", "region"):
            codes, _ = pd.factorize(pd.concat([jobs[place], resumes[place]]))
            self.jobs[place], self.resumes[place] = np.split(codes, [len(jobs)])
        self.jobs["level"] = jobs["seniority"].map(LEVELS.index).to_numpy()
        self.resumes["level"] = resumes["seniority"].map(LEVELS.index).to_numpy()
        self.jobs["degree"] = jobs["degree"].map(DEGREES.index).to_numpy()
        self.resumes["degree"] = resumes["degree"].map(DEGREES.index).to_numpy()
        self.jobs["years"] = jobs["min_years"].to_numpy()
        self.resumes["years"] = resumes["years"].to_numpy()
        self.job_traits = market.hidden_traits(jobs["job_id"])
        self.resume_traits = market.hidden_traits(resumes["resume_id"])

    def _liked_skills(self, jobs: pd.DataFrame, number: dict[str, int]) -> np.ndarray:
        """(jobs, skills) 1 for the two skills of the occupation that a job's team likes and its
        advert does not name."""
        liked = np.zeros_like(self.must)
        named = self.must + self.nice
        for row, (job_id, occupation) in enumerate(
            zip(jobs["job_id"], jobs["occupation"], strict=True)
        ):
            entry = self.market.graph.occupations[occupation]
            pool = [
                number[skill]
                for skill in (*entry.essential, *entry.optional)
                if not named[row, number[skill]]
            ]
            rng = np.random.default_rng([self.market.seed, 7, *job_id.encode()])
            liked[row, rng.permutation(pool)[:2]] = 1
        return liked

    def draw_candidates(self, job: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(n, 40) different resumes of each request: mostly of its occupation and family."""
        chosen = []
        for block in np.array_split(job, max(1, len(job) // 500)):
            occupation = self.job_occupation[block][:, None]
            is_same = occupation == self.resume_occupation[None, :]
            is_near = self.same_family[occupation, self.resume_occupation[None, :]]
            log_weight = np.where(is_same, 3.0, np.where(is_near, 1.5, 0.0))
            score = log_weight + rng.gumbel(size=log_weight.shape)
            chosen.append(np.argpartition(-score, CANDIDATES - 1, axis=1)[:, :CANDIDATES])
        return np.concatenate(chosen)

    def _share(self, of_jobs: np.ndarray, of_resumes: np.ndarray, job, resume) -> np.ndarray:
        """(n, s) share of a job's skills that a resume has."""
        total = np.maximum(of_jobs.sum(axis=1), 1)
        common = np.empty(resume.shape, dtype=np.float32)
        for start in range(0, len(job), 500):
            part = slice(start, start + 500)
            common[part] = np.einsum(
                "nk,nsk->ns", of_jobs[job[part]], of_resumes[resume[part]], optimize=True
            )
        return common / total[job][:, None]

    def _is_far(self, job: np.ndarray, resume: np.ndarray) -> np.ndarray:
        same_region = self.jobs["region"][job][:, None] == self.resumes["region"][resume]
        is_remote = self.jobs["remote"][job][:, None] | self.resumes["remote"][resume]
        return ~same_region & ~is_remote

    def click_terms(self, job: np.ndarray, resume: np.ndarray) -> np.ndarray:
        """(n, s, terms) by CLICK_TERMS; job: (n,), resume: (n, s) row numbers."""
        asked = self.jobs["years"][job][:, None]
        has_years = self.resumes["years"][resume] >= 0.7 * asked
        names_skills = self._share(self.must, self.summary_skills, job, resume) >= 0.3
        occupation = self.job_occupation[job][:, None]
        is_same = occupation == self.resume_occupation[resume]
        is_near = self.same_family[occupation, self.resume_occupation[resume]]
        above = self.resumes["level"][resume] - self.jobs["level"][job][:, None]
        terms = (
            np.where(is_same, 1.0, np.where(is_near, 0.4, 0.0)),
            names_skills,
            -1.0 * self._is_far(job, resume),
            -1.0 * ~has_years,
            -1.0 * (above >= 2),
            self.jobs["city"][job][:, None] == self.resumes["city"][resume],
            names_skills & has_years,
        )
        return np.stack([np.asarray(term, dtype=float) for term in terms], axis=2)

    def conversion_terms(self, job: np.ndarray, resume: np.ndarray) -> np.ndarray:
        """(n, s, terms) by CONVERSION_TERMS; job: (n,), resume: (n, s) row numbers."""
        must = self._share(self.must, self.skills, job, resume)
        nice = self._share(self.nice, self.skills, job, resume)
        liked = self._share(self.liked, self.skills, job, resume)
        level_gap = self.resumes["level"][resume] - self.jobs["level"][job][:, None]
        degree_gap = self.resumes["degree"][resume] - self.jobs["degree"][job][:, None]
        terms = (
            must >= 0.6,
            nice,
            -1.0 * (must == 0),
            -1.0 * (degree_gap < 0),
            nice * (level_gap == 0),
            liked,
            -1.0 * self._is_far(job, resume),
        )
        return np.stack([np.asarray(term, dtype=float) for term in terms], axis=2)

    def mean_utility(self, job: np.ndarray, resume: np.ndarray) -> np.ndarray:
        """(n, s) utility averaged over roles, of the click and of the conversion in equal parts."""
        click = self.click_terms(job, resume) @ CLICK_WEIGHTS
        conversion = self.conversion_terms(job, resume) @ CONVERSION_WEIGHTS
        return (click + conversion) / 2

    def legacy_score(self, resume: np.ndarray) -> np.ndarray:
        """(n, s) long experience and many skills, whatever the job."""
        years = _standardised(np.log1p(self.resumes["years"]))
        n_skills = _standardised(self.skills.sum(axis=1))
        return (years + n_skills)[resume]

    def traits(self, job: np.ndarray, resume: np.ndarray) -> np.ndarray:
        """(n, s) agreement of traits that no document shows."""
        of_job = self.job_traits[job][:, None, :]
        return (of_job * self.resume_traits[resume]).sum(axis=2)


def _first_skills(skills: str) -> str:
    return "; ".join(rules.split_items(skills)[:SUMMARY_SKILLS])
