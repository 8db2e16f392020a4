"""Ranking documents of one's own: an encoder, jobs, resumes, and out comes a list that says why.

`matchlib rank` is this module on the command line. Vectors are cached by model and text (see
retrieval.encoder), so a second call encodes only what is new.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import and_
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from matchlib.analysis.explain import EXPLANATION_COLUMNS, explain_pairs
from matchlib.analysis.score_parts import PART_COLUMNS, describe_parts
from matchlib.data.files import without_formulas
from matchlib.data.normal import plain
from matchlib.data.rules import Rule, describe_unmatched_cities, rules_by_name
from matchlib.data.schema import TASKS, DataError
from matchlib.data.skills import DEGREES, LEVELS
from matchlib.extraction.facts import extract_facts
from matchlib.learning.card import UNAUDITED, audit_status
from matchlib.ranking.rerank import open_role_ranker, rerank
from matchlib.retrieval.encoder import Encoder, trained_encoder
from matchlib.retrieval.length import is_cut
from matchlib.retrieval.metrics import rank
from matchlib.retrieval.models import find_model, read_prompts
from matchlib.retrieval.search import search_dense
from matchlib.retrieval.trec import write_run
from matchlib.stage import Finished, is_finished

READ_FROM_TEXTS = {"place": ("city", "remote"), "seniority": ("seniority",)}
"""Rules whose columns may be read from the texts. On test wording benchmarks/bench_facts.py finds
city right in all, seniority in 97% and remote in 93% of the market's jobs; skills and degrees are
read too badly for a rule."""
STATED_IN = {"place": ("city",), "seniority": ("seniority",), "degree": ("degree",)}
"""Columns of a rule whose empty values say nothing of a person or a job."""
KNOWN = {"seniority": LEVELS, "degree": DEGREES, "remote": ("yes", "no")}
SAME = {"true": "yes", "1": "yes", "remote": "yes", "false": "no", "0": "no"}
"""What people write in a column remote, and what it means."""
AT_ONCE = 1_024
"""Texts encoded between two steps of the progress bar."""
BLOCK = 512
"""Queries whose constraints are held in memory at a time."""


@dataclass(frozen=True)
class Ranker:
    """An encoder, the name that the user gave it, and what is known of its bias audit."""

    name: str
    encoder: Encoder
    audit: str


@dataclass(frozen=True)
class RankRequest:
    """What to rank, and how.

    task: rank_resumes or rank_jobs; top: candidates listed for each query; rules: names of rules that
    must hold (see `require`); explain: whether the list says why; ranker, role: the
    folder of a role-aware ranker that puts the listed candidates into a role's order, or "";
    keep_not_stated: whether a rule lets pairs through of which it cannot tell; score_parts: whether
    the list also says which statements the score comes from (see analysis.score_parts).
    """

    task: str
    top: int
    rules: Sequence[str] = ()
    explain: bool = True
    ranker: str = ""
    role: str = ""
    keep_not_stated: bool = False
    score_parts: bool = False


def rank_files(
    jobs: pd.DataFrame,
    resumes: pd.DataFrame,
    ranker: Ranker,
    request: RankRequest,
    *,
    out: Path,
    trec: Path | None = None,
) -> Iterator[str]:
    """Rank the tables and write `out`; yields what was done, a sentence at a time."""
    yield f"model: {ranker.name}; bias audit: {ranker.audit}"
    task, top = request.task, request.top
    rule, tables, notes = require(
        request.rules, jobs, resumes, keep_not_stated=request.keep_not_stated
    )
    yield from notes
    ranking = rank_documents(**tables, encoder=ranker.encoder, task=task, top=top, rule=rule)
    yield from describe_cut_texts(jobs, resumes, ranker.encoder)
    yield from write_list(ranking, jobs, resumes, ranker, request, out=out, trec=trec)


def write_list(
    ranking: pd.DataFrame,
    jobs: pd.DataFrame,
    resumes: pd.DataFrame,
    ranker: Ranker,
    request: RankRequest,
    *,
    out: Path,
    trec: Path | None = None,
) -> Iterator[str]:
    """Put a ranking into a role's order where that is asked for, explain it, and write it; of the
    candidates only those that are listed need be in the tables. Yields what was done."""
    task, top = request.task, request.top
    if request.ranker:
        by_role = open_role_ranker(request.ranker, request.role)
        ranking = rerank(ranking, jobs, resumes, by_role, role=request.role, task=task)
        yield (
            f"in the order of {request.role}, by {request.ranker}: its scores are probabilities; "
            f"no earlier hires are known here"
        )
    n_queries = len(jobs) if task == "rank_resumes" else len(resumes)
    if unanswered := n_queries - ranking["query_id"].nunique():
        rules = ", ".join(request.rules)
        yield f"{unanswered:,} of {n_queries:,} queries have no candidate that meets {rules}"
    columns = (*EXPLANATION_COLUMNS, *(PART_COLUMNS if request.score_parts else ()))
    reasons = pd.DataFrame(columns=list(columns)) if request.explain else None
    if request.explain and len(ranking):
        yield f"explaining {len(ranking):,} pairs, from their texts alone"
        pairs = _as_pairs(ranking, task)
        reasons = explain_pairs(pairs, jobs, resumes, ranker.encoder)
        if request.score_parts:
            parts = describe_parts(pairs, jobs, resumes, ranker.encoder)
            reasons = pd.concat([reasons, parts], axis=1)
    write_ranking(ranking, reasons, out, task=task)
    queries = f"{n_queries:,} {task_queries(task)}"
    yield f"{out}: {len(ranking):,} rows, at most {top} for each of {queries}"
    if trec:
        tag = re.sub(r"\s+", "_", Path(ranker.name).name) or "matchlib"
        write_trec(ranking, trec, tag=tag)
        yield f"{trec}: the same as a TREC run"


def describe_cut_texts(
    jobs: pd.DataFrame, resumes: pd.DataFrame, encoder: Encoder
) -> Iterator[str]:
    """Sentences on how many texts the encoder does not read to their end, and how many it cannot
    tell apart so."""
    tables = (
        ("jobs", jobs, encoder.encode_jobs, encoder.job_prompt),
        ("resumes", resumes, encoder.encode_resumes, encoder.resume_prompt),
    )
    for name, frame, encode, prompt in tables:
        texts = frame["text"].map(plain)
        cut = texts[is_cut(encoder, texts.tolist(), prompt=prompt)].drop_duplicates()
        if cut.empty:
            continue
        n_rows = int(texts.isin(cut).sum())
        yield (
            f"{n_rows:,} of {len(frame):,} {name} are longer than the model reads; what comes after counts for "
            f"nothing in their scores"
        )
        n_distinct = len(np.unique(encode_texts(encode, cut.tolist(), name), axis=0))
        if n_distinct < len(cut):
            yield (
                f"{len(cut) - n_distinct:,} of these {name} differ from another one only after that, and get the "
                f"same scores"
            )


def task_queries(task: str) -> str:
    """What a task ranks for: "jobs" or "resumes"."""
    return "jobs" if task == "rank_resumes" else "resumes"


def open_ranker(
    model: str, *, job_prompt: str | None = None, resume_prompt: str | None = None
) -> Ranker:
    """The encoder of a finished stage's folder, of an encoder's folder, of a hub id, or
    "endpoint:<model>".

    Of a stage, or its folder "encoder", everything is as in its run; else the model keeps its own
    length, and its prompts "job" and "resume" where it has such. job_prompt, resume_prompt: others
    in their place, e.g. "query: " and "passage: " for E5. Raises EncoderError or StageError if it
    cannot be used.
    """
    folder = Path(model)
    stage = folder.parent if folder.name == "encoder" else folder
    if folder.is_dir() and is_finished(stage):
        encoder = trained_encoder(Finished(stage))
    elif model.startswith("endpoint:"):
        encoder = Encoder(model, None)
    else:
        place = find_model(model)
        own = read_prompts(place)
        encoder = Encoder(
            str(place), None, job_prompt=own.get("job", ""), resume_prompt=own.get("resume", "")
        )
    given = {"job_prompt": job_prompt, "resume_prompt": resume_prompt}
    encoder = replace(
        encoder, **{name: prompt for name, prompt in given.items() if prompt is not None}
    )
    return Ranker(
        model, encoder, UNAUDITED if encoder.is_endpoint else audit_status(encoder.folder)
    )


def rank_documents(
    jobs: pd.DataFrame,
    resumes: pd.DataFrame,
    encoder: Encoder,
    *,
    task: str,
    top: int,
    rule: Rule | None = None,
) -> pd.DataFrame:
    """The best `top` candidates of each query: a frame query_id, candidate_id, rank, score
    (cosine).

    task: rank_resumes (for each job) or rank_jobs (for each resume). rule: only pairs for which it
    holds are ranked.
    """
    if task not in TASKS or top < 1:
        raise DataError(
            f"task {task!r}, top {top}: the task is one of {', '.join(TASKS)}, top at least 1"
        )
    vectors = {
        "job": encode_texts(encoder.encode_jobs, jobs["text"].tolist(), "jobs"),
        "resume": encode_texts(encoder.encode_resumes, resumes["text"].tolist(), "resumes"),
    }
    query, candidate = ("job", "resume") if task == "rank_resumes" else ("resume", "job")
    ids = {"job": jobs["job_id"], "resume": resumes["resume_id"]}
    pools = None if rule is None else _pools(rule, jobs, resumes, task)
    hits = search_dense(vectors[query], vectors[candidate], depth=top, pools=pools)
    return rank(
        ids[query].tolist(), ids[candidate].tolist(), hits.positions, hits.scores, depth=top
    )


def encode_texts(encode, texts: list[str], name: str) -> np.ndarray:
    """(n, dim) float32 vectors of texts in plain form, with a progress bar; encode: of an Encoder."""
    starts = tqdm(
        range(0, len(texts), AT_ONCE),
        desc=f"encoding {name}",
        mininterval=5,
        leave=False,
        disable=None,
    )
    return np.concatenate(
        [encode([plain(text) for text in texts[start : start + AT_ONCE]]) for start in starts]
    )


def _pools(rule: Rule, jobs: pd.DataFrame, resumes: pd.DataFrame, task: str) -> list[np.ndarray]:
    """For each query the positions of the candidates for which the rule holds."""
    if task == "rank_resumes":
        blocks = (
            rule.holds(jobs.iloc[start : start + BLOCK], resumes)
            for start in range(0, len(jobs), BLOCK)
        )
    else:
        blocks = (
            rule.holds(jobs, resumes.iloc[start : start + BLOCK]).T
            for start in range(0, len(resumes), BLOCK)
        )
    return [np.flatnonzero(row) for holds in blocks for row in holds]


def require(
    names: Sequence[str],
    jobs: pd.DataFrame,
    resumes: pd.DataFrame,
    *,
    keep_not_stated: bool = False,
) -> tuple[Rule | None, dict[str, pd.DataFrame], list[str]]:
    """The rule that all the named rules hold, the tables it needs, and notes on how they were made.

    names: of data.rules. Where a column of READ_FROM_TEXTS is missing or empty it is read from the
    texts. A rule is met, not met, or cannot be told because one side states nothing; the last counts
    as not met, or as met with keep_not_stated. Raises DataError on an unknown name, or a column that
    neither the table nor the texts can give.
    """
    rules = rules_by_name(list(names))
    tables = {"jobs": _in_lower_case(jobs), "resumes": _in_lower_case(resumes)}
    notes = []
    for column in _columns_read_from_texts(names):
        for name in tables:
            tables[name], note = _fill_from_texts(
                tables[name], column, name, keep_not_stated=keep_not_stated
            )
            notes += note
    for column in _columns_with_known_values(names):
        for name, frame in tables.items():
            notes += _describe_unknown_values(frame, column, name)
    for rule in rules.values():
        # raises where a column is missing
        rule.holds(tables["jobs"].head(1), tables["resumes"].head(1))
    if "place" in names:
        notes += describe_unmatched_cities(tables["jobs"], tables["resumes"])
    if keep_not_stated:
        rules = {name: _or_not_stated(rule, name) for name, rule in rules.items()}
    combined = reduce(and_, (rules[name] for name in names)) if names else None
    return combined, tables, notes


def _or_not_stated(rule: Rule, name: str) -> Rule:
    """The rule, which also holds where a column that it compares is empty on either side."""
    columns = STATED_IN.get(name, ())

    def is_silent(frame: pd.DataFrame) -> np.ndarray:
        silent = np.zeros(len(frame), dtype=bool)
        for column in columns:
            silent |= (frame[column] == "").to_numpy()
        return silent

    def holds(jobs: pd.DataFrame, resumes: pd.DataFrame) -> np.ndarray:
        untold = is_silent(jobs)[:, None] | is_silent(resumes)[None, :]
        return rule.holds(jobs, resumes) | untold

    return Rule(f"{rule.name} or not stated", holds, rule.why)


def _columns_read_from_texts(names: Sequence[str]) -> list[str]:
    columns = []
    for name in names:
        columns += READ_FROM_TEXTS.get(name, ())
    return list(dict.fromkeys(columns))


def _columns_with_known_values(names: Sequence[str]) -> list[str]:
    columns = sorted({"seniority", "degree"} & set(names))
    return [*columns, "remote"] if "place" in names else columns


def _fill_from_texts(
    frame: pd.DataFrame, column: str, name: str, *, keep_not_stated: bool
) -> tuple[pd.DataFrame, list[str]]:
    """The table with a column's empty values read from the texts, and a note on how many were found."""
    values = frame[column].copy() if column in frame else pd.Series("", index=frame.index)
    empty = values == ""
    if not empty.any():
        return frame, []
    facts = extract_facts(frame.loc[empty, "text"].tolist())
    found = facts[column].str.lower().to_numpy()
    values[empty] = found
    if (values == "").all():
        raise DataError(
            f"--require: no {column} was found in any text of the {name}; give the table a column "
            f"{column!r}, or leave the rule out"
        )
    note = f"{column} of {empty.sum():,} {name} was read from the texts: "
    if column == "remote":  # a text that does not mention it says no
        note += f"{(found == 'yes').mean():.0%} say so"
    else:
        note += f"found in {(found != '').mean():.0%}"
        if (found == "").any():
            note += "; the others "
            note += "are kept" if keep_not_stated else "are left out (--keep-not-stated keeps them)"
    return frame.assign(**{column: values}), [note]


def _describe_unknown_values(frame: pd.DataFrame, column: str, name: str) -> list[str]:
    """A note on values of a column that its rule does not know, if there are any."""
    if column not in frame:
        return []
    unknown = ~frame[column].isin(["", *KNOWN[column]])
    if not unknown.any():
        return []
    example = frame.loc[unknown, column].iloc[0]
    consequence = "they count as no" if column == "remote" else "they never fit"
    return [
        f"{unknown.sum():,} {name} have a {column} that is not one of {', '.join(KNOWN[column])} "
        f"(e.g. {example!r}); {consequence}"
    ]


def _in_lower_case(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns that rules compare, in plain form (see data.normal), without case and the spaces
    around them."""
    columns = frame.columns.intersection(["city", "region", "remote", "seniority", "degree"])
    frame = frame.assign(
        **{name: frame[name].map(plain).str.strip().str.lower() for name in columns}
    )
    return frame.assign(remote=frame["remote"].replace(SAME)) if "remote" in frame else frame


def write_ranking(
    ranking: pd.DataFrame, explanations: pd.DataFrame | None, out: Path, *, task: str
) -> None:
    """Write `out` as CSV in UTF-8 (see `write_through`): query's id, rank, candidate's id, score,
    explanation columns.

    No text in it is a formula, see `files.without_formulas`.
    """
    query, candidate = (
        ("job_id", "resume_id") if task == "rank_resumes" else ("resume_id", "job_id")
    )
    frame = _as_pairs(ranking, task)[[query, "rank", candidate, "score"]]
    if explanations is not None:
        frame = pd.concat([frame, explanations], axis=1)
    for column in frame.select_dtypes(exclude="number"):
        frame[column] = without_formulas(frame[column])
    write_through(out, lambda path: frame.to_csv(path, index=False, float_format="%.6f"))


def write_trec(ranking: pd.DataFrame, out: Path, *, tag: str) -> None:
    """Write the ranking as a TREC run, see `write_through`."""
    write_through(out, lambda path: write_run(ranking, path, tag=tag))


def is_special(out: Path) -> bool:
    """Whether an output is a pipe or a device, such as /dev/stdout, which must not be replaced by a
    file."""
    return (
        out.is_relative_to("/dev")
        or out.is_relative_to("/proc")
        or (out.exists() and not out.is_file())
    )


def write_through(out: Path, write: Callable[[Path], object]) -> None:
    """Let `write` write a file, beside and renamed; of a link the target, and a pipe or a device as
    it is."""
    if is_special(out):
        write(out)
        return
    target = out.resolve()
    beside = target.with_name(f".{target.name[:100]}.{os.getpid()}.part")
    try:
        write(beside)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def _as_pairs(ranking: pd.DataFrame, task: str) -> pd.DataFrame:
    """A ranking with its ids as job_id and resume_id."""
    query, candidate = (
        ("job_id", "resume_id") if task == "rank_resumes" else ("resume_id", "job_id")
    )
    return ranking.rename(columns={"query_id": query, "candidate_id": candidate})
