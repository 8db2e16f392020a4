"""Who judges a written job, and beside what: the market's truth or a language model, and three
cheap opponents."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from matchlib.data.market import CITIES, RULE_WEIGHT, TEXT_WEIGHT, Market
from matchlib.data.rules import shared_items, split_items
from matchlib.data.skills import LEVELS
from matchlib.girl.records import job_record, parse_job
from matchlib.language.llm import LanguageModel, LanguageModelError
from matchlib.language.prompts import prompt_from
from matchlib.retrieval.search import bm25_rows
from matchlib.stats import mean_interval, paired_randomisation

CRITERIA = ["detail", "relevance", "conciseness"]
_CHOICE = re.compile(rf"^\W*({'|'.join(CRITERIA)})\W+([AB])\b", re.I | re.M)
COLUMNS = ["title", "seniority", "min_years", "city", "skills", "nice_skills"]


def parsed(texts: Sequence[str]) -> pd.DataFrame:
    """Rows of written records: COLUMNS and whole (bool); a text of another form is a row of empty
    fields."""
    empty = dict.fromkeys(COLUMNS, "") | {"min_years": 0, "seniority": "", "whole": False}
    rows = [parse_job(text) for text in texts]
    return pd.DataFrame(
        [empty if row is None else row | {"whole": True} for row in rows],
        columns=[*COLUMNS, "whole"],
    )


def judge_by_truth(market: Market, jobs: pd.DataFrame, resumes: pd.DataFrame) -> pd.DataFrame:
    """How job i would truly fit resume i, were it a real one: rule, text_fit, true_fit (floats),
    invented (a count).

    true_fit is the market's, without the traits that no document shows; a job of another form fits
    nobody (0). Skills that the market does not know are left out and counted: nobody can have them.
    jobs: rows of `parsed`.
    """
    known = jobs["skills"].map(
        lambda items: [s for s in split_items(items) if s in market.skill_id]
    )
    nice = jobs["nice_skills"].map(
        lambda items: [s for s in split_items(items) if s in market.skill_id]
    )
    asked = (jobs["skills"] + "; " + jobs["nice_skills"]).map(lambda items: len(split_items(items)))
    rows = jobs.assign(
        skills=known.str.join("; "),
        nice_skills=nice.str.join("; "),
        job_id=[f"written-{i}" for i in range(len(jobs))],
        remote="no",
        region=jobs["city"].map(dict(CITIES)).fillna(""),
    )
    found = np.zeros((len(jobs), 2))
    for start in range(0, len(jobs), 256):
        channels = market.channels(rows[start : start + 256], resumes[start : start + 256])
        found[start : start + 256] = np.column_stack(
            [np.diag(channels[name]) for name in ("rule", "text_fit")]
        )
    rule, text_fit = (found * jobs["whole"].to_numpy()[:, None]).T
    return pd.DataFrame(
        {
            "rule": rule,
            "text_fit": text_fit,
            "true_fit": RULE_WEIGHT * rule + TEXT_WEIGHT * text_fit,
            "invented": asked - known.map(len) - nice.map(len),
        }
    ).reset_index(drop=True)


def opponents(jobs: pd.DataFrame, resumes: pd.DataFrame) -> dict[str, list[str]]:
    """What costs nothing: three records for each resume, from the training jobs or from the resume
    itself.

    least demanding: the title's job with fewest requirements, then years; copied skills: a job that
    asks for what the resume holds; nearest job: the training job nearest by BM25.
    """
    by_title = (
        jobs.assign(n=jobs["skills"].map(lambda items: len(split_items(items))))
        .sort_values(["n", "min_years", "job_id"])
        .drop_duplicates("title")
        .set_index("title", drop=False)
    )
    easy = by_title.loc[[t if t in by_title.index else by_title.index[0] for t in resumes["title"]]]
    copied = resumes.assign(min_years=resumes["years"], nice_skills="")
    words, asked = (
        [" ".join(row) for row in frame[["title", "city", "seniority", "skills"]].to_numpy()]
        for frame in (jobs, resumes)
    )
    frames = {
        "least demanding": easy,
        "copied skills": copied,
        "nearest job": jobs.iloc[nearest(words, asked)],
    }
    return {
        name: [job_record(row) for row in frame.to_dict("records")]
        for name, frame in frames.items()
    }


def nearest(jobs: Sequence[str], resumes: Sequence[str]) -> list[int]:
    """For each resume the position of the job nearest by BM25 (texts)."""
    return [int(np.argmax(scores)) for scores in bm25_rows(list(resumes), list(jobs))]


def ask_model(
    resumes: Sequence[str],
    first: Sequence[str],
    second: Sequence[str],
    model: LanguageModel,
    *,
    max_words: int,
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Let a language model compare two jobs for each resume (texts), in both orders, by CRITERIA.

    Returns a column for each criterion: 1 where the first job is better, -1 where the second is, 0
    where the choice follows the slot; indexed by the resume's position. Rows without two usable
    answers are left out, and counted by reason.
    Raises LanguageModelError if no answer can be used.
    """
    prompts = [
        prompt_from("girl_judge", resume=resume, first=a, second=b, max_words=max_words)
        for resume, one, other in zip(resumes, first, second, strict=True)
        for a, b in ((one, other), (other, one))
    ]
    answers, rows, left_out = model.complete(prompts), {}, {}
    for at, (one, other) in enumerate(zip(answers[::2], answers[1::2], strict=True)):
        problem = one.problem or other.problem
        both = (
            []
            if problem
            else [
                {criterion.lower(): choice.upper() for criterion, choice in _CHOICE.findall(a.text)}
                for a in (one, other)
            ]
        )
        if problem or any(set(choices) != set(CRITERIA) for choices in both):
            reason = problem or "not a line 'Detail: A' or 'B' for each criterion"
            left_out[reason] = left_out.get(reason, 0) + 1
            continue
        rows[at] = {c: (both[0][c] == "A") - (both[1][c] == "A") for c in CRITERIA}
    if not rows:
        raise LanguageModelError(
            f"none of {len(first):,} comparisons got two usable answers ({left_out}); try a "
            f"larger model, or look at the answers in the cache"
        )
    return pd.DataFrame.from_dict(rows, orient="index", columns=CRITERIA), left_out


def comparisons(policy: str, best: str, cheap: Sequence[str]) -> list[tuple[str, str]]:
    """Which arms are compared: (arm, against). A name ends in how its jobs were decoded, `greedy`
    or `sampled`.

    Trained stages are compared at one decoding, because greedy jobs of any of them are better than
    sampled ones; the policy's greedy jobs also stand against `best`, SFT's best of n by the utility
    ("" for none), and against `cheap`.
    """
    greedy, against = f"{policy} greedy", [best] if best else []
    return [
        (greedy, "sft greedy"),
        (f"{policy} sampled", "sft sampled"),
        *((greedy, arm) for arm in [*against, "raw greedy", *cheap]),
        *((arm, "sft greedy") for arm in against),
        ("sft greedy", "raw greedy"),
    ]


def duel(first: np.ndarray, second: np.ndarray, clusters: np.ndarray) -> dict[str, float]:
    """win, tie, lose (shares) of paired scores; advantage, win - lose, with its 95% interval and p
    by clusters."""
    sign = np.sign(np.where(np.abs(first - second) < 1e-9, 0, first - second))
    interval = mean_interval(sign, clusters)
    return {
        "win": float((sign > 0).mean()),
        "tie": float((sign == 0).mean()),
        "lose": float((sign < 0).mean()),
        "advantage": interval["value"],
        "low": max(-1.0, interval["low"]),
        "high": min(1.0, interval["high"]),
        "p": paired_randomisation(sign, 0 * sign, clusters),
        "n": len(sign),
        "n_clusters": interval["n_clusters"],
    }


def duels(
    scores: Mapping[str, np.ndarray], pairs: Sequence[tuple[str, str]], clusters: np.ndarray
) -> pd.DataFrame:
    """`duel` for each named pair, and the mean difference of their scores with its interval and p
    by clusters."""
    rows = []
    for arm, against in pairs:
        gap = mean_interval(scores[arm] - scores[against], clusters)
        rows.append(
            {
                "arm": arm,
                "against": against,
                **duel(scores[arm], scores[against], clusters),
                "difference": gap["value"],
                "difference low": gap["low"],
                "difference high": gap["high"],
                "difference p": paired_randomisation(scores[arm], scores[against], clusters),
            }
        )
    return pd.DataFrame(rows)


def answer(
    policy: str,
    accuracy: pd.DataFrame,
    fits: pd.DataFrame,
    duels: pd.DataFrame,
    *,
    from_records: bool,
) -> tuple[str, dict[str, float]]:
    """The stage's sentence and key figures: reward.accuracy's table, mean true fits by arm,
    `duels`; both may be empty.

    from_records: whether the utility learned from pairs made from records. They encode the formula
    by which the market judges, so that a gain is then a consistency check and says nothing on what
    outcomes alone teach.
    """
    taught = "From outcomes and pairs made from records" if from_records else "From outcomes alone"
    if from_records and not fits.empty:
        taught = "Consistency check (pairs made from records hold the judge's own formula)"
    headline = f"{taught}: the utility orders {accuracy['value'].iloc[0]:.0%} of held-out hard pairs rightly"
    if duels.empty:
        return headline + ". Nobody judged what was written.", {}
    metrics = (
        {}
        if fits.empty
        else {f"true fit, {arm}": round(value, 4) for arm, value in fits["true_fit"].items()}
    )
    metrics |= {
        f"advantage of {row['arm']} over {row['against']}": round(row["advantage"], 4)
        for row in duels.to_dict("records")
    }
    told = [
        f"{words}{_told(duels, *pair)}"
        for words, pair in (
            (f"both greedy, {policy}'s advantage over SFT is ", (f"{policy} greedy", "sft greedy")),
            ("both sampled ", (f"{policy} sampled", "sft sampled")),
        )
    ]
    rows = duels[duels["arm"] == f"{policy} greedy"]
    told += [
        f"greedy over {arm.replace('sft', 'SFT')} {_told(duels, f'{policy} greedy', arm)}"
        for arm in rows["against"]
        if " best of " in arm
    ]
    loses = ", ".join(rows["against"][rows["high"] < 0]).replace("sft", "SFT") or "nobody"
    return (
        f"{headline}; {'; '.join(told)}; greedy it loses to {loses}. One run, no verdict.",
        metrics,
    )


def _told(duels: pd.DataFrame, arm: str, against: str) -> str:
    row = duels[duels["arm"].eq(arm) & duels["against"].eq(against)].iloc[0]
    fit = f", true fit {row['difference']:+.3f}" if "difference" in row else ""
    return f"{row['advantage']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]{fit}"


def board(fits: pd.DataFrame, duels: pd.DataFrame, recommended: pd.DataFrame) -> pd.DataFrame:
    """What the ledger reads of a run: system, task, measure, channel, value.

    fits: mean truth by arm; duels: `duels`, for their advantages; recommended: the table of
    `recommend.compare_arms`, whose tasks are its predictors. Each may be empty.
    """
    rows = [(arm, "write", "true fit", "true_fit", row["true_fit"]) for arm, row in fits.iterrows()]
    rows += [
        (
            row["arm"],
            "write",
            f"advantage of {row['arm']} over {row['against']}",
            "true_fit",
            row["advantage"],
        )
        for row in duels.to_dict("records")
    ]
    rows += [
        (row["arm"], row["predictor"], f"AUC, {row['part']} seekers", "observed", row["AUC"])
        for row in recommended.to_dict("records")
    ]
    return pd.DataFrame(rows, columns=["system", "task", "measure", "channel", "value"])


def describe(arms: Mapping[str, pd.DataFrame], resumes: pd.DataFrame) -> pd.DataFrame:
    """Each arm's jobs: whole (share of records in the form), requirements and welcome skills
    (means), level (mean, 0 to 3), different (share), skills (distinct), likeness (mean Jaccard of
    the skills of two jobs of one title), and the fabrication check, what the resume does not
    support: lacking (share of requirements it does not hold), elsewhere (share of jobs in another
    city), overasked (share that ask for more years than it has)."""
    return pd.DataFrame(
        [
            {"arm": name, **_described(jobs.reset_index(drop=True), resumes.reset_index(drop=True))}
            for name, jobs in arms.items()
        ]
    )


def _described(jobs: pd.DataFrame, resumes: pd.DataFrame) -> dict[str, Any]:
    whole = jobs["whole"].to_numpy() if "whole" in jobs else np.ones(len(jobs), dtype=bool)
    if not whole.any():
        return {"whole": 0.0}
    jobs, resumes = jobs[whole], resumes[whole]
    must, nice, held = (
        column.map(lambda items: set(split_items(items)))
        for column in (jobs["skills"], jobs["nice_skills"], resumes["skills"])
    )
    lacking = [
        len(asked - has) / len(asked) for asked, has in zip(must, held, strict=True) if asked
    ]
    alike = []
    for _, part in jobs.groupby("title"):
        shared, sizes = (
            shared_items(part["skills"], part["skills"]),
            must.loc[part.index].map(len).to_numpy(),
        )
        jaccard = shared / (sizes[:, None] + sizes[None, :] - shared)
        alike += jaccard[np.triu_indices(len(part), 1)].tolist()
    return {
        "whole": whole.mean(),
        "requirements": must.map(len).mean(),
        "welcome": nice.map(len).mean(),
        "level": jobs["seniority"].map(LEVELS.index).mean(),
        "different": len(jobs[COLUMNS].drop_duplicates()) / len(jobs),
        "skills": len(set().union(*must, *nice)),
        "likeness": float(np.mean(alike)) if alike else np.nan,
        "lacking": float(np.mean(lacking)),
        "elsewhere": (jobs["city"] != resumes["city"]).mean(),
        "overasked": (jobs["min_years"].astype(int) > resumes["years"].astype(int)).mean(),
    }
