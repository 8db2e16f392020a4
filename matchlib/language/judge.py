"""Who prefers which of two resumes for a job: the market's oracle, a file, or a language model;
every pair both ways.

Source: RankPO (arXiv 2503.10723), whose annotator compares, chooses A or B and gives a confidence
from 0 to 100.
Deviation: each pair is asked in both orders, and a choice that follows the slot becomes a tie.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from matchlib.data.files import read_rows
from matchlib.data.market import Market
from matchlib.data.schema import DataError, check_table
from matchlib.language.llm import LanguageModel, LanguageModelError, language_model_from
from matchlib.language.prompts import prompt_from

ANNOTATORS = ("oracle", "file", "service", "local")
KEYS = ["job_id", "resume_a", "resume_b"]
RANKS = ["rank_a", "rank_b"]
"""Where stage 1 ranked the two; carried along where they are known."""
_CHOICE = re.compile(r"^\W*choice\W+([AB])\b", re.IGNORECASE | re.MULTILINE)
_CONFIDENCE = re.compile(r"^\W*confidence\W+(\d{1,3})\b", re.IGNORECASE | re.MULTILINE)


class Disagreement(NamedTuple):
    """Pairs that labels decide (one resume accepted, the other not): how many, the share in which
    the reader agrees, and those in which he does not, the most confident first."""

    n: int
    agree: float
    examples: pd.DataFrame


def judging_model(
    annotator: str, name: str, *, parameter: str = "language_model", **how
) -> LanguageModel | None:
    """The language model behind an annotator of ANNOTATORS, by `llm.language_model_from`; None for
    oracle and file.

    parameter: of the notebook, that should give the name. Raises DataError on another annotator,
    which would else be the oracle in silence, and on a language model without a name.
    """
    if annotator not in ANNOTATORS:
        raise DataError(f"annotator {annotator!r} is not one of {', '.join(ANNOTATORS)}")
    if annotator in ("service", "local") and not name:
        raise DataError(
            f"the annotator {annotator!r} needs {parameter}: the model's name; an examiner that is the "
            "teacher's own model would praise what it taught, so it has to be named, too"
        )
    return language_model_from(annotator, name, **how)


def refuse_ignored(
    annotator: str, judge: str, language_model: str, judge_model: str, *, preferences_file: str
) -> None:
    """Raise DataError if a parameter was given that the annotator, or the judge of the test, does
    not read.

    annotator: one of ANNOTATORS; judge: another one that judges the test, "" for the annotator's
    kind.
    """

    def refuse(parameter: str, value: str, why: str, instead: str) -> None:
        raise DataError(
            f"{parameter} is {value!r}, but {why}, so it would be ignored; set {parameter}: '' or "
            f"{instead}"
        )

    models = ("service", "local")
    if preferences_file and annotator != "file":
        refuse(
            "preferences_file",
            preferences_file,
            f"the annotator is {annotator!r}, which reads no file",
            "annotator: file",
        )
    if judge and annotator == "file":
        refuse(
            "judge",
            judge,
            "annotator: file takes the test's preferences from the file, too",
            "another annotator than file",
        )
    if language_model and annotator not in models:
        refuse(
            "language_model",
            language_model,
            f"the annotator is {annotator!r}, which is no language model",
            "annotator: service or local",
        )
    if judge_model and (judge or annotator) not in models:
        refuse(
            "judge_model",
            judge_model,
            f"the test is judged by {judge or annotator!r}, which is no language model",
            "judge: service or local",
        )


def annotate(
    pairs: pd.DataFrame,
    part: Mapping[str, pd.DataFrame],
    *,
    market: Market | None = None,
    model: LanguageModel | None = None,
    noise: float = 0.0,
    position_bias: float = 0.0,
    seed: int = 1,
    max_words: int = 300,
    name: str = "oracle",
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Have pairs judged both ways, by a language model where there is one, else by the market's
    oracle.

    part: jobs and resumes; name: of the annotator. Returns the asked table of `merge_orders`, and
    counts of pairs without a usable answer.
    Raises DataError without a model and a market.
    """
    if model is not None:
        texts = (part[f"{side}s"].set_index(f"{side}_id")["text"] for side in ("job", "resume"))
        return ask_model(pairs, *texts, model, max_words=max_words, name=name)
    if market is None:
        raise DataError(
            "the oracle knows the simulated market only; set annotator to file, service or local"
        )
    rows, columns = (
        pd.Series(range(len(ids)), index=ids)
        for ids in (part["jobs"]["job_id"], part["resumes"]["resume_id"])
    )
    all_fit = market.channels(part["jobs"], part["resumes"])["text_fit"]
    fit = np.column_stack(
        [all_fit[rows.loc[pairs["job_id"]], columns.loc[pairs[f"resume_{slot}"]]] for slot in "ab"]
    )
    return oracle(pairs, fit, noise=noise, position_bias=position_bias, seed=seed, name=name), {}


def oracle(
    pairs: pd.DataFrame,
    fit: np.ndarray,
    *,
    noise: float,
    position_bias: float,
    seed: int,
    name: str = "oracle",
) -> pd.DataFrame:
    """Judge pairs by how well each text fits the job, as a reader with an opinion of his own would.

    pairs: job_id, resume_a, resume_b; fit: (n, 2) text fit of a and of b, from 0 to 1. The reader's
    opinion of a resume for a job is fit * exp(noise * N(0, 1)), drawn once by seed and pair of ids,
    so that two seeds are two readers and a resume without anything asked for stays so; position_bias is
    what the first slot gains.
    Returns the asked table of `merge_orders`.
    """
    opinions = np.column_stack(
        [
            fit[:, side] * np.exp(noise * _draws(pairs["job_id"], pairs[f"resume_{slot}"], seed))
            for side, slot in enumerate("ab")
        ]
    )
    gap = opinions[:, 0] - opinions[:, 1]
    asked = pairs[[*KEYS, *(name for name in RANKS if name in pairs)]].copy()
    asked["first_wins"], asked["swapped_first_wins"] = gap + position_bias > 0, -gap + position_bias > 0
    for column, seen in (
        ("confidence", np.abs(gap + position_bias)),
        ("swapped_confidence", np.abs(position_bias - gap)),
    ):
        asked[column] = np.round(50 + 50 * (1 - np.exp(-seen / 0.2)))
    return asked.assign(annotator=name)


def _draws(jobs: pd.Series, resumes: pd.Series, seed: int) -> np.ndarray:
    """Standard normal draws that depend on seed, job and resume alone."""
    keys = pd.util.hash_array(
        (jobs + "\0" + resumes).to_numpy(dtype=object), hash_key=f"{seed:016d}"
    )
    return np.array([np.random.default_rng([seed, int(key)]).standard_normal() for key in keys])


def ask_model(
    pairs: pd.DataFrame,
    jobs: Mapping[str, str],
    resumes: Mapping[str, str],
    model: LanguageModel,
    *,
    max_words: int,
    name: str,
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Let a language model compare every pair, in both orders.

    jobs, resumes: id -> text, cut at max_words and marked off as data. Returns the asked table of
    `merge_orders`, without the pairs whose answers cannot be used, and their counts by reason.
    Raises LanguageModelError if no answer can be used.
    """
    prompts = [
        prompt_from(
            "judge",
            job=jobs[row.job_id],
            first=resumes[first],
            second=resumes[second],
            max_words=max_words,
        )
        for row in pairs.itertuples()
        for first, second in ((row.resume_a, row.resume_b), (row.resume_b, row.resume_a))
    ]
    answers = model.complete(prompts)
    rows, left_out, kept = [], {}, []
    for place, (first, second) in enumerate(zip(answers[::2], answers[1::2], strict=True)):
        problem = first.problem or second.problem
        both = () if problem else (parse_answer(first.text), parse_answer(second.text))
        if problem or None in both:
            reason = problem or "no line 'Choice: A' or 'Choice: B'"
            left_out[reason] = left_out.get(reason, 0) + 1
            continue
        (wins, confidence), (swapped_wins, swapped_confidence) = both
        rows.append((wins, swapped_wins, confidence, swapped_confidence))
        kept.append(place)
    if not rows:
        raise LanguageModelError(
            f"none of {len(pairs):,} pairs got two usable answers ({left_out}); try a larger "
            f"model, or look at the answers in the cache"
        )
    columns = ["first_wins", "swapped_first_wins", "confidence", "swapped_confidence"]
    asked = (
        pairs[[*KEYS, *(column for column in RANKS if column in pairs)]]
        .iloc[kept]
        .reset_index(drop=True)
    )
    return asked.join(pd.DataFrame(rows, columns=columns)).assign(annotator=name), left_out


def parse_answer(text: str) -> tuple[bool, float] | None:
    """(whether the first slot wins, confidence) from the last "Choice:" and "Confidence:" lines;
    None without both."""
    choices, confidences = _CHOICE.findall(text), _CONFIDENCE.findall(text)
    if not choices or not confidences or int(confidences[-1]) > 100:
        return None
    return choices[-1].upper() == "A", float(confidences[-1])


def merge_orders(asked: pd.DataFrame) -> pd.DataFrame:
    """The preferences table of pairs asked both ways: a choice that follows the slot, not the
    resume, is a tie.

    asked: job_id, resume_a, resume_b, first_wins (asked as a, b), swapped_first_wins (asked as b,
    a), confidence, swapped_confidence, annotator. The confidence is the mean of both, of a tie 0.
    """
    consistent = asked["first_wins"] != asked["swapped_first_wins"]
    preferred = np.where(~consistent, "tie", np.where(asked["first_wins"], "a", "b"))
    confidence = np.where(consistent, (asked["confidence"] + asked["swapped_confidence"]) / 2, 0.0)
    merged = asked[[*KEYS, *(name for name in RANKS if name in asked)]].assign(
        preferred=preferred, confidence=confidence, annotator=asked["annotator"]
    )
    return check_table("preferences", merged)


def read_preferences(
    path: str | Path, tables: Mapping[str, pd.DataFrame]
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Preferences of any table file (csv, parquet, jsonl) with the columns of the preferences
    table.

    tables: jobs and resumes. confidence (100) and annotator ("file") may be absent. Rows with
    unknown ids, and pairs that contradict each other, are left out and counted. Raises DataError if
    nothing usable is left.
    """
    frame = pd.DataFrame([row for _, row in read_rows(Path(path))])
    if frame.empty:
        raise DataError(
            f"{path}: no rows; a preference has {', '.join(KEYS)}, preferred (a, b or tie)"
        )
    for column, default in (("confidence", "100"), ("annotator", "file")):
        frame[column] = frame.get(column, default)
    frame["confidence"] = pd.to_numeric(frame["confidence"], errors="coerce")
    check_table("preferences", frame, source=str(path))
    return require_usable(frame, tables, source=str(path))


def require_usable(
    preferences: pd.DataFrame, tables: Mapping[str, pd.DataFrame], *, source: str
) -> tuple[pd.DataFrame, dict[str, int]]:
    """The preferences whose ids are known and that do not contradict each other, and counts of the
    others.

    Each gets the split of its job, where tables have one; its resumes must be of the same. Raises
    DataError if none is left, none of a test job, or all are ties.
    """
    jobs, resumes = tables["jobs"], tables["resumes"]
    known = preferences["job_id"].isin(jobs["job_id"]) & (
        preferences["resume_a"] != preferences["resume_b"]
    )
    for column in ("resume_a", "resume_b"):
        known &= preferences[column].isin(resumes["resume_id"])
    kept = preferences[known]
    turned = kept["resume_a"] > kept["resume_b"]
    low, high = (
        kept["resume_a"].mask(turned, kept["resume_b"]),
        kept["resume_b"].mask(turned, kept["resume_a"]),
    )
    winner = (
        kept["resume_a"]
        .where(kept["preferred"] == "a", kept["resume_b"])
        .where(kept["preferred"] != "tie", "")
    )
    keys = pd.DataFrame(
        {"job": kept["job_id"], "low": low, "high": high, "annotator": kept["annotator"]}
    )
    answers = winner.groupby([keys[column] for column in keys]).transform("nunique")
    agreed, first = answers == 1, ~keys.duplicated()
    counts = {
        "unknown ids": int((~known).sum()),
        "contradictions": int((~agreed).sum()),
        "repeated": int((agreed & ~first).sum()),
    }
    kept = kept[agreed & first].reset_index(drop=True)
    if not (kept["preferred"] != "tie").any():
        raise DataError(
            f"{source}: no preference can be used: {len(preferences):,} rows, {counts['unknown ids']:,} "
            f"name unknown ids, {counts['contradictions']:,} contradict each other, {len(kept):,} are ties"
        )
    if "split" in jobs:
        kept = kept.assign(split=kept["job_id"].map(jobs.set_index("job_id")["split"]))
        of_resume = resumes.set_index("resume_id")["split"]
        same = pd.concat(
            [kept[column].map(of_resume) == kept["split"] for column in ("resume_a", "resume_b")],
            axis=1,
        )
        counts["resumes of another split than the job's"] = int((~same.all(axis=1)).sum())
        kept = kept[same.all(axis=1)].reset_index(drop=True)
        if not (kept["split"] == "test").any():
            told = ", ".join(f"{reason}: {n:,}" for reason, n in counts.items() if n) or "nothing"
            raise DataError(
                f"{source}: no preference is of a job of the test, on which stage 2 is judged; "
                f"left out: {told}"
            )
    return kept, {reason: n for reason, n in counts.items() if n}


def summary(judged: Mapping[tuple[str, ...], pd.DataFrame]) -> pd.DataFrame:
    """One row a judged set: pairs, ties, how often the first slot is preferred (with its 95%
    interval), how often the one that stage 1 ranked better, where ranks are known, and the mean
    confidence.
    """
    rows = []
    for key, table in judged.items():
        decided = table[table["preferred"] != "tie"]
        share, n = decided["preferred"].eq("a").mean(), len(decided)
        half = 1.96 * np.sqrt(share * (1 - share) / n) if n else np.nan
        rows.append(
            {
                "pairs": " ".join(key),
                "judged": len(table),
                "ties, %": 100 * (1 - n / len(table)),
                "a preferred, %": 100 * share,
                "low": 100 * (share - half),
                "high": 100 * (share + half),
                "stage 1 agrees, %": _stage_1_agrees(decided),
                "mean confidence": decided["confidence"].mean(),
            }
        )
    return pd.DataFrame(rows)


def _stage_1_agrees(decided: pd.DataFrame) -> float:
    if decided.empty or not set(RANKS) <= set(decided):
        return np.nan
    a_ranked_better = pd.to_numeric(decided["rank_a"]) < pd.to_numeric(decided["rank_b"])
    return 100 * float((a_ranked_better == (decided["preferred"] == "a")).mean())


def measure_position_bias(asked: pd.DataFrame) -> dict[str, float]:
    """How much slots decide: the share of first-slot wins over both orders, and of pairs with the
    same winner in both.

    Returns asked, first_slot, first_slot_low, first_slot_high (95%, clustered by pair), consistent
    and its interval.
    """
    wins = (asked["first_wins"].to_numpy(float) + asked["swapped_first_wins"].to_numpy(float)) / 2
    same = (asked["first_wins"] != asked["swapped_first_wins"]).to_numpy(float)
    row: dict[str, float] = {"asked": len(asked)}
    for name, values in (("first_slot", wins), ("consistent", same)):
        half = 1.96 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
        low, high = np.clip([values.mean() - half, values.mean() + half], 0, 1)
        row |= {name: values.mean(), f"{name}_low": low, f"{name}_high": high}
    return row


def calibration(preferences: pd.DataFrame, better: np.ndarray, *, bins: int = 10) -> pd.DataFrame:
    """Confidence against being right, in bins of equal width from 0 to 100.

    better: (n,) "a", "b" or "tie", what is taken for the truth. Returns confidence (mean), right
    (share), n.
    """
    decided = (preferences["preferred"] != "tie").to_numpy() & (better != "tie")
    part = pd.DataFrame(
        {"confidence": preferences["confidence"], "right": preferences["preferred"] == better}
    )[decided]
    edges = pd.cut(part["confidence"], np.linspace(0, 100, bins + 1), include_lowest=True)
    table = part.groupby(edges, observed=True).agg(
        mean_confidence=("confidence", "mean"), right=("right", "mean"), n=("right", "size")
    )
    return table.reset_index(names="confidence").astype({"confidence": str})


def compare_with_labels(preferences: pd.DataFrame, labels: pd.DataFrame) -> Disagreement:
    """Where a reader and labels (or rules) disagree; a pair without a label counts as not accepted."""
    accepted = pd.MultiIndex.from_frame(labels.loc[labels["label"] == 1, ["job_id", "resume_id"]])
    a, b = (
        pd.MultiIndex.from_frame(preferences[["job_id", f"resume_{slot}"]]).isin(accepted)
        for slot in "ab"
    )
    decided = preferences[(a != b) & (preferences["preferred"] != "tie").to_numpy()]
    by_labels = pd.Series(np.where(a, "a", "b"), index=preferences.index)[decided.index]
    agrees = decided["preferred"] == by_labels
    against = decided[~agrees].sort_values("confidence", ascending=False, kind="stable")
    return Disagreement(len(decided), float(agrees.mean()) if len(decided) else np.nan, against)


def with_texts(preferences: pd.DataFrame, part: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Preferences as a reader sees them: the texts of the job, of the preferred resume and of the
    other."""
    job, resume = (
        part["jobs"].set_index("job_id")["text"],
        part["resumes"].set_index("resume_id")["text"],
    )
    a_wins = preferences["preferred"] == "a"
    better = preferences["resume_a"].where(a_wins, preferences["resume_b"])
    worse = preferences["resume_b"].where(a_wins, preferences["resume_a"])
    return pd.DataFrame(
        {
            "job": job.loc[preferences["job_id"]].to_numpy(),
            "preferred": resume.loc[better].to_numpy(),
            "other": resume.loc[worse].to_numpy(),
        }
    )
