"""Who judges a written job, and beside what: the market's truth or a language model, and three cheap opponents."""

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
from matchlib.retrieval.evaluation import mean_interval
from matchlib.retrieval.search import bm25_rows

CRITERIA = ["detail", "relevance", "conciseness"]
_CHOICE = re.compile(rf"^\W*({'|'.join(CRITERIA)})\W+([AB])\b", re.I | re.M)
ALLOWED_KL, ALLOWED_DRIFT = 40.0, 0.2
"""Nats a job, and relative change of the mean length: a policy beyond them has left what SFT knows."""
COLUMNS = ["title", "seniority", "min_years", "city", "skills", "nice_skills"]


def parsed(texts: Sequence[str]) -> pd.DataFrame:
    """Rows of written records: COLUMNS and whole (bool); a text of another form is a row of empty fields."""
    empty = dict.fromkeys(COLUMNS, "") | {"min_years": 0, "seniority": "", "whole": False}
    rows = [parse_job(text) for text in texts]
    return pd.DataFrame([empty if row is None else row | {"whole": True} for row in rows], columns=[*COLUMNS, "whole"])


def judge_by_truth(market: Market, jobs: pd.DataFrame, resumes: pd.DataFrame) -> pd.DataFrame:
    """How job i would truly fit resume i, were it a real one: rule, text_fit, true_fit (floats), invented (a count).

    true_fit is the market's, without the traits that no document shows; a job of another form fits nobody (0). Skills
    that the market does not know are left out and counted: nobody can have them. jobs: rows of `parsed`.
    """
    known = jobs["skills"].map(lambda items: [s for s in split_items(items) if s in market.skill_id])
    nice = jobs["nice_skills"].map(lambda items: [s for s in split_items(items) if s in market.skill_id])
    asked = (jobs["skills"] + "; " + jobs["nice_skills"]).map(lambda items: len(split_items(items)))
    rows = jobs.assign(skills=known.str.join("; "), nice_skills=nice.str.join("; "),
                       job_id=[f"written-{i}" for i in range(len(jobs))], remote="no",
                       region=jobs["city"].map(dict(CITIES)).fillna(""))
    found = np.zeros((len(jobs), 2))
    for start in range(0, len(jobs), 256):
        channels = market.channels(rows[start:start + 256], resumes[start:start + 256])
        found[start:start + 256] = np.column_stack([np.diag(channels[name]) for name in ("rule", "text_fit")])
    rule, text_fit = (found * jobs["whole"].to_numpy()[:, None]).T
    return pd.DataFrame({"rule": rule, "text_fit": text_fit, "true_fit": RULE_WEIGHT * rule + TEXT_WEIGHT * text_fit,
                         "invented": asked - known.map(len) - nice.map(len)}).reset_index(drop=True)


def opponents(jobs: pd.DataFrame, resumes: pd.DataFrame) -> dict[str, list[str]]:
    """What costs nothing: three records for each resume, from the training jobs or from the resume itself.

    least demanding: the title's job with fewest requirements, then years; copied skills: a job that asks for what the
    resume holds; nearest job: the training job nearest by BM25.
    """
    by_title = jobs.assign(n=jobs["skills"].map(lambda items: len(split_items(items)))).sort_values(
        ["n", "min_years", "job_id"]).drop_duplicates("title").set_index("title", drop=False)
    easy = by_title.loc[[t if t in by_title.index else by_title.index[0] for t in resumes["title"]]]
    copied = resumes.assign(min_years=resumes["years"], nice_skills="")
    words, asked = ([" ".join(row) for row in frame[["title", "city", "seniority", "skills"]].to_numpy()]
                    for frame in (jobs, resumes))
    frames = {"least demanding": easy, "copied skills": copied, "nearest job": jobs.iloc[nearest(words, asked)]}
    return {name: [job_record(row) for row in frame.to_dict("records")] for name, frame in frames.items()}


def nearest(jobs: Sequence[str], resumes: Sequence[str]) -> list[int]:
    """For each resume the position of the job nearest by BM25 (texts)."""
    return [int(np.argmax(scores)) for scores in bm25_rows(list(resumes), list(jobs))]


def ask_model(resumes: Sequence[str], first: Sequence[str], second: Sequence[str], model: LanguageModel, *,
              max_words: int) -> tuple[pd.DataFrame, dict[str, int]]:
    """Let a language model compare two jobs for each resume (texts), in both orders, by CRITERIA.

    Returns a column for each criterion: 1 where the first job is better, -1 where the second is, 0 where the choice
    follows the slot; rows without two usable answers are left out, and counted by reason.
    Raises LanguageModelError if no answer can be used.
    """
    prompts = [prompt_from("girl_judge", resume=resume, first=a, second=b, max_words=max_words)
               for resume, one, other in zip(resumes, first, second, strict=True)
               for a, b in ((one, other), (other, one))]
    answers, rows, left_out = model.complete(prompts), [], {}
    for one, other in zip(answers[::2], answers[1::2], strict=True):
        problem = one.problem or other.problem
        both = [] if problem else [{criterion.lower(): choice.upper() for criterion, choice in _CHOICE.findall(a.text)}
                                   for a in (one, other)]
        if problem or any(set(choices) != set(CRITERIA) for choices in both):
            reason = problem or "not a line 'Detail: A' or 'B' for each criterion"
            left_out[reason] = left_out.get(reason, 0) + 1
            continue
        rows.append({c: (both[0][c] == "A") - (both[1][c] == "A") for c in CRITERIA})
    if not rows:
        raise LanguageModelError(f"none of {len(first):,} comparisons got two usable answers ({left_out}); try a "
                                 f"larger model, or look at the answers in the cache")
    return pd.DataFrame(rows, columns=CRITERIA), left_out


def duel(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """win, tie and lose (shares) of paired scores, and the advantage, win - lose, with its 95% interval."""
    sign = np.sign(np.where(np.abs(first - second) < 1e-9, 0, first - second))
    interval = mean_interval(sign)
    return {"win": float((sign > 0).mean()), "tie": float((sign == 0).mean()), "lose": float((sign < 0).mean()),
            "advantage": interval["value"], "low": max(-1.0, interval["low"]), "high": min(1.0, interval["high"]),
            "n": len(sign)}


def duels(scores: Mapping[str, np.ndarray], pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """`duel` for each named pair."""
    return pd.DataFrame([{"arm": a, "against": b, **duel(scores[a], scores[b])} for a, b in pairs])


def answer(policy: str, accuracy: pd.DataFrame, fits: pd.DataFrame,
           duels: pd.DataFrame) -> tuple[str, dict[str, float]]:
    """The stage's sentence and key figures: reward.accuracy's table, mean true fits by arm, `duels`; both may be empty.
    """
    headline = f"The utility orders {accuracy['value'].iloc[0]:.0%} of held-out hard pairs rightly"
    if duels.empty:
        return headline + ". Nobody judged what was written.", {}
    rows = duels[duels["arm"] == policy].set_index("against")
    metrics = {} if fits.empty else {f"true fit, {arm}": round(value, 4) for arm, value in fits["true_fit"].items()}
    metrics |= {f"advantage over {arm}": round(value, 4) for arm, value in rows["advantage"].items()}
    sft = rows.loc["sft"]
    truth = "" if fits.empty else (f" (true fit {fits.loc[policy, 'true_fit']:.2f} and "
                                   f"{fits.loc['sft', 'true_fit']:.2f})")
    headline += (f"; {policy}'s advantage over SFT is {sft['advantage']:+.2f} [{sft['low']:+.2f}, {sft['high']:+.2f}]"
                 f"{truth}; it loses to {', '.join(rows.index[rows['high'] < 0]) or 'nobody'}. One run, no verdict.")
    return headline, metrics


def board(fits: pd.DataFrame, duels: pd.DataFrame, recommended: pd.DataFrame, course: pd.DataFrame,
          policy: str) -> pd.DataFrame:
    """What the ledger reads of a run: system, task, measure, channel, value.

    fits: mean truth by arm; duels: `duels`, whose advantages stand beside a system "even" with 0; recommended: the
    table of `recommend.compare_arms`, whose tasks are its predictors. Each may be empty. course: the policy's log; the
    divergence from SFT in nats a job and the relative change of length `at_the_end` stand beside a system "allowed".
    """
    rows = [(arm, "write", "true fit", "true_fit", row["true_fit"]) for arm, row in fits.iterrows()]
    for duel in duels.to_dict("records"):
        name = f"advantage of {duel['arm']} over {duel['against']}"
        rows += [(duel["arm"], "write", name, "true_fit", duel["advantage"]), ("even", "write", name, "true_fit", 0.0)]
    rows += [(row["arm"], row["predictor"], f"AUC, {row['part']} seekers", "observed", row["AUC"])
             for row in recommended.to_dict("records")]
    end = at_the_end(course, policy)
    drift = abs(end["length"] / course["length"].iloc[0] - 1)
    for measure, value, allowed in (("divergence", end["kl"], ALLOWED_KL), ("drift", drift, ALLOWED_DRIFT)):
        rows += [(policy, "write", measure, "course", value), ("allowed", "write", measure, "course", allowed)]
    return pd.DataFrame(rows, columns=["system", "task", "measure", "channel", "value"])


def at_the_end(course: pd.DataFrame, policy: str) -> pd.Series:
    """The last row of a policy's log that tells of the weights that were kept: PPO goes back from an iteration that
    stops it, GRPO by trl does not."""
    return course[course["stopped"] == ""].iloc[-1] if policy == "ppo" and len(course) > 1 else course.iloc[-1]


def describe(arms: Mapping[str, pd.DataFrame], resumes: pd.DataFrame) -> pd.DataFrame:
    """Each arm's jobs: whole (share of records in the form), requirements and welcome skills (means), level (mean, 0 to
    3), different (share), skills (distinct), likeness (mean Jaccard of the skills of two jobs of one title), and the
    fabrication check, what the resume does not support: lacking (share of requirements it does not hold), elsewhere
    (share of jobs in another city), overasked (share that ask for more years than it has)."""
    return pd.DataFrame([{"arm": name, **_described(jobs.reset_index(drop=True), resumes.reset_index(drop=True))}
                         for name, jobs in arms.items()])


def _described(jobs: pd.DataFrame, resumes: pd.DataFrame) -> dict[str, Any]:
    whole = jobs["whole"].to_numpy() if "whole" in jobs else np.ones(len(jobs), dtype=bool)
    if not whole.any():
        return {"whole": 0.0}
    jobs, resumes = jobs[whole], resumes[whole]
    must, nice, held = (column.map(lambda items: set(split_items(items)))
                        for column in (jobs["skills"], jobs["nice_skills"], resumes["skills"]))
    lacking = [len(asked - has) / len(asked) for asked, has in zip(must, held, strict=True) if asked]
    alike = []
    for _, part in jobs.groupby("title"):
        shared, sizes = shared_items(part["skills"], part["skills"]), must.loc[part.index].map(len).to_numpy()
        jaccard = shared / (sizes[:, None] + sizes[None, :] - shared)
        alike += jaccard[np.triu_indices(len(part), 1)].tolist()
    return {"whole": whole.mean(), "requirements": must.map(len).mean(), "welcome": nice.map(len).mean(),
            "level": jobs["seniority"].map(LEVELS.index).mean(),
            "different": len(jobs[COLUMNS].drop_duplicates()) / len(jobs),
            "skills": len(set().union(*must, *nice)), "likeness": float(np.mean(alike)) if alike else np.nan,
            "lacking": float(np.mean(lacking)), "elsewhere": (jobs["city"] != resumes["city"]).mean(),
            "overasked": (jobs["min_years"].astype(int) > resumes["years"].astype(int)).mean()}
