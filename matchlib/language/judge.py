"""Annotators: who prefers which of two resumes for a job. The market's oracle, a file, or a language
model; each pair is asked in both orders.

Source: RankPO (arXiv 2503.10723), whose annotator compares, chooses A or B and gives a confidence
from 0 to 100.
Deviation: each pair is asked in both orders, and a choice that follows the position becomes a tie.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from matchlib.data.files import read_rows
from matchlib.data.market.simulation import Market
from matchlib.data.schema import DataError, check_table
from matchlib.language.both_orders import ask_in_both_orders
from matchlib.language.factory import language_model_from
from matchlib.language.llm import LanguageModel, Prompt
from matchlib.language.local import Local
from matchlib.language.prompts import prompt_from
from matchlib.retrieval.alignment import (
    PairSet,
    TestSet,
    decided,
    row_numbers,
)
from matchlib.stats import share_interval

ANNOTATORS = ("oracle", "file", "service", "local")
PAIR_ANNOTATORS = (*ANNOTATORS, "likelihood")
"""Of pairs of resumes; likelihood: a model that runs here, see `judge_by_likelihood`."""
LANGUAGE_MODELS = ("service", "local", "likelihood")
PAIR = ["job_id", "resume_a", "resume_b"]
RANKS = ["rank_a", "rank_b"]
"""Where stage 1 ranked the two; carried along where they are known."""
TRAINING, TEST = "training annotator", "test annotator"
ORACLE_ERRORS = {"noise": 0.3, "position_bias": 0.05}
"""The errors of both annotators of the market in notebook 05, see `oracle`: they agree in most pairs
and not in all, and the check of both orders has something to find."""
CHOICES = ("Choice: A", "Choice: B")
"""The answers whose likelihoods are compared, in the words that the prompt asks for."""
_CHOICE = re.compile(r"^\W*choice\W+([AB])\b", re.IGNORECASE | re.MULTILINE)
_CONFIDENCE = re.compile(r"^\W*confidence\W+(\d{1,3})\b", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Annotator:
    """Who judges pairs: a language model where there is one, else the oracle of the market.

    role: TRAINING or TEST; model: a Local is asked by likelihood, another one to write an answer;
    name: written into the preferences; noise, position_bias, seed: of the oracle, see `oracle`;
    max_words: of each document in a language model's prompt.
    """

    role: str = TRAINING
    model: LanguageModel | Local | None = None
    market: Market | None = None
    name: str = "oracle"
    noise: float = 0.0
    position_bias: float = 0.0
    seed: int = 1
    max_words: int = 300


@dataclass(frozen=True)
class JudgedSet:
    """Pairs of one split that one annotator has judged.

    source: where the pairs come from, as in `PairSet`; role: TRAINING or TEST; preferences: of
    `merge_orders`; both_orders: the answers, None for a file; left_out: reason -> pairs.
    """

    split: str
    source: str
    role: str
    preferences: pd.DataFrame
    both_orders: pd.DataFrame | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For tables, such as "test top, training annotator"."""
        return f"{self.split} {self.source}, {self.role}"


@dataclass(frozen=True)
class Disagreement:
    """Pairs that labels decide (one resume accepted, the other not).

    n: how many; agreement: the share in which the annotator agrees, low, high: its 95% interval over
    jobs; examples: those in which it does not, the most confident first.
    """

    n: int
    agreement: float
    low: float
    high: float
    examples: pd.DataFrame


def judging_model(
    annotator: str,
    name: str,
    *,
    parameter: str = "language_model",
    annotators: Sequence[str] = ANNOTATORS,
    **options,
) -> LanguageModel | Local | None:
    """The language model of an annotator, by `language_model_from`; None for oracle and file.

    parameter: of the notebook, that should give the name; annotators: those it takes; likelihood
    gives a Local, and has no options. Raises DataError on another annotator, which would otherwise
    be the oracle without notice, and on a language model without a name.
    """
    if annotator not in annotators:
        raise DataError(f"annotator {annotator!r} is not one of {', '.join(annotators)}")
    if annotator in LANGUAGE_MODELS and not name:
        raise DataError(
            f"the annotator {annotator!r} needs {parameter}: the model's name; a test annotator that "
            f"is also the training annotator agrees with what it taught, so it has to be named, too"
        )
    if annotator == "likelihood":
        return Local(name)
    return language_model_from(annotator, name, **options)


def refuse_ignored(
    annotator: str,
    judge: str,
    language_model: str,
    judge_model: str,
    *,
    preferences_file: str,
) -> None:
    """Raise DataError if a parameter was given that neither annotator reads.

    annotator: one of PAIR_ANNOTATORS; judge: another one for the test, "" for the same kind.
    """
    test_annotator = judge or annotator
    if preferences_file and "file" not in (annotator, judge):
        raise _ignored(
            f"preferences_file is {preferences_file!r}",
            f"the annotator is {annotator!r}, which reads no file",
            "preferences_file: '', annotator: file or judge: file",
        )
    if judge and annotator == "file":
        raise _ignored(
            f"judge is {judge!r}",
            "annotator: file takes the test's preferences from the file, too",
            "judge: '' or another annotator than file",
        )
    if language_model and annotator not in LANGUAGE_MODELS:
        raise _ignored(
            f"language_model is {language_model!r}",
            f"the annotator is {annotator!r}, which is no language model",
            "language_model: '' or annotator: service, local or likelihood",
        )
    if judge_model and test_annotator not in LANGUAGE_MODELS:
        raise _ignored(
            f"judge_model is {judge_model!r}",
            f"the test is judged by {test_annotator!r}, which is no language model",
            "judge_model: '' or judge: service, local or likelihood",
        )


def _ignored(given: str, reason: str, instead: str) -> DataError:
    return DataError(f"{given}, but {reason}, so it would be ignored; set {instead}")


def judge_sets(
    pair_sets: Sequence[PairSet],
    parts: Mapping[str, Mapping[str, pd.DataFrame]],
    annotators: Sequence[Annotator],
) -> list[JudgedSet]:
    """Have every set judged by the training annotator, and test sets by the test annotator as well.

    parts: split -> jobs and resumes.
    """
    judged = []
    for pair_set in pair_sets:
        for annotator in annotators:
            if annotator.role == TEST and pair_set.split != "test":
                continue
            judged.append(_judge_set(pair_set, parts[pair_set.split], annotator))
    return judged


def _judge_set(
    pair_set: PairSet, part: Mapping[str, pd.DataFrame], annotator: Annotator
) -> JudgedSet:
    answers, left_out = annotate(pair_set.pairs, part, annotator)
    merge = merge_log_odds if "log_odds" in answers else merge_orders
    return JudgedSet(
        split=pair_set.split,
        source=pair_set.source,
        role=annotator.role,
        preferences=merge(answers),
        both_orders=answers,
        left_out=left_out,
    )


def judge_sets_of_file(
    pair_sets: Sequence[PairSet],
    parts: Mapping[str, Mapping[str, pd.DataFrame]],
    annotator: Annotator,
    path: str | Path,
    tables: Mapping[str, pd.DataFrame],
) -> list[JudgedSet]:
    """The training annotator's sets, and the test pairs of a file of preferences, which are the
    file's judgements and, as a second opinion, the training annotator's.

    pair_sets: of training and validation; parts: split -> jobs and resumes; path, tables: see
    `read_preferences`.
    """
    judged = [
        _judge_set(pair_set, parts[pair_set.split], annotator)
        for pair_set in pair_sets
        if pair_set.split != "test"
    ]
    for one in read_sets(path, tables):
        if one.split == "test":
            pair_set = PairSet("test", one.source, _with_ranks(one.preferences))
            judged += [one, _judge_set(pair_set, parts["test"], annotator)]
    return judged


def read_sets(path: str | Path, tables: Mapping[str, pd.DataFrame]) -> list[JudgedSet]:
    """The sets of a file of preferences, one for each split: of the test annotator for test jobs,
    of the training annotator for others. See `read_preferences`."""
    preferences, left_out = read_preferences(path, tables)
    judged = []
    for split, rows in preferences.groupby("split"):
        role = TEST if split == "test" else TRAINING
        rows = rows.reset_index(drop=True)
        judged.append(JudgedSet(split, "given", role, rows, left_out=left_out))
    return judged


def training_preferences(judged: Sequence[JudgedSet], split: str) -> pd.DataFrame | None:
    """The training annotator's preferences on a split, of the candidates of stage 1 or of a file;
    None where there are none."""
    for one in judged:
        if one.split == split and one.role == TRAINING and one.source != "uniform":
            return one.preferences
    return None


def collect_test_sets(judged: Sequence[JudgedSet]) -> list[TestSet]:
    """The test annotator's sets, with the training annotator's opinion of the same pairs where it
    was asked."""
    of_test = [one for one in judged if one.split == "test"]
    second_opinions = {one.source: one.preferences for one in of_test if one.role == TRAINING}
    sets = []
    for one in of_test:
        if one.role == TEST:
            second_opinion = second_opinions.get(one.source)
            sets.append(TestSet(one.source, one.preferences, second_opinion))
    return sets


def annotate(
    pairs: pd.DataFrame,
    part: Mapping[str, pd.DataFrame],
    annotator: Annotator,
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Have pairs judged in both orders.

    part: jobs and resumes. Returns the answers as `merge_orders` takes them (with log-odds from a
    Local, as `merge_log_odds` does), and counts of pairs without a usable answer. Raises DataError
    without a model and a market.
    """
    if isinstance(annotator.model, Local):
        answers = judge_by_likelihood(
            annotator.model, pairs, part, name=annotator.name, max_words=annotator.max_words
        )
        return answers, {}
    if annotator.model is not None:
        return ask_model(pairs, part, annotator)
    if annotator.market is None:
        raise DataError(
            "the oracle knows the simulated market only; set annotator to file, service or local"
        )
    text_fit = annotator.market.channels(part["jobs"], part["resumes"])["text_fit"]
    job = row_numbers(part["jobs"]["job_id"], pairs["job_id"])
    a = row_numbers(part["resumes"]["resume_id"], pairs["resume_a"])
    b = row_numbers(part["resumes"]["resume_id"], pairs["resume_b"])
    fit = np.column_stack([text_fit[job, a], text_fit[job, b]])
    answers = oracle(
        pairs,
        fit,
        noise=annotator.noise,
        position_bias=annotator.position_bias,
        seed=annotator.seed,
        name=annotator.name,
    )
    return answers, {}


def oracle(
    pairs: pd.DataFrame,
    fit: np.ndarray,
    *,
    noise: float,
    position_bias: float,
    seed: int,
    name: str = "oracle",
) -> pd.DataFrame:
    """Judge pairs by how well each text fits the job, with an individual error for each resume.

    pairs: job_id, resume_a, resume_b; fit: (n, 2) text fit of a and of b, from 0 to 1. The opinion
    of a resume for a job is fit * exp(noise * N(0, 1)), drawn once by seed, job and resume: two
    seeds are two annotators, and a fit of 0 stays 0. position_bias is added for the first position.
    Returns the answers as `merge_orders` takes them.
    """
    opinion_a = fit[:, 0] * np.exp(noise * _draws(pairs["job_id"], pairs["resume_a"], seed))
    opinion_b = fit[:, 1] * np.exp(noise * _draws(pairs["job_id"], pairs["resume_b"], seed))
    gap = opinion_a - opinion_b
    answers = _with_ranks(pairs)
    answers["first_wins"] = gap + position_bias > 0
    answers["swapped_first_wins"] = -gap + position_bias > 0
    answers["confidence"] = _confidence(np.abs(gap + position_bias))
    answers["swapped_confidence"] = _confidence(np.abs(position_bias - gap))
    return answers.assign(annotator=name)


def _confidence(gap: np.ndarray) -> np.ndarray:
    """From 50 for equal opinions to 100."""
    return np.round(50 + 50 * (1 - np.exp(-gap / 0.2)))


def _with_ranks(rows: pd.DataFrame) -> pd.DataFrame:
    known = [column for column in RANKS if column in rows]
    return rows[[*PAIR, *known]].copy()


def _draws(jobs: pd.Series, resumes: pd.Series, seed: int) -> np.ndarray:
    """Standard normal draws that depend on seed, job and resume alone."""
    keys = pd.util.hash_array(
        (jobs + "\0" + resumes).to_numpy(dtype=object),
        hash_key=f"{seed:016d}",
    )
    return np.array([np.random.default_rng([seed, int(key)]).standard_normal() for key in keys])


def ask_model(
    pairs: pd.DataFrame,
    part: Mapping[str, pd.DataFrame],
    annotator: Annotator,
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Let the annotator's language model compare every pair, in both orders.

    part: jobs and resumes, whose texts are cut at max_words and marked off as data. Returns the
    answers as `merge_orders` takes them, without the pairs whose answers cannot be used, and the
    counts of those by reason. Raises LanguageModelError if no answer can be used.
    """
    prompts = _prompts_in_both_orders(pairs, part, annotator.max_words)
    usable, left_out = ask_in_both_orders(
        annotator.model,
        prompts,
        parse_answer,
        expected="line 'Choice: A' or 'Choice: B'",
        unit="pairs",
    )
    rows = []
    for answers in usable:
        first_wins, confidence = answers.first
        swapped_first_wins, swapped_confidence = answers.swapped
        rows.append(
            {
                "first_wins": first_wins,
                "swapped_first_wins": swapped_first_wins,
                "confidence": confidence,
                "swapped_confidence": swapped_confidence,
            }
        )
    kept = _with_ranks(pairs).iloc[[answers.position for answers in usable]]
    answered = kept.reset_index(drop=True).join(pd.DataFrame(rows))
    return answered.assign(annotator=annotator.name), left_out


def parse_answer(text: str) -> tuple[bool, float] | None:
    """(whether the first position wins, confidence) from the last "Choice:" and "Confidence:"
    lines; None without both."""
    choices = _CHOICE.findall(text)
    confidences = _CONFIDENCE.findall(text)
    if not choices or not confidences or int(confidences[-1]) > 100:
        return None
    return choices[-1].upper() == "A", float(confidences[-1])


def merge_orders(answers: pd.DataFrame) -> pd.DataFrame:
    """The preferences table of pairs asked in both orders: a choice that follows the position, not
    the resume, is a tie.

    answers: job_id, resume_a, resume_b, first_wins (asked as a, b), swapped_first_wins (asked as b,
    a), confidence, swapped_confidence, annotator. The confidence is the mean of both, of a tie 0.
    """
    is_consistent = answers["first_wins"] != answers["swapped_first_wins"]
    winner = np.where(answers["first_wins"], "a", "b")
    mean_confidence = (answers["confidence"] + answers["swapped_confidence"]) / 2
    merged = _with_ranks(answers).assign(
        preferred=np.where(is_consistent, winner, "tie"),
        confidence=np.where(is_consistent, mean_confidence, 0.0),
        annotator=answers["annotator"],
    )
    return check_table("preferences", merged)


def judge_by_likelihood(
    model: Local,
    pairs: pd.DataFrame,
    part: Mapping[str, pd.DataFrame],
    *,
    name: str,
    max_words: int = 300,
) -> pd.DataFrame:
    """Judge every pair in both orders by whether the model finds "Choice: A" or "Choice: B" likelier.

    For models that do not follow instructions and seldom write a usable answer. part: jobs and
    resumes; name: the annotator's. Returns the answers as `merge_orders` and `measure_position_bias`
    take them, with log_odds and swapped_log_odds of the first position, see `merge_log_odds`; a
    confidence is 100 times the likelier choice's share of the two.
    """
    orders = _prompts_in_both_orders(pairs, part, max_words)
    prompts = [prompt for both in orders for prompt in both]
    twice = [prompt for prompt in prompts for _ in CHOICES]
    scores = model.score(twice, [*CHOICES] * len(prompts))
    log_probability = np.array([score.log_probability for score in scores])
    by_pair = log_probability.reshape(len(pairs), 2, 2)  # order, choice
    log_odds = by_pair[:, :, 0] - by_pair[:, :, 1]
    confidence = 100 * expit(np.abs(log_odds))
    answers = _with_ranks(pairs).assign(
        first_wins=log_odds[:, 0] > 0,
        swapped_first_wins=log_odds[:, 1] > 0,
        confidence=confidence[:, 0],
        swapped_confidence=confidence[:, 1],
        log_odds=log_odds[:, 0],
        swapped_log_odds=log_odds[:, 1],
        annotator=name,
    )
    return answers.reset_index(drop=True)


def _prompts_in_both_orders(
    pairs: pd.DataFrame, part: Mapping[str, pd.DataFrame], max_words: int
) -> list[tuple[Prompt, Prompt]]:
    """For each pair the question with resume_a first, and with resume_b first."""
    jobs = part["jobs"].set_index("job_id")["text"]
    resumes = part["resumes"].set_index("resume_id")["text"]
    prompts = []
    for pair in pairs.itertuples():
        job, a, b = jobs[pair.job_id], resumes[pair.resume_a], resumes[pair.resume_b]
        given = prompt_from("judge", job=job, first=a, second=b, max_words=max_words)
        swapped = prompt_from("judge", job=job, first=b, second=a, max_words=max_words)
        prompts.append((given, swapped))
    return prompts


def merge_log_odds(answers: pd.DataFrame) -> pd.DataFrame:
    """The preferences table of `judge_by_likelihood` with the position bias taken out.

    A constant preference for the first position adds the same to both log-odds, so half of their
    difference is free of it, where `merge_orders` calls most pairs of a biased model a tie.
    """
    log_odds_of_a = (answers["log_odds"] - answers["swapped_log_odds"]) / 2
    winner = np.where(log_odds_of_a > 0, "a", "b")
    merged = _with_ranks(answers).assign(
        preferred=np.where(log_odds_of_a == 0, "tie", winner),
        confidence=np.where(log_odds_of_a == 0, 0.0, 100 * expit(log_odds_of_a.abs())),
        annotator=answers["annotator"],
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
            f"{path}: no rows; a preference has {', '.join(PAIR)}, preferred (a, b or tie)"
        )
    for column, default in (
        ("confidence", "100"),
        ("annotator", "file"),
    ):
        frame[column] = frame.get(column, default)
    confidence = pd.to_numeric(frame["confidence"], errors="coerce")
    frame["confidence"] = confidence.astype(float)
    check_table("preferences", frame, source=str(path))
    return require_usable(frame, tables, source=str(path))


def require_usable(
    preferences: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
    *,
    source: str,
) -> tuple[pd.DataFrame, dict[str, int]]:
    """The preferences whose ids are known and that do not contradict each other, and counts of the
    others.

    Each gets the split of its job, where tables have one; its resumes must be of the same. Raises
    DataError if none is left, none of a test job, or all are ties.
    """
    is_known = _has_known_ids(preferences, tables)
    known = preferences[is_known]
    is_agreed, is_first = _agreement_of_repeats(known)
    counts = {
        "unknown ids": int((~is_known).sum()),
        "contradictions": int((~is_agreed).sum()),
        "repeated": int((is_agreed & ~is_first).sum()),
    }
    kept = known[is_agreed & is_first].reset_index(drop=True)
    if decided(kept).empty:
        raise DataError(
            f"{source}: no preference can be used: {len(preferences):,} rows, {counts['unknown ids']:,} "
            f"name unknown ids, {counts['contradictions']:,} contradict each other, {len(kept):,} are ties"
        )
    if "split" in tables["jobs"]:
        n_before = len(kept)
        kept = _of_one_split(kept, tables)
        counts["resumes of another split than the job's"] = n_before - len(kept)
        if not (kept["split"] == "test").any():
            reasons = [f"{reason}: {n:,}" for reason, n in counts.items() if n]
            raise DataError(
                f"{source}: no preference is of a job of the test, on which stage 2 is judged; "
                f"left out: {', '.join(reasons) or 'nothing'}"
            )
    return kept, {reason: n for reason, n in counts.items() if n}


def _has_known_ids(preferences: pd.DataFrame, tables: Mapping[str, pd.DataFrame]) -> pd.Series:
    resume_ids = tables["resumes"]["resume_id"]
    is_known = preferences["job_id"].isin(tables["jobs"]["job_id"])
    is_known &= preferences["resume_a"].isin(resume_ids)
    is_known &= preferences["resume_b"].isin(resume_ids)
    return is_known & (preferences["resume_a"] != preferences["resume_b"])


def _agreement_of_repeats(
    preferences: pd.DataFrame,
) -> tuple[pd.Series, pd.Series]:
    """Whether all answers of an annotator on the same pair, in any order, agree; and whether the
    row is the first of them."""
    a, b = preferences["resume_a"], preferences["resume_b"]
    is_turned = a > b
    winner = a.where(preferences["preferred"] == "a", b)
    winner = winner.where(preferences["preferred"] != "tie", "")
    same = pd.DataFrame(
        {
            "job": preferences["job_id"],
            "low": a.mask(is_turned, b),
            "high": b.mask(is_turned, a),
            "annotator": preferences["annotator"],
        }
    )
    n_answers = winner.groupby([same[column] for column in same]).transform("nunique")
    return n_answers == 1, ~same.duplicated()


def _of_one_split(preferences: pd.DataFrame, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The preferences whose resumes are of the same split as the job, with the split."""
    split_of_job = tables["jobs"].set_index("job_id")["split"]
    split_of_resume = tables["resumes"].set_index("resume_id")["split"]
    rows = preferences.assign(split=preferences["job_id"].map(split_of_job))
    is_same = rows["resume_a"].map(split_of_resume) == rows["split"]
    is_same &= rows["resume_b"].map(split_of_resume) == rows["split"]
    return rows[is_same].reset_index(drop=True)


def summary(judged: Sequence[JudgedSet]) -> pd.DataFrame:
    """One row a judged set: pairs, ties, how often the first position is preferred (with its 95%
    interval over jobs), how often the resume that stage 1 ranked better, where ranks are known, and the mean
    confidence."""
    rows = []
    for one in judged:
        pairs = decided(one.preferences)
        n = len(pairs)
        first = {"value": np.nan, "low": np.nan, "high": np.nan}
        if n:
            is_first = pairs["preferred"].eq("a").to_numpy(float)
            first = share_interval(is_first, pairs["job_id"].to_numpy())
        rows.append(
            {
                "pairs": one.name,
                "judged": len(one.preferences),
                "ties, %": 100 * (1 - n / len(one.preferences)),
                "a preferred, %": 100 * first["value"],
                "low": 100 * first["low"],
                "high": 100 * first["high"],
                "stage 1 agrees, %": _stage_1_agrees(pairs),
                "mean confidence": pairs["confidence"].mean(),
            }
        )
    return pd.DataFrame(rows)


def _stage_1_agrees(pairs: pd.DataFrame) -> float:
    if pairs.empty or not set(RANKS) <= set(pairs):
        return np.nan
    a_ranked_better = pd.to_numeric(pairs["rank_a"]) < pd.to_numeric(pairs["rank_b"])
    return 100 * float((a_ranked_better == (pairs["preferred"] == "a")).mean())


def reasons_left_out(judged: Sequence[JudgedSet]) -> pd.DataFrame:
    """pairs, reason, n of the pairs without a usable answer."""
    rows = []
    for one in judged:
        for reason, n in one.left_out.items():
            rows.append({"pairs": one.name, "reason": reason, "n": n})
    return pd.DataFrame(rows, columns=["pairs", "reason", "n"])


def position_bias_table(judged: Sequence[JudgedSet]) -> pd.DataFrame:
    """`measure_position_bias` of every set that was asked in both orders."""
    rows = []
    for one in judged:
        if one.both_orders is not None:
            rows.append(
                {
                    "pairs": one.name,
                    **measure_position_bias(one.both_orders),
                }
            )
    return pd.DataFrame(rows)


def measure_position_bias(answers: pd.DataFrame) -> dict[str, float]:
    """How much the position decides: the share of wins of the first position over both orders, and
    of pairs with the same winner in both.

    Returns asked (pairs), first_position, consistent, each share with its 95% interval by pairs.
    """
    first_wins = answers["first_wins"].to_numpy(float)
    swapped_first_wins = answers["swapped_first_wins"].to_numpy(float)
    shares = {
        "first_position": (first_wins + swapped_first_wins) / 2,
        "consistent": (first_wins != swapped_first_wins).astype(float),
    }
    row: dict[str, float] = {"asked": len(answers)}
    for name, values in shares.items():
        mean, n = values.mean(), len(values)
        half = 1.96 * values.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
        row[name] = mean
        row[f"{name}_low"], row[f"{name}_high"] = np.clip([mean - half, mean + half], 0, 1)
    return row


def confidence_calibration(
    preferences: pd.DataFrame, better: np.ndarray, *, bins: int = 10
) -> pd.DataFrame:
    """Confidence against the share of correct choices, in bins of equal width from 0 to 100.

    better: (n,) "a", "b" or "tie", what is taken as correct. Returns confidence (the bin),
    mean_confidence, right (share), n.
    """
    both_decided = (preferences["preferred"] != "tie").to_numpy() & (better != "tie")
    rows = pd.DataFrame(
        {
            "confidence": preferences["confidence"],
            "right": preferences["preferred"] == better,
        }
    )[both_decided]
    edges = np.linspace(0, 100, bins + 1)
    of_bin = rows.groupby(
        pd.cut(rows["confidence"], edges, include_lowest=True),
        observed=True,
    )
    table = of_bin.agg(
        mean_confidence=("confidence", "mean"),
        right=("right", "mean"),
        n=("right", "size"),
    )
    return table.reset_index(names="confidence").astype({"confidence": str})


def compare_with_labels(preferences: pd.DataFrame, labels: pd.DataFrame) -> Disagreement:
    """Where an annotator and labels (or rules) disagree; a pair without a label counts as not
    accepted. agreement, low and high are NaN where labels decide no pair."""
    accepted = pd.MultiIndex.from_frame(labels.loc[labels["label"] == 1, ["job_id", "resume_id"]])
    a_accepted = pd.MultiIndex.from_frame(preferences[["job_id", "resume_a"]]).isin(accepted)
    b_accepted = pd.MultiIndex.from_frame(preferences[["job_id", "resume_b"]]).isin(accepted)
    by_labels = pd.Series(np.where(a_accepted, "a", "b"), index=preferences.index)
    both_decided = (a_accepted != b_accepted) & (preferences["preferred"] != "tie").to_numpy()
    rows = preferences[both_decided]
    agrees = rows["preferred"] == by_labels[rows.index]
    interval = {"value": np.nan, "low": np.nan, "high": np.nan}
    if len(rows):
        interval = share_interval(agrees.to_numpy(float), rows["job_id"].to_numpy())
    against = rows[~agrees].sort_values("confidence", ascending=False, kind="stable")
    return Disagreement(
        len(rows), interval["value"], interval["low"], interval["high"], examples=against
    )


def why_no_teacher(annotator: Annotator, agreement: Disagreement) -> str:
    """Why a language model is not trained on, in a sentence; "" if it may teach.

    agreement: with the labels of training pairs. A language model that labels do not show to be
    better than chance teaches noise. The oracle and a file are taken as they are, and so is a model
    where labels decide no pair.
    """
    if annotator.model is None or not agreement.n or agreement.low > 0.5:
        return ""
    return (
        f"{annotator.name} agrees with the labels in {agreement.agreement:.0%} "
        f"[{agreement.low:.0%}, {agreement.high:.0%}] of {agreement.n} training pairs, which is not "
        f"above chance; take another language model, or a file."
    )


def with_texts(preferences: pd.DataFrame, part: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Preferences as a reader sees them: the texts of the job, of the preferred resume and of the
    other."""
    jobs = part["jobs"].set_index("job_id")["text"]
    resumes = part["resumes"].set_index("resume_id")["text"]
    a_wins = preferences["preferred"] == "a"
    better = preferences["resume_a"].where(a_wins, preferences["resume_b"])
    worse = preferences["resume_b"].where(a_wins, preferences["resume_a"])
    return pd.DataFrame(
        {
            "job": jobs.loc[preferences["job_id"]].to_numpy(),
            "preferred": resumes.loc[better].to_numpy(),
            "other": resumes.loc[worse].to_numpy(),
        }
    )
