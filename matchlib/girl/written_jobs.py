"""Evaluate written jobs: true fit on the market or a language model's choice, cheap baselines,
pairwise comparisons, and a description of what is written."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from matchlib.data.market.config import CITIES, RULE_WEIGHT, TEXT_WEIGHT
from matchlib.data.market.simulation import Market
from matchlib.data.market.wording import SLOTS
from matchlib.data.rules import shared_items, split_items
from matchlib.data.skills import LEVELS
from matchlib.extraction.facts import extract_facts
from matchlib.girl.records import job_record, parse_job
from matchlib.language.both_orders import ask_in_both_orders
from matchlib.language.hyre import copy_shares
from matchlib.language.llm import LanguageModel
from matchlib.language.prompts import prompt_from
from matchlib.retrieval.search import bm25_rows
from matchlib.stats import mean_interval, paired_randomisation

JOB_COLUMNS = [
    "title",
    "seniority",
    "min_years",
    "city",
    "skills",
    "nice_skills",
]
CRITERIA = ["detail", "relevance", "conciseness"]
_CHOICE = re.compile(rf"^\W*({'|'.join(CRITERIA)})\W+([AB])\b", re.I | re.M)
_MUST_HEADING = re.compile(rf"^({'|'.join(SLOTS['seen']['must'])})\s*$", re.M)
_BLOCK = 256  # jobs whose fit is computed at once


def parse_jobs(texts: Sequence[str]) -> pd.DataFrame:
    """Rows of written records: JOB_COLUMNS and whole (bool).

    A text that is not a complete record gives a row of empty fields.
    """
    empty = dict.fromkeys(JOB_COLUMNS, "") | {
        "min_years": 0,
        "whole": False,
    }
    rows = []
    for text in texts:
        job = parse_job(text)
        rows.append(empty if job is None else job | {"whole": True})
    return pd.DataFrame(rows, columns=[*JOB_COLUMNS, "whole"])


def read_jobs(texts: Sequence[str]) -> pd.DataFrame:
    """Rows of jobs written as text: JOB_COLUMNS and whole (bool), as `extract_facts` reads them.

    It knows the seen wording of the market alone, so this is for texts by a model that learned from
    training jobs. A text that lacks a title, a level, a city, years, a requirement or the heading of
    requirements gives a row of empty fields: without the heading, a model that repeats the resume
    would be read as one that asks for what the person can do. What the skill graph does not know is
    not read, so invented skills are not counted.
    """
    has_heading = np.array([_MUST_HEADING.search(text) is not None for text in texts])
    facts = extract_facts(texts).rename(columns={"years": "min_years"})
    has_words = (facts[["title", "seniority", "city", "skills"]] != "").all(axis=1)
    whole = has_words & facts["min_years"].notna() & has_heading
    rows = facts[JOB_COLUMNS].where(whole, "")
    years = facts["min_years"].where(whole, 0).astype(int)
    return rows.assign(min_years=years, whole=whole)


def true_fit(market: Market, jobs: pd.DataFrame, resumes: pd.DataFrame) -> pd.DataFrame:
    """How well job i fits resume i by the market's formula: rule, text_fit, true_fit, invented.

    jobs: rows of `parse_jobs`; an incomplete record has fit 0. The fit leaves out the traits that
    no document shows. invented: number of skills that the market does not have; they are removed
    before the fit is computed, since no resume can have them.
    """
    known_must = jobs["skills"].map(lambda items: _known_skills(items, market))
    known_nice = jobs["nice_skills"].map(lambda items: _known_skills(items, market))
    n_asked = (jobs["skills"] + "; " + jobs["nice_skills"]).map(
        lambda items: len(split_items(items))
    )
    market_jobs = jobs.assign(
        skills=known_must.str.join("; "),
        nice_skills=known_nice.str.join("; "),
        job_id=[f"written-{i}" for i in range(len(jobs))],
        remote="no",
        region=jobs["city"].map(dict(CITIES)).fillna(""),
    )
    rule = np.zeros(len(jobs))
    text_fit = np.zeros(len(jobs))
    for start in range(0, len(jobs), _BLOCK):
        block = slice(start, start + _BLOCK)
        channels = market.channels(market_jobs[block], resumes[block])
        rule[block] = np.diag(channels["rule"])
        text_fit[block] = np.diag(channels["text_fit"])
    whole = jobs["whole"].to_numpy()
    fit = pd.DataFrame({"rule": rule * whole, "text_fit": text_fit * whole})
    fit["true_fit"] = RULE_WEIGHT * fit["rule"] + TEXT_WEIGHT * fit["text_fit"]
    fit["invented"] = (n_asked - known_must.map(len) - known_nice.map(len)).to_numpy()
    return fit


def _known_skills(items: str, market: Market) -> list[str]:
    return [skill for skill in split_items(items) if skill in market.skill_id]


def true_fits(
    market: Market | None,
    jobs: Mapping[str, pd.DataFrame],
    resumes: pd.DataFrame,
) -> dict[str, pd.DataFrame]:
    """`true_fit` of every arm's jobs; empty without a market or without parsed jobs."""
    if market is None:
        return {}
    return {arm: true_fit(market, rows, resumes) for arm, rows in jobs.items()}


def fit_judge(
    market: Market | None,
    resumes: pd.DataFrame,
    read: Callable[[Sequence[str]], pd.DataFrame],
) -> Callable[[list[int], list[str]], np.ndarray] | None:
    """The judge of `policies.Observed`: row numbers of resumes and texts -> true fits; None without a
    market. read: `parse_jobs` or `read_jobs`."""
    if market is None:
        return None

    def judge(numbers: list[int], texts: list[str]) -> np.ndarray:
        return true_fit(market, read(texts), resumes.iloc[numbers])["true_fit"].to_numpy()

    return judge


def mean_fits(fits: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Means of rule, text_fit and true_fit by arm (the index)."""
    return pd.DataFrame({arm: rows.drop(columns="invented").mean() for arm, rows in fits.items()}).T


def fit_by_arm(fits: Mapping[str, pd.DataFrame], clusters: np.ndarray) -> pd.DataFrame:
    """Mean true fit of each arm with its interval over clusters: arm, value, low, high, n,
    n_clusters."""
    rows = []
    for arm, fit in fits.items():
        rows.append({"arm": arm, **mean_interval(fit["true_fit"], clusters)})
    return pd.DataFrame(rows)


def record_baselines(jobs: pd.DataFrame, resumes: pd.DataFrame) -> dict[str, list[str]]:
    """Three baselines that need no training: one job record for each resume.

    least demanding: the training job of the title with the fewest requirements, then years.
    copied skills: a job that asks for exactly the skills of the resume.
    nearest job: the training job nearest to the resume by BM25.
    """
    by_demand = jobs.assign(n_required=jobs["skills"].map(lambda items: len(split_items(items))))
    by_demand = by_demand.sort_values(["n_required", "min_years", "job_id"])
    easiest = by_demand.drop_duplicates("title").set_index("title", drop=False)
    any_title = easiest.index[0]
    titles = [title if title in easiest.index else any_title for title in resumes["title"]]
    fields = ["title", "city", "seniority", "skills"]
    job_words = [" ".join(row) for row in jobs[fields].to_numpy()]
    resume_words = [" ".join(row) for row in resumes[fields].to_numpy()]
    return {
        "least demanding": _records(easiest.loc[titles]),
        "copied skills": _records(resumes.assign(min_years=resumes["years"], nice_skills="")),
        "nearest job": _records(jobs.iloc[nearest_by_bm25(job_words, resume_words)]),
    }


def text_baselines(
    jobs: pd.DataFrame, resumes: pd.DataFrame, texts: pd.Series
) -> dict[str, list[str]]:
    """The baseline for jobs written as text: the training job nearest to each resume by BM25.

    texts: job_id -> the text as it is shown.
    """
    nearest = nearest_by_bm25(jobs["text"], resumes["text"])
    return {"nearest job": list(texts[jobs["job_id"].iloc[nearest]])}


def _records(rows: pd.DataFrame) -> list[str]:
    return [job_record(row) for row in rows.to_dict("records")]


def nearest_by_bm25(jobs: Sequence[str], resumes: Sequence[str]) -> list[int]:
    """For each resume (text) the row number of the job with the highest BM25 score."""
    return [int(np.argmax(scores)) for scores in bm25_rows(list(resumes), list(jobs))]


def compare_by_model(
    resumes: Sequence[str],
    first: Sequence[str],
    second: Sequence[str],
    model: LanguageModel,
    *,
    max_words: int,
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Let a language model compare two jobs for each resume (texts), in both orders, by CRITERIA.

    Returns one column for each criterion: 1 where the first job is better, -1 where the second is,
    0 where the choice follows the position; the index is the row number of the resume. Rows without
    two usable answers are left out, and counted by reason.
    Raises LanguageModelError if no answer can be used.
    """
    prompts = []
    for resume, a, b in zip(resumes, first, second, strict=True):
        given = prompt_from(
            "girl_judge",
            resume=resume,
            first=a,
            second=b,
            max_words=max_words,
        )
        swapped = prompt_from(
            "girl_judge",
            resume=resume,
            first=b,
            second=a,
            max_words=max_words,
        )
        prompts.append((given, swapped))
    usable, left_out = ask_in_both_orders(
        model,
        prompts,
        parse_choices,
        expected="line 'Detail: A' or 'B' for each criterion",
        unit="comparisons",
    )
    rows = {}
    for answers in usable:
        rows[answers.position] = {
            criterion: (answers.first[criterion] == "A") - (answers.swapped[criterion] == "A")
            for criterion in CRITERIA
        }
    return pd.DataFrame.from_dict(rows, orient="index", columns=CRITERIA), left_out


def parse_choices(text: str) -> dict[str, str] | None:
    """criterion -> "A" or "B" of an answer; None where a criterion has no line."""
    choices = {criterion.lower(): choice.upper() for criterion, choice in _CHOICE.findall(text)}
    return choices if set(choices) == set(CRITERIA) else None


def comparisons(
    policy: str,
    best_of_n: str,
    baselines: Sequence[str],
    *,
    other_policies: Sequence[str] = (),
) -> list[tuple[str, str]]:
    """The pairwise comparisons: (arm, against). An arm's name ends in its decoding.

    Trained stages are compared at the same decoding, because greedy jobs of any stage are better
    than sampled ones. The policy's greedy jobs are also compared with best_of_n and with the
    baselines; other policies with SFT, best_of_n and the policy.
    """
    greedy = f"{policy} greedy"
    pairs = [
        (greedy, "sft greedy"),
        (f"{policy} sampled", "sft sampled"),
    ]
    pairs += [(greedy, arm) for arm in [best_of_n, "pretrained greedy", *baselines]]
    pairs += [(best_of_n, "sft greedy"), ("sft greedy", "pretrained greedy")]
    for other in other_policies:
        pairs += [
            (f"{other} greedy", "sft greedy"),
            (f"{other} sampled", "sft sampled"),
            (f"{other} greedy", best_of_n),
            (f"{other} greedy", greedy),
        ]
    return pairs


def win_rate(first: np.ndarray, second: np.ndarray, clusters: np.ndarray) -> dict[str, float]:
    """Pairwise comparison of paired scores: win, tie, lose (shares) and net_win_rate, win - lose.

    net_win_rate (the paper's "Adv.") has a 95% interval and a p over clusters. Scores that differ
    by less than 1e-9 tie.
    """
    gap = first - second
    sign = np.sign(np.where(np.abs(gap) < 1e-9, 0, gap))
    interval = mean_interval(sign, clusters)
    return {
        "win": float((sign > 0).mean()),
        "tie": float((sign == 0).mean()),
        "lose": float((sign < 0).mean()),
        "net_win_rate": interval["value"],
        "low": max(-1.0, interval["low"]),
        "high": min(1.0, interval["high"]),
        "p": paired_randomisation(sign, 0 * sign, clusters),
        "n": len(sign),
        "n_clusters": interval["n_clusters"],
    }


def compare_arms_by_fit(
    fits: Mapping[str, pd.DataFrame],
    pairs: Sequence[tuple[str, str]],
    clusters: np.ndarray,
) -> pd.DataFrame:
    """`win_rate` of each pair of arms, and the difference of their mean true fits with interval and
    p over clusters. Empty where there are no fits."""
    rows = []
    for arm, against in pairs if fits else []:
        first = fits[arm]["true_fit"].to_numpy()
        second = fits[against]["true_fit"].to_numpy()
        gap = mean_interval(first - second, clusters)
        row = {"arm": arm, "against": against}
        row |= win_rate(first, second, clusters)
        row |= {
            "difference": gap["value"],
            "difference low": gap["low"],
            "difference high": gap["high"],
            "difference p": paired_randomisation(first, second, clusters),
        }
        rows.append(row)
    return pd.DataFrame(rows)


def compare_arms_by_model(
    resumes: Sequence[str],
    arms: Mapping[str, Sequence[str]],
    pairs: Sequence[tuple[str, str]],
    clusters: np.ndarray,
    model: LanguageModel,
    *,
    max_words: int,
) -> pd.DataFrame:
    """`win_rate` of each pair of arms and criterion, by a language model asked in both orders.

    resumes: texts; arms: name -> the jobs written for them (texts). Returns arm, against,
    criterion, left out (comparisons without two usable answers) and the win rates.
    """
    rows = []
    for arm, against in pairs:
        choices, left_out = compare_by_model(
            resumes,
            arms[arm],
            arms[against],
            model,
            max_words=max_words,
        )
        for criterion, choice in choices.items():
            row = {
                "arm": arm,
                "against": against,
                "criterion": criterion,
                "left out": sum(left_out.values()),
            }
            of_row = clusters[choices.index]
            row |= win_rate(choice.to_numpy(), 0 * choice.to_numpy(), of_row)
            rows.append(row)
    return pd.DataFrame(rows)


def headline(
    policy: str,
    accuracy: pd.DataFrame,
    fits: pd.DataFrame,
    win_rates: pd.DataFrame,
    *,
    from_records: bool,
) -> str:
    """The stage's result in one sentence.

    accuracy: table of `reward.accuracy`; fits: table of `mean_fits`; win_rates: a table of
    `compare_arms_by_fit` or `compare_arms_by_model`; fits and win_rates may be empty. from_records:
    whether the utility learned from pairs made from records. These hold the formula by which the
    market judges, so a gain is then a consistency check and says nothing about outcomes alone.
    """
    sentence = (
        f"{_training_data(fits, from_records=from_records)}: the utility orders "
        f"{accuracy['value'].iloc[0]:.0%} of held-out hard pairs correctly"
    )
    if win_rates.empty:
        return f"{sentence}. The written jobs were not judged."
    greedy, sampled = f"{policy} greedy", f"{policy} sampled"
    parts = [
        f"both greedy, {policy}'s net win rate over SFT is {_result(win_rates, greedy, 'sft greedy')}",
        f"both sampled {_result(win_rates, sampled, 'sft sampled')}",
    ]
    of_policy = win_rates[win_rates["arm"] == greedy]
    for against in of_policy["against"]:
        if " best of " in against:
            name = against.replace("sft", "SFT")
            parts.append(f"greedy over {name} {_result(win_rates, greedy, against)}")
    better = of_policy["against"][of_policy["high"] < 0]
    losses = ", ".join(better).replace("sft", "SFT") or "none of them"
    return f"{sentence}; {'; '.join(parts)}; greedy it loses to {losses}. One run, no verdict."


def _training_data(fits: pd.DataFrame, *, from_records: bool) -> str:
    if not from_records:
        return "From outcomes alone"
    if fits.empty:
        return "From outcomes and pairs made from records"
    return "Consistency check (pairs made from records hold the judge's own formula)"


def _result(win_rates: pd.DataFrame, arm: str, against: str) -> str:
    row = win_rates[win_rates["arm"].eq(arm) & win_rates["against"].eq(against)].iloc[0]
    fit = f", true fit {row['difference']:+.3f}" if "difference" in row else ""
    return f"{row['net_win_rate']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]{fit}"


def key_figures(fits: pd.DataFrame, win_rates: pd.DataFrame) -> dict[str, float]:
    """Mean true fit of every arm and net win rate of every comparison, for the stage's metrics."""
    metrics = {}
    if win_rates.empty:
        return metrics
    if not fits.empty:
        for arm, value in fits["true_fit"].items():
            metrics[f"true fit, {arm}"] = round(value, 4)
    for row in win_rates.to_dict("records"):
        metrics[_measure(row)] = round(row["net_win_rate"], 4)
    return metrics


def _measure(row: Mapping[str, Any]) -> str:
    return f"net win rate of {row['arm']} over {row['against']}"


def leaderboard_rows(
    fits: pd.DataFrame,
    win_rates: pd.DataFrame,
    recommender: pd.DataFrame,
) -> pd.DataFrame:
    """What the ledger reads of a run: system, task, measure, judgments, value.

    fits: table of `mean_fits`; win_rates: table of `compare_arms_by_fit`; recommender: table of
    `recommend.compare_arms`, whose predictors are the tasks. Each may be empty.
    """
    rows = []
    for arm, row in fits.iterrows():
        rows.append((arm, "write", "true fit", "true_fit", row["true_fit"]))
    for row in win_rates.to_dict("records"):
        rows.append(
            (
                row["arm"],
                "write",
                _measure(row),
                "true_fit",
                row["net_win_rate"],
            )
        )
    for row in recommender.to_dict("records"):
        measure = f"AUC, {row['part']} seekers"
        rows.append(
            (
                row["arm"],
                row["predictor"],
                measure,
                "observed",
                row["AUC"],
            )
        )
    return pd.DataFrame(rows, columns=["system", "task", "measure", "judgments", "value"])


def describe(arms: Mapping[str, pd.DataFrame], resumes: pd.DataFrame) -> pd.DataFrame:
    """What each arm's jobs (rows of `parse_jobs`) ask for, and what the resume does not support.

    whole: share of complete records; requirements, nice_to_have: mean number of skills; level: mean
    seniority, 0 to 3; distinct_jobs: share; distinct_skills: number; similarity: mean Jaccard index
    of the skills of two jobs with the same title.
    The fabrication check: unmet_requirements: mean share of required skills that the resume lacks;
    other_city, too_many_years: shares of jobs in another city, and with more years than the person
    has.
    """
    rows = []
    for arm, jobs in arms.items():
        description = _describe(jobs.reset_index(drop=True), resumes.reset_index(drop=True))
        rows.append({"arm": arm, **description})
    return pd.DataFrame(rows)


def _describe(jobs: pd.DataFrame, resumes: pd.DataFrame) -> dict[str, float]:
    whole = jobs["whole"].to_numpy()
    if not whole.any():
        return {"whole": 0.0}
    jobs, resumes = jobs[whole], resumes[whole]
    must = jobs["skills"].map(_item_set)
    nice = jobs["nice_skills"].map(_item_set)
    held = resumes["skills"].map(_item_set)
    unmet = []
    for required, has in zip(must, held, strict=True):
        if required:
            unmet.append(len(required - has) / len(required))
    too_many_years = jobs["min_years"].astype(int) > resumes["years"].astype(int)
    return {
        "whole": whole.mean(),
        "requirements": must.map(len).mean(),
        "nice_to_have": nice.map(len).mean(),
        "level": jobs["seniority"].map(LEVELS.index).mean(),
        "distinct_jobs": len(jobs[JOB_COLUMNS].drop_duplicates()) / len(jobs),
        "distinct_skills": len(set().union(*must, *nice)),
        "similarity": _mean_jaccard_by_title(jobs, must),
        "unmet_requirements": float(np.mean(unmet)),
        "other_city": (jobs["city"] != resumes["city"]).mean(),
        "too_many_years": too_many_years.mean(),
    }


def _item_set(items: str) -> set[str]:
    return set(split_items(items))


def _mean_jaccard_by_title(jobs: pd.DataFrame, must: pd.Series) -> float:
    """Mean Jaccard index of the required skills of every two jobs with one title; NaN without two."""
    values = []
    for _, part in jobs.groupby("title"):
        shared = shared_items(part["skills"], part["skills"])
        sizes = must.loc[part.index].map(len).to_numpy()
        jaccard = shared / (sizes[:, None] + sizes[None, :] - shared)
        values += jaccard[np.triu_indices(len(part), 1)].tolist()
    return float(np.mean(values)) if values else np.nan


def accepted_jobs(part: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The real jobs that accepted someone, as rows of `parse_jobs`, and the accepted resumes."""
    accepted = part["labels"][part["labels"]["label"] == 1].merge(part["resumes"], on="resume_id")
    jobs = part["jobs"].set_index("job_id").loc[accepted["job_id"], JOB_COLUMNS]
    return jobs.assign(whole=True), accepted


def copied_shares(arms: Mapping[str, Sequence[str]], jobs: Sequence[str]) -> pd.DataFrame:
    """Shares of each arm's texts that copy one of some real jobs, see `hyre.copy_shares`: arm,
    near_copies, runs_of_12_words."""
    return pd.DataFrame([{"arm": arm, **copy_shares(texts, jobs)} for arm, texts in arms.items()])
