"""What a ranking gets wrong and why: candidates that stand too high, accepted ones that stand too
low.

Source: ConFit v2 (arXiv 2502.12361), error analysis: 30 negatives in the top 5% above a positive,
read by hand and put into four classes. Deviations: classes are told by rule, from what texts say or
from the market's truth; a person or a language model can be asked, too; and it is counted what
filters take away and what they cost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import cohen_kappa_score

from matchlib.data.files import read_rows, without_formulas
from matchlib.data.market import CITIES, RULE_WEIGHT, TEXT_WEIGHT, Market
from matchlib.data.rules import split_items
from matchlib.data.schema import DataError
from matchlib.data.skills import LEVELS
from matchlib.data.words import UNSPACED, words
from matchlib.language.llm import LanguageModel, LanguageModelError
from matchlib.language.prompts import prompt_from
from matchlib.retrieval.evaluation import (
    mean_interval,
    qrels_from_labels,
    score_queries,
    share_interval,
)
from matchlib.retrieval.leaderboard import Corpus

CLASSES = ("unsuitable", "less competent", "out of scope", "potentially suitable")
PUBLISHED = {
    "unsuitable": 5 / 30,
    "less competent": 10 / 30,
    "out of scope": 13 / 30,
    "potentially suitable": 2 / 30,
}
"""The paper's thirty pairs, read by hand, on data of its own."""
KEYS = ["job_id", "resume_id"]
RIVAL = ["rival_job", "rival_resume"]
NEEDED = 0.5
"""Share of a job's requirements below which a resume is unsuitable; accepted ones, too, lack some."""

_UNSPACED = re.compile(f"[{UNSPACED}]")
_CLASS = re.compile(rf"^\W*class\W+({'|'.join(CLASSES)})\W*$", re.IGNORECASE | re.MULTILINE)


def high_negatives(
    ranking: pd.DataFrame, qrels: pd.DataFrame, *, task: str, share: float = 0.05
) -> pd.DataFrame:
    """Pairs without a positive label in the first `share` of their query's candidates that stand
    above a positive.

    ranking: all candidates of each query. Returns job_id, resume_id, rank, label (0 refused, -1 no
    label), rival_job, rival_resume (the pair of the next positive below) and rival_rank.
    """
    judged = _judged(ranking, qrels)
    size = judged.groupby("query_id")["candidate_id"].transform("size")
    high = judged[(judged["label"] < 1) & (judged["rank"] <= np.ceil(share * size))]
    positives = judged.loc[judged["label"] > 0, ["query_id", "rank"]].assign(
        rival=judged["candidate_id"], rival_rank=judged["rank"]
    )
    found = pd.merge_asof(
        high.sort_values("rank"),
        positives.sort_values("rank"),
        on="rank",
        by="query_id",
        direction="forward",
    ).dropna(subset="rival")
    query, candidate = KEYS if task == "rank_resumes" else KEYS[::-1]
    rivals = {f"rival_{query[:-3]}": found["query_id"], f"rival_{candidate[:-3]}": found["rival"]}
    found = found.rename(columns={"query_id": query, "candidate_id": candidate}).assign(**rivals)
    found["rival_rank"] = found["rival_rank"].astype(int)
    return (
        found[[*KEYS, "rank", "label", *RIVAL, "rival_rank"]]
        .sort_values([query, "rank"])
        .reset_index(drop=True)
    )


def low_positives(
    ranking: pd.DataFrame, qrels: pd.DataFrame, *, task: str, share: float = 0.5
) -> pd.DataFrame:
    """Pairs with a positive label beyond the first `share` of their query's candidates: job_id,
    resume_id, rank."""
    judged = _judged(ranking, qrels)
    size = judged.groupby("query_id")["candidate_id"].transform("size")
    low = judged[(judged["label"] > 0) & (judged["rank"] > np.ceil(share * size))]
    query, candidate = KEYS if task == "rank_resumes" else KEYS[::-1]
    return low.rename(columns={"query_id": query, "candidate_id": candidate})[
        [*KEYS, "rank"]
    ].reset_index(drop=True)


def _judged(ranking: pd.DataFrame, qrels: pd.DataFrame) -> pd.DataFrame:
    """The ranking of queries with a positive, with labels; -1 where there is none."""
    answerable = qrels.loc[qrels["label"] > 0, "query_id"].unique()
    judged = ranking[ranking["query_id"].isin(answerable)].merge(
        qrels[["query_id", "candidate_id", "label"]], on=["query_id", "candidate_id"], how="left"
    )
    return judged.assign(
        label=judged["label"].fillna(-1).astype(int), rank=judged["rank"].astype(int)
    )


def draw(pairs: pd.DataFrame, n: int, *, by: str, seed: int) -> pd.DataFrame:
    """n pairs by seed: one of each value of `by` before any has two, so that no query speaks for
    all."""
    shuffled = pairs.sample(frac=1, random_state=seed)
    turn = shuffled.groupby(by).cumcount()
    return shuffled.loc[turn.sort_values(kind="stable").index[:n]].reset_index(drop=True)


def from_columns(jobs: pd.DataFrame, resumes: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the tables' columns say, by id: skills, nice_skills, years, city, region, remote,
    seniority."""
    asked = jobs.set_index("job_id").rename(columns={"min_years": "years"})
    return asked, resumes.set_index("resume_id").assign(nice_skills="")


def with_regions(facts: pd.DataFrame, ids: Sequence[str]) -> pd.DataFrame:
    """Facts as `facts.extract_facts` gives them, by id, with the region of the cities that the
    market knows."""
    return facts.assign(region=facts["city"].map(dict(CITIES)).fillna("")).set_index(pd.Index(ids))


def shortcomings(pairs: pd.DataFrame, asked: pd.DataFrame, held: pd.DataFrame) -> pd.DataFrame:
    """What speaks against each pair (job_id, resume_id), row by row; what is unknown speaks against
    nobody.

    asked, held: facts of jobs and resumes by id. Returns reasons ("place: Leeds against Exeter;
    skills: 1 of 3, not SQL, Git", "" if none makes the resume unsuitable), lacking (requirements
    not held, "; "-separated), must and nice (shares held).
    """
    jobs, resumes = asked.to_dict("index"), held.to_dict("index")
    return pd.DataFrame(
        [_against(jobs[job], resumes[resume]) for job, resume in pairs[KEYS].to_numpy()],
        columns=["reasons", "lacking", "must", "nice"],
        index=pairs.index,
    )


def _against(job: Mapping, resume: Mapping) -> tuple[str, str, float, float]:
    has = set(split_items(f"{resume['skills']}; {resume['nice_skills']}"))
    must, nice = split_items(job["skills"]), split_items(job["nice_skills"])
    lacking = [skill for skill in must if skill not in has]
    levels = [LEVELS.index(row["seniority"]) for row in (job, resume) if row["seniority"] in LEVELS]
    known = all(row["city"] for row in (job, resume)) and "yes" not in (
        job["remote"],
        resume["remote"],
    )
    near = job["city"] == resume["city"] or (job["region"] and job["region"] == resume["region"])
    reasons = []
    if known and not near:
        reasons.append(f"place: {job['city']} against {resume['city']}")
    if len(levels) == 2 and abs(levels[0] - levels[1]) > 1:
        reasons.append(f"level: {job['seniority']} against {resume['seniority']}")
    if resume["years"] < job["years"]:  # False where one is NaN
        reasons.append(f"years: {resume['years']:.0f} of {job['years']:.0f}")
    if must and 1 - len(lacking) / len(must) < NEEDED:
        reasons.append(
            f"skills: {len(must) - len(lacking)} of {len(must)}, not {', '.join(lacking)}"
        )
    return (
        "; ".join(reasons),
        "; ".join(lacking),
        1 - len(lacking) / len(must) if must else np.nan,
        len(set(nice) & has) / len(nice) if nice else np.nan,
    )


def classify(pairs: pd.DataFrame, asked: pd.DataFrame, held: pd.DataFrame) -> pd.DataFrame:
    """The class of each pair of `high_negatives` by rule, from facts: columns class and why.

    unsuitable: a place, level or years that do not fit, or too few requirements held (NEEDED). less
    competent: the rival holds more of what is asked, requirements counting twice. Else the
    documents hold nothing against it: out of scope if it was refused, potentially suitable if it
    has no label.
    """
    own = shortcomings(pairs, asked, held)
    rivals = shortcomings(pairs[RIVAL].set_axis(KEYS, axis=1), asked, held)
    lead = _held(rivals) - _held(own)
    beaten = (lead > 1e-9) & (rivals["reasons"] == "")
    label = np.where(pairs["label"] == 0, "out of scope", "potentially suitable")
    found = np.where(own["reasons"] != "", "unsuitable", np.where(beaten, "less competent", label))
    why = np.where(
        own["reasons"] != "",
        own["reasons"],
        np.where(
            beaten,
            [
                _lead(*row)
                for row in zip(
                    pairs.to_dict("records"),
                    own.to_dict("records"),
                    _held(own),
                    _held(rivals),
                    strict=True,
                )
            ],
            "nothing in the documents",
        ),
    )
    return pd.DataFrame({"class": found, "why": why}, index=pairs.index)


def _lead(pair: Mapping, own: Mapping, mine: float, rival: float) -> str:
    """In words: who the rival is and how much more of what is asked is held."""
    if pair["job_id"] == pair["rival_job"]:
        return f"{pair['rival_resume']} holds {rival:.0%} of what is asked, this one {mine:.0%}" + (
            f", not {own['lacking'].replace('; ', ', ')}" if own["lacking"] else ""
        )
    return f"of what {pair['rival_job']} asks {rival:.0%} are held, of this one's {mine:.0%}"


def _held(found: pd.DataFrame) -> pd.Series:
    """Share of what is asked that is held, requirements counting twice; what is not asked counts as
    held."""
    return (2 * found["must"].fillna(1) + found["nice"].fillna(1)) / 3


def classify_by_truth(
    market: Market, pairs: pd.DataFrame, jobs: pd.DataFrame, resumes: pd.DataFrame
) -> pd.DataFrame:
    """The same classes from what no text tells, the true columns and scores, and `fits`: the pair
    truly fits.

    unsuitable: as in `classify`, by true columns. Else less competent: the rival's rule and
    text_fit are better. Else potentially suitable: the pair truly fits, whatever its label. Else
    out of scope: only traits that no document shows are against it. The definition is nearly that
    of `classify`, which asks the label where this asks who fits, and compares rivals by
    requirements only (with perfect facts kappa is above .9), so agreement tells how well texts are
    read, not whether the definition is right: true fit is a sum, and a pair that lacks something
    can still fit; `fits` shows it.
    """
    channels = market.channels(jobs, resumes)
    visible = RULE_WEIGHT * channels["rule"] + TEXT_WEIGHT * channels["text_fit"]

    def values(matrix: np.ndarray, keys: list[str]) -> np.ndarray:
        return matrix[
            pd.Index(jobs["job_id"]).get_indexer(pairs[keys[0]]),
            pd.Index(resumes["resume_id"]).get_indexer(pairs[keys[1]]),
        ]

    missing = shortcomings(pairs, *from_columns(jobs, resumes))["reasons"] != ""
    beaten = values(visible, RIVAL) > values(visible, KEYS) + 1e-9
    fits = values(channels["true_score"], KEYS) > market.threshold
    found = np.select(
        [missing, beaten, fits],
        ["unsuitable", "less competent", "potentially suitable"],
        "out of scope",
    )
    return pd.DataFrame({"class": found, "fits": fits}, index=pairs.index)


def count_classes(classes: pd.Series, clusters: pd.Series) -> pd.DataFrame:
    """Each class's share with its 95% interval (`share_interval`): class, n, n_clusters, share,
    low, high.

    clusters: each pair's query, or what makes queries alike.
    """
    rows = []
    for name in CLASSES:
        interval = share_interval((classes == name).to_numpy(dtype=float), clusters.to_numpy())
        rows.append(
            {
                "class": name,
                "n": int((classes == name).sum()),
                "n_clusters": interval["n_clusters"],
                "share": interval["value"],
                "low": interval["low"],
                "high": interval["high"],
            }
        )
    return pd.DataFrame(rows)


def agreement(
    first: pd.Series, second: pd.Series, queries: pd.Series | None = None
) -> dict[str, float]:
    """Two annotators of the same rows: n, n_clusters, agree (share, with low and high), kappa
    (Cohen's; NaN where both know one class only) and majority: the agreement of who always names
    the first one's commonest class.

    queries: each row's query, or what makes queries alike; None takes rows as independent.
    """
    if len(first) != len(second) or not len(first):
        raise ValueError(
            f"{len(first)} and {len(second)} classes cannot be compared; both must name the same pairs"
        )
    same = (first.to_numpy() == second.to_numpy()).astype(float)
    interval = mean_interval(same, None if queries is None else queries.to_numpy())
    names = set(first) | set(second)
    return {
        "n": len(same),
        "n_clusters": interval["n_clusters"],
        "agree": interval["value"],
        "low": max(0.0, interval["low"]),
        "high": min(1.0, interval["high"]),
        "kappa": float(cohen_kappa_score(first, second)) if len(names) > 1 else np.nan,
        "majority": float(first.value_counts(normalize=True).iloc[0]),
    }


def agreements(views: Mapping[str, pd.Series], queries: pd.Series) -> list[dict[str, object]]:
    """`agreement` of every two annotators, each the other's measure, on the rows that both named
    ("": did not).

    views: name -> classes, from who knows best; queries: whose rows are alike. Returns of, against
    and the figures.
    """
    rows = []
    for against, of in combinations(views, 2):
        both = (views[against] != "") & (views[of] != "")
        if both.any():
            rows.append(
                {
                    "of": of,
                    "against": against,
                    **agreement(views[against][both], views[of][both], queries[both]),
                }
            )
    return rows


def score_slices(
    ranking: pd.DataFrame,
    labels: pd.DataFrame,
    corpus: Corpus,
    *,
    task: str,
    columns: Sequence[str],
    clusters: pd.Series | None = None,
    measure: str = "nDCG@10",
    smallest: int = 10,
) -> pd.DataFrame:
    """A measure by slices of the queries: slice, value of the slice, n, n_clusters, value, low,
    high, note.

    Slices: the columns that the queries' table has; length (thirds by words), script, and positives
    (how many answers there are). clusters: query_id -> what makes queries alike. Fewer than
    `smallest` queries: no value, "too few".
    """
    queries, key, _, _ = corpus.sides(task)
    qrels = qrels_from_labels(labels, task)
    values = score_queries(ranking, qrels, [measure]).set_index("query_id")["value"]
    about = queries.set_index(key).loc[values.index]
    n_words = about["text"].map(lambda text: len(words(text)))
    positives = qrels[qrels["label"] > 0].groupby("query_id").size().loc[values.index]
    kinds = {column: about[column] for column in columns if column in about} | {
        "length": pd.cut(
            n_words.rank(pct=True), [0, 1 / 3, 2 / 3, 1], labels=["short", "middle", "long"]
        ),
        "script": about["text"].map(
            lambda text: "without spaces" if _UNSPACED.search(text) else "with spaces"
        ),
        "positives": pd.cut(positives, [0, 1, 3, 10, np.inf], labels=["1", "2-3", "4-10", "11+"]),
    }
    rows = []
    for kind, groups in kinds.items():
        for name, own in values.groupby(
            groups, observed=True
        ):  # lengths and positives from small to large
            alike = None if clusters is None else clusters.loc[own.index].to_numpy()
            found = dict.fromkeys(("value", "low", "high", "n_clusters"))
            if len(own) >= smallest:
                found = mean_interval(own.to_numpy(), alike)
            rows.append(
                {
                    "slice": kind,
                    "of": name,
                    "n": len(own),
                    "n_clusters": found["n_clusters"],
                    "value": found["value"],
                    "low": found["low"],
                    "high": found["high"],
                    "note": "" if len(own) >= smallest else "too few",
                }
            )
    return pd.DataFrame(rows).astype({name: float for name in ("value", "low", "high")})


def answer(shares: pd.DataFrame, checks: Sequence[Mapping], filters: pd.DataFrame) -> str:
    """The stage's sentence, from the tables of `count_classes`, `agreement` and
    `filters.compare_filters`."""
    if shares.empty:
        return "No candidate stands wrongly high, so there is nothing to explain."
    own = shares[shares["task"] == shares["task"].iloc[0]].set_index("class")
    text = (
        f"Of {own['n'].sum()} pairs that stand wrongly high ({own['task'].iloc[0].replace('_', ' ')}), "
        + ", ".join(f"{row['share']:.0%} are {name}" for name, row in own.iterrows() if row["n"])
    )
    truth = [check for check in checks if check["of"] == "rules" and "truth" in check["against"]]
    text += "".join(
        f"; the rules agree with the market's truth in {check['agree']:.0%} (kappa {check['kappa']:.2f})"
        for check in truth[:1]
    )
    rows = filters[
        filters["task"].eq(filters["task"].iloc[0])
        & filters["channel"].eq(filters["channel"].iloc[-1])
    ]
    tried = ", ".join(f"{row['system']} {row['nDCG@10']:.3f}" for row in rows.to_dict("records"))
    return f"{text}. nDCG@10 by {rows['channel'].iloc[0]}: {tried}. One run, no verdict."


def write_sheet(pairs: pd.DataFrame, texts: Mapping[str, pd.Series], path: Path) -> None:
    """Write pairs with their texts and an empty column class, for a person to fill in (one of
    CLASSES).

    texts: job and resume -> texts by id; a formula in one is defused, see `files.without_formulas`.
    """
    sheet = pairs[[*KEYS, *RIVAL]].assign(
        **{
            "class": "",
            "job": pairs["job_id"].map(texts["job"]),
            "resume": pairs["resume_id"].map(texts["resume"]),
            "rival": pairs["rival_resume"]
            .map(texts["resume"])
            .where(
                pairs["rival_resume"] != pairs["resume_id"], pairs["rival_job"].map(texts["job"])
            ),
        }
    )
    for column in ("job", "resume", "rival"):
        sheet[column] = without_formulas(sheet[column])
    sheet.to_csv(
        path, index=False, encoding="utf-8-sig"
    )  # with the mark by which spreadsheets know UTF-8


def read_sheet(path: str | Path, pairs: Mapping[str, pd.DataFrame]) -> dict[str, pd.Series]:
    """The classes that a person filled in, row by row of each task's pairs; "" where the sheet has
    none.

    Raises DataError on a class that is none of CLASSES, where no pair is filled in, and where a
    filled row is no pair.
    """
    by_line = dict(read_rows(Path(path)))
    sheet = pd.DataFrame(by_line.values(), index=list(by_line), dtype=str)
    if missing := [column for column in (*KEYS, *RIVAL, "class") if column not in sheet]:
        raise DataError(
            f"{path}: column {missing[0]!r} is missing; fill in a sheet that notebook 09 wrote"
        )
    sheet["class"] = sheet["class"].str.strip().str.lower()
    wrong = sheet[~sheet["class"].isin(["", *CLASSES])]
    if len(wrong):
        raise DataError(
            f"{path}:{wrong.index[0]}: class {wrong['class'].iloc[0]!r} is not one of "
            f"{', '.join(CLASSES)}"
        )
    filled, keys = sheet.drop_duplicates([*KEYS, *RIVAL]), [*KEYS, *RIVAL]
    filled = filled.set_index(keys)["class"]
    found = {
        task: filled.reindex(pd.MultiIndex.from_frame(rows[keys])).fillna("").set_axis(rows.index)
        for task, rows in pairs.items()
    }
    known = pd.MultiIndex.from_frame(pd.concat([rows[keys] for rows in pairs.values()]))
    strange = sheet[sheet["class"].ne("") & ~pd.MultiIndex.from_frame(sheet[keys]).isin(known)]
    if len(strange):
        row = strange.iloc[0]
        raise DataError(
            f"{path}:{strange.index[0]}: {len(strange):,} filled rows are no pairs of this run, the first "
            f"{row['job_id']!r} and {row['resume_id']!r}; use the same seed and n, and let the spreadsheet "
            f"take ids as text"
        )
    if not any((classes != "").any() for classes in found.values()):
        raise DataError(
            f"{path}: no pair of this run is filled in; fill in its errors-*.csv, with the same seed and n"
        )
    return found


def ask_classes(
    pairs: pd.DataFrame, texts: Mapping[str, pd.Series], model: LanguageModel, *, max_words: int
) -> tuple[pd.Series, int]:
    """The classes that a language model gives, row by row of pairs, "" where its answer holds none;
    and how many.

    Raises LanguageModelError if no answer can be used.
    """
    prompts = [
        prompt_from(
            "error_class",
            max_words=max_words,
            job=texts["job"][row.job_id],
            resume=texts["resume"][row.resume_id],
            rival_job=texts["job"][row.rival_job],
            rival_resume=texts["resume"][row.rival_resume],
        )
        for row in pairs.itertuples()
    ]
    named = [
        None if answer.problem else _CLASS.search(answer.text) for answer in model.complete(prompts)
    ]
    found = [name[1].lower() if name else "" for name in named]
    if not any(found):
        raise LanguageModelError(
            f"none of {len(found):,} answers holds a line 'Class: {' or '.join(CLASSES)}'; try a "
            f"larger model, or look at the answers in the cache"
        )
    return pd.Series(found, index=pairs.index), found.count("")
