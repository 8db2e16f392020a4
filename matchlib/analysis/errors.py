"""What a ranking gets wrong and why: false positives at the top, accepted candidates at the bottom.

Source: ConFit v2 (arXiv 2502.12361), error analysis: 30 negatives in the top 5% above a positive,
read by hand and put into four classes. Deviations: the classes are assigned by rule, from what the
texts say or from the simulated market's truth; people and language models can annotate, too (see
`annotation`); and the effect and the cost of filters are measured (see `filters`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from matchlib.analysis.suitability import PAIR_KEYS, Facts, facts_from_columns, unmet_requirements
from matchlib.data.market.config import RULE_WEIGHT, TEXT_WEIGHT
from matchlib.data.market.simulation import Market
from matchlib.data.words import UNSPACED, words
from matchlib.retrieval.corpus import Corpus
from matchlib.retrieval.metrics import qrels_from_labels, score_queries
from matchlib.stats import mean_interval, share_interval

ERROR_CLASSES = ("unsuitable", "less competent", "out of scope", "potentially suitable")
RIVAL_KEYS = ["rival_job", "rival_resume"]
QUERY_KEYS = {"rank_resumes": "job_id", "rank_jobs": "resume_id"}
CANDIDATE_KEYS = {"rank_resumes": "resume_id", "rank_jobs": "job_id"}
TOP_SHARE = 0.05
"""Share of each query's candidates that counts as the top; the paper's."""
BOTTOM_SHARE = 0.5
"""Share that counts as the bottom."""
SLICE_COLUMNS = ("industry", "seniority")
"""Columns of jobs and resumes whose values are scored separately, where they are known."""
TRUTH = "market truth"
"""Name of the classes that the simulated market's truth gives, among those of annotators."""
RULES = "rules"
"""Name of the classes that `classify_by_rule` gives."""

_UNSPACED = re.compile(f"[{UNSPACED}]")


def find_false_positives(
    ranking: pd.DataFrame,
    qrels: pd.DataFrame,
    *,
    task: str,
    top_share: float = TOP_SHARE,
) -> pd.DataFrame:
    """Pairs without a positive label in the top share of a ranking, above a positive.

    ranking: all candidates of each query. Returns job_id, resume_id, rank, label (0 refused, -1 no
    label), rival_job, rival_resume (the pair of the next positive below), rival_rank and task.
    """
    judged = _with_labels(ranking, qrels)
    pool_size = judged.groupby("query_id")["candidate_id"].transform("size")
    is_at_top = judged["rank"] <= np.ceil(top_share * pool_size)
    at_top = judged[is_at_top & (judged["label"] < 1)]
    positives = judged[judged["label"] > 0]
    rivals = pd.DataFrame(
        {
            "query_id": positives["query_id"],
            "rank": positives["rank"],
            "rival_id": positives["candidate_id"],
            "rival_rank": positives["rank"],
        }
    )
    pairs = pd.merge_asof(
        at_top.sort_values("rank"),
        rivals.sort_values("rank"),
        on="rank",
        by="query_id",
        direction="forward",
    )
    pairs = pairs.dropna(subset="rival_id")
    pairs["rival_rank"] = pairs["rival_rank"].astype(int)
    if task == "rank_resumes":
        pairs["rival_job"] = pairs["query_id"]
        pairs["rival_resume"] = pairs["rival_id"]
    else:
        pairs["rival_job"] = pairs["rival_id"]
        pairs["rival_resume"] = pairs["query_id"]
    pairs = _name_keys(pairs, task).sort_values([QUERY_KEYS[task], "rank"])
    columns = [*PAIR_KEYS, "rank", "label", *RIVAL_KEYS, "rival_rank"]
    return pairs[columns].reset_index(drop=True).assign(task=task)


def find_false_negatives(
    ranking: pd.DataFrame,
    qrels: pd.DataFrame,
    *,
    task: str,
    bottom_share: float = BOTTOM_SHARE,
) -> pd.DataFrame:
    """Pairs with a positive label in the bottom share of a ranking: job_id, resume_id, rank, task."""
    judged = _with_labels(ranking, qrels)
    pool_size = judged.groupby("query_id")["candidate_id"].transform("size")
    is_at_bottom = judged["rank"] > np.ceil((1 - bottom_share) * pool_size)
    pairs = _name_keys(judged[is_at_bottom & (judged["label"] > 0)], task)
    return pairs[[*PAIR_KEYS, "rank"]].reset_index(drop=True).assign(task=task)


def _name_keys(pairs: pd.DataFrame, task: str) -> pd.DataFrame:
    """With job_id and resume_id instead of query_id and candidate_id."""
    names = {"query_id": QUERY_KEYS[task], "candidate_id": CANDIDATE_KEYS[task]}
    return pairs.rename(columns=names)


def _with_labels(ranking: pd.DataFrame, qrels: pd.DataFrame) -> pd.DataFrame:
    """The ranking of queries with a positive, with labels; -1 where there is none."""
    answerable = qrels.loc[qrels["label"] > 0, "query_id"].unique()
    labels = qrels[["query_id", "candidate_id", "label"]]
    judged = ranking[ranking["query_id"].isin(answerable)]
    judged = judged.merge(labels, on=["query_id", "candidate_id"], how="left")
    judged["label"] = judged["label"].fillna(-1).astype(int)
    judged["rank"] = judged["rank"].astype(int)
    return judged


def count_errors(
    false_positives: pd.DataFrame,
    false_negatives: pd.DataFrame,
    qrels: Mapping[str, pd.DataFrame],
) -> pd.DataFrame:
    """How many errors a ranking has in each task, and how many labels they are of."""
    rows = []
    for task, judged in qrels.items():
        at_top = false_positives[false_positives["task"] == task]
        at_bottom = false_negatives[false_negatives["task"] == task]
        row = {
            "task": task,
            "false positives": len(at_top),
            "of them refused": int((at_top["label"] == 0).sum()),
            "false negatives": len(at_bottom),
            "of accepted": int((judged["label"] > 0).sum()),
        }
        rows.append(row)
    return pd.DataFrame(rows)


def sample_pairs(
    pairs: pd.DataFrame,
    n_sampled: int,
    *,
    seed: int,
) -> pd.DataFrame:
    """n_sampled pairs of each task by seed: one of every query before any query has two."""
    if pairs.empty:
        return pairs
    samples = []
    for task, own in pairs.groupby("task", sort=False):
        shuffled = own.reset_index(drop=True).sample(frac=1, random_state=seed)
        turn = shuffled.groupby(QUERY_KEYS[task]).cumcount()
        chosen = turn.sort_values(kind="stable").index[:n_sampled]
        samples.append(shuffled.loc[chosen])
    return pd.concat(samples, ignore_index=True)


def pair_clusters(
    pairs: pd.DataFrame,
    clusters: Mapping[str, pd.Series] | None,
) -> pd.Series:
    """The cluster of each pair's query, or the query itself.

    clusters: task -> query_id -> what makes queries alike, of `Corpus.clusters`.
    """
    ranks_resumes = pairs["task"] == "rank_resumes"
    if clusters is None:
        return pairs["job_id"].where(ranks_resumes, pairs["resume_id"])
    of_job = pairs["job_id"].map(clusters["rank_resumes"])
    of_resume = pairs["resume_id"].map(clusters["rank_jobs"])
    return of_job.where(ranks_resumes, of_resume)


def classify_by_rule(pairs: pd.DataFrame, facts: Facts) -> pd.DataFrame:
    """The class of each pair of `find_false_positives` from facts: columns class and why.

    unsuitable: place, level or years do not fit, or too few required skills (MIN_REQUIRED_SHARE).
    less competent: the rival meets more of what is asked, required skills counting twice. Otherwise
    the documents hold nothing against the pair: out of scope if it was refused, potentially
    suitable if it has no label.
    """
    own = unmet_requirements(pairs, facts)
    rivals = unmet_requirements(pairs[RIVAL_KEYS].set_axis(PAIR_KEYS, axis=1), facts)
    own_share = _share_met(own)
    rival_share = _share_met(rivals)
    is_unsuitable = own["reasons"] != ""
    is_less_competent = (rival_share - own_share > 1e-9) & (rivals["reasons"] == "")
    is_refused = pairs["label"] == 0
    classes = np.select(
        [is_unsuitable, is_less_competent, is_refused],
        ["unsuitable", "less competent", "out of scope"],
        "potentially suitable",
    )
    comparisons = _describe_rivals(pairs, own["missing_skills"], own_share, rival_share)
    why = np.select(
        [is_unsuitable, is_less_competent],
        [own["reasons"], comparisons],
        "nothing in the documents",
    )
    return pd.DataFrame({"class": classes, "why": why}, index=pairs.index)


def _share_met(unmet: pd.DataFrame) -> pd.Series:
    """Share of the skills asked for that the resume has, required ones counting twice; all where
    none is asked for."""
    required = unmet["required_share"].fillna(1)
    optional = unmet["optional_share"].fillna(1)
    return (2 * required + optional) / 3


def _describe_rivals(
    pairs: pd.DataFrame,
    missing_skills: pd.Series,
    own_share: pd.Series,
    rival_share: pd.Series,
) -> pd.Series:
    """For each pair in words: the rival, and how much more of what is asked it meets."""
    described = []
    for row, pair in pairs.iterrows():
        if pair["job_id"] == pair["rival_job"]:
            text = (
                f"{pair['rival_resume']} meets {rival_share[row]:.0%} of the requirements, "
                f"this resume {own_share[row]:.0%}"
            )
            if missing_skills[row]:
                text += f", not found: {missing_skills[row].replace('; ', ', ')}"
        else:
            text = (
                f"of the requirements of {pair['rival_job']} {rival_share[row]:.0%} are met, "
                f"of this job's {own_share[row]:.0%}"
            )
        described.append(text)
    return pd.Series(described, index=pairs.index, dtype=object)


def classify_by_truth(
    market: Market,
    pairs: pd.DataFrame,
    jobs: pd.DataFrame,
    resumes: pd.DataFrame,
) -> pd.DataFrame:
    """The same classes from the market's true columns and scores, and `fits`: the pair truly fits.

    unsuitable: as in `classify_by_rule`, by true columns. Else less competent: rule and text_fit of
    the rival are better. Else potentially suitable: the pair truly fits, whatever its label. Else
    out of scope: only traits that no document shows are against it.

    The definition is nearly that of `classify_by_rule`, which uses the label where this uses true
    fit and compares rivals by skills only (with perfect facts kappa is above .9). So agreement
    measures how well texts are read, not whether the definition is right: true fit is a sum, and a
    pair that does not meet a requirement can still fit; `fits` shows it.
    """
    scores = market.channels(jobs, resumes)
    visible_score = RULE_WEIGHT * scores["rule"] + TEXT_WEIGHT * scores["text_fit"]
    job_ids = pd.Index(jobs["job_id"])
    resume_ids = pd.Index(resumes["resume_id"])
    own_cells = (
        job_ids.get_indexer(pairs["job_id"]),
        resume_ids.get_indexer(pairs["resume_id"]),
    )
    rival_cells = (
        job_ids.get_indexer(pairs["rival_job"]),
        resume_ids.get_indexer(pairs["rival_resume"]),
    )
    facts = facts_from_columns(jobs, resumes)
    is_unsuitable = unmet_requirements(pairs, facts)["reasons"] != ""
    is_less_competent = visible_score[rival_cells] > visible_score[own_cells] + 1e-9
    fits = scores["true_score"][own_cells] > market.threshold
    classes = np.select(
        [is_unsuitable, is_less_competent, fits],
        ["unsuitable", "less competent", "potentially suitable"],
        "out of scope",
    )
    return pd.DataFrame({"class": classes, "fits": fits}, index=pairs.index)


def count_reasons(pairs: pd.DataFrame, why: pd.Series) -> pd.DataFrame:
    """Why pairs are unsuitable: reason, and a column for each task; a pair may count several
    times."""
    reasons = why.str.extractall(r"\b(?P<reason>place|level|years|skills): ")["reason"]
    tasks = pairs["task"].reindex(reasons.index.get_level_values(0))
    counts = pd.crosstab(reasons.to_numpy(), tasks.to_numpy())
    counts = counts.rename_axis(index="reason", columns=None)
    counts = counts.reindex(columns=pairs["task"].unique(), fill_value=0)
    return counts.sort_values(list(counts), ascending=False).reset_index()


def count_classes(
    classes: pd.Series,
    pairs: pd.DataFrame,
    clusters: pd.Series,
) -> pd.DataFrame:
    """Share of each class in each task: class, n, n_clusters, share, low, high (95%), task.

    classes: "" where an annotator named none; clusters: of `pair_clusters`.
    """
    columns = ["class", "n", "n_clusters", "share", "low", "high", "task"]
    rows = []
    for task, own in classes[classes != ""].groupby(pairs["task"], sort=False):
        own_clusters = clusters.loc[own.index].to_numpy()
        for name in ERROR_CLASSES:
            is_class = own == name
            interval = share_interval(is_class.to_numpy(dtype=float), own_clusters)
            row = {
                "class": name,
                "n": int(is_class.sum()),
                "n_clusters": interval["n_clusters"],
                "share": interval["value"],
                "low": interval["low"],
                "high": interval["high"],
                "task": task,
            }
            rows.append(row)
    return pd.DataFrame(rows, columns=columns)


def score_slices(
    ranking: pd.DataFrame,
    labels: pd.DataFrame,
    corpus: Corpus,
    *,
    task: str,
    slice_columns: Sequence[str],
    clusters: pd.Series | None = None,
    measure: str = "nDCG@10",
    min_group_size: int = 10,
) -> pd.DataFrame:
    """A measure by slices of the queries: slice, of (its value), n, n_clusters, value, low, high,
    note.

    Slices: slice_columns that the queries' table has; length (thirds by words), script, and
    positives (number of positive labels). clusters: query_id -> what makes queries alike. Fewer
    than `min_group_size` queries: no value, "too few".
    """
    qrels = qrels_from_labels(labels, task)
    scores = score_queries(ranking, qrels, [measure]).set_index("query_id")["value"]
    queries, _ = corpus.sides(task)
    scored_queries = queries.documents.set_index(queries.id_column).loc[scores.index]
    slices = {name: scored_queries[name] for name in slice_columns if name in scored_queries}
    slices["length"] = _length_thirds(scored_queries["text"])
    slices["script"] = scored_queries["text"].map(_script)
    slices["positives"] = _positives_bin(qrels, scores.index)
    rows = []
    for slice_name, slice_of_query in slices.items():
        # lengths and positives are categories, which come from small to large
        for value, own_scores in scores.groupby(slice_of_query, observed=True):
            row = {
                "slice": slice_name,
                "of": value,
                "n": len(own_scores),
                "n_clusters": np.nan,
                "value": np.nan,
                "low": np.nan,
                "high": np.nan,
                "note": "too few",
            }
            if len(own_scores) >= min_group_size:
                own_clusters = None
                if clusters is not None:
                    own_clusters = clusters.loc[own_scores.index].to_numpy()
                interval = mean_interval(own_scores.to_numpy(), own_clusters)
                for name in ("n_clusters", "value", "low", "high"):
                    row[name] = interval[name]
                row["note"] = ""
            rows.append(row)
    return pd.DataFrame(rows)


def _length_thirds(texts: pd.Series) -> pd.Series:
    n_words = texts.map(lambda text: len(words(text)))
    bounds = [0, 1 / 3, 2 / 3, 1]
    return pd.cut(n_words.rank(pct=True), bounds, labels=["short", "middle", "long"])


def _script(text: str) -> str:
    return "without spaces" if _UNSPACED.search(text) else "with spaces"


def _positives_bin(qrels: pd.DataFrame, query_ids: pd.Index) -> pd.Series:
    positives = qrels[qrels["label"] > 0]
    n_positives = positives.groupby("query_id").size().loc[query_ids]
    return pd.cut(n_positives, [0, 1, 3, 10, np.inf], labels=["1", "2-3", "4-10", "11+"])


def summarise_errors(
    shares: pd.DataFrame,
    agreements: pd.DataFrame,
    filters: pd.DataFrame,
) -> str:
    """The stage's headline, from the tables of `count_classes`, `annotation.compare_annotators`
    and `filters.compare_filters`."""
    if shares.empty:
        return "No false positive stands at the top, so there is nothing to explain."
    first_task = shares["task"].iloc[0]
    sentences = [_summarise_classes(shares[shares["task"] == first_task])]
    is_rules_against_truth = agreements["annotator"].eq(RULES) & agreements["reference"].eq(TRUTH)
    for row in agreements[is_rules_against_truth].head(1).itertuples():
        sentences[0] += (
            f"; the rules agree with the market's truth in {row.agree:.0%} (kappa {row.kappa:.2f})"
        )
    first_filters = filters[filters["task"] == filters["task"].iloc[0]]
    has_truth = first_filters["judgments"].eq("true_fit").any()
    judgments = "true_fit" if has_truth else "observed"
    systems = []
    for row in first_filters[first_filters["judgments"] == judgments].to_dict("records"):
        systems.append(f"{row['system']} {row['nDCG@10']:.3f}")
    sentences.append(f"nDCG@10 by {judgments}: {', '.join(systems)}")
    sentences.append("One run, no verdict.")
    return ". ".join(sentences)


def _summarise_classes(shares: pd.DataFrame) -> str:
    task = shares["task"].iloc[0].replace("_", " ")
    parts = []
    for row in shares[shares["n"] > 0].to_dict("records"):
        parts.append(f"{row['share']:.0%} are {row['class']}")
    return f"Of {shares['n'].sum()} false positives at the top ({task}), {', '.join(parts)}"
