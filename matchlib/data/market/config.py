"""The market's settings, its null worlds, its places."""

from __future__ import annotations

from dataclasses import dataclass

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
RULE_WEIGHT = 0.4
TEXT_WEIGHT = 0.6
SHARE_OF_TYPICAL_YEARS = (0.25, 0.75, 1.6, 3.0)
"""Years that a job asks for, of the occupation's typical ones, by LEVELS."""
APPLICATION_SPLITS = ("train", "valid", "test", "calibration")
NAMES_PER_GENDER = 200
"""Given names of a market: the first half for its training and validation resumes, the rest for all
others."""


@dataclass(frozen=True)
class MarketConfig:
    """The market's settings; every one is a share or probability unless its comment says otherwise."""

    labels_per_job: float = 4.0  # mean number of applicants a job, 1 .. 2 * mean - 1
    # 0: people apply anywhere; higher: only where they think they fit (a weight)
    application_selectivity: float = 12.0
    acceptance_noise: float = 0.1  # decisions replaced by a coin flip
    true_fit_share: float = 0.01  # pairs that truly fit
    # true fits among those who did not apply that stay without a label
    unlabelled_fits: float = 1.0
    alias_gap: float = 0.6  # mentions of skills not in canonical words
    title_gap: float = 0.2  # job titles not in canonical words
    unseen_wording: float = 0.7  # test phrasings drawn from the held-out wording
    detail: int = 0  # filler sentences a document (a count)
    length_ratio: float = 1.0  # filler sentences of a resume for each of a job (a ratio)
    # weight of the traits that no document shows (beside 0.4 and 0.6)
    out_of_scope: float = 0.1
    rule_text_correlation: float = 0.0  # 1: text_fit is the rule
    occupations: int = 112  # occupations in use, the largest of each family first (a count)
    concentration: float = 1.0  # exponent on occupation sizes; 0: all equally common (an exponent)
    segregation: float = 0.0  # how far an occupation's gender mix leans from one half
    gender_bias: float = 0.0  # taken off the recruiter's score of a woman (in units of the score)
    gender_proxies: float = 0.0  # resumes with a club or leave that hints at gender
    gender_shown: float = 0.0  # resumes with a given name


NULL_WORLDS: dict[str, dict[str, float]] = {
    # outcomes say nothing about true fits
    "labels": {"application_selectivity": 0.0, "acceptance_noise": 1.0},
    # people apply where they fit, recruiters toss a coin
    "decisions": {"acceptance_noise": 1.0},
    # no unlabelled pair fits: the top is safe
    "runner_ups": {"unlabelled_fits": 0.0, "acceptance_noise": 0.0},
    # both sides use the same words
    "wording": {"alias_gap": 0.0, "title_gap": 0.0},
    # rule and text agree: no preference left to learn
    "preference": {"rule_text_correlation": 1.0},
    "bias": {"gender_bias": 0.0, "gender_proxies": 0.0, "gender_shown": 0.0},
}
