"""What triples are like: coverage of the graph, diversity, and shortcuts to the label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

from matchlib.data.schema import DataError
from matchlib.data.skills import Graph
from matchlib.data.words import words
from matchlib.hrtasks.rjdb_rows import HrRow
from matchlib.stats import mean_interval

DOCUMENTS = ("job", "matched", "unmatched")
LONGEST_RUN = 3
N_FOLDS = 5


def coverage(rows: Sequence[HrRow], graph: Graph) -> pd.DataFrame:
    """How much of a graph the triples use, and how varied they are.

    Returns document, measure, value, n. Of "graph": occupations_used and skills_used, shares of its
    n occupations and skills that a job asks for. Of each document kind, n texts: distinct_1 to
    distinct_3, the share of runs of that many words that occur for the first time, and
    self_similarity. Raises DataError on fewer than two rows.
    """
    if len(rows) < 2:
        raise DataError(f"{len(rows)} triples: two or more are needed to say how varied they are")
    titles = {title for row in rows for title in row.experiences}
    asked = {skill for row in rows for skill in row.skills}
    occupations = {occupation.name for occupation in graph.occupations.values()}
    skills = {skill.name for skill in graph.skills.values()}
    table = [
        (
            "graph",
            "occupations_used",
            len(occupations & titles) / len(occupations),
            len(occupations),
        ),
        ("graph", "skills_used", len(skills & asked) / len(skills), len(skills)),
    ]
    for document in DOCUMENTS:
        texts = [getattr(row, document) for row in rows]
        for length in range(1, LONGEST_RUN + 1):
            table.append(
                (document, f"distinct_{length}", distinct_share(texts, length), len(texts))
            )
        table.append((document, "self_similarity", self_similarity(texts), len(texts)))
    return pd.DataFrame(table, columns=["document", "measure", "value", "n"])


def distinct_share(texts: Sequence[str], length: int) -> float:
    """Different runs of `length` words, of all runs (distinct-n, Li et al., NAACL 2016).

    It falls with the number of texts: compare only sets of one size. NaN where no text is that long.
    """
    runs = []
    for text in texts:
        found = words(text)
        runs += zip(*[found[start:] for start in range(length)], strict=False)
    return len(set(runs)) / len(runs) if runs else float("nan")


def self_similarity(texts: Sequence[str]) -> float:
    """Mean TF-IDF cosine of two different texts (0 to 1), over all pairs."""
    vectors = TfidfVectorizer(tokenizer=words, lowercase=False, token_pattern=None).fit_transform(
        texts
    )
    n = len(texts)
    # the squared length of the sum is the sum of all cosines, those of a text with itself included
    total = float((np.asarray(vectors.sum(axis=0)) ** 2).sum())
    return (total - n) / (n * (n - 1))


def shortcuts(rows: Sequence[HrRow], *, seed: int = 1) -> pd.DataFrame:
    """How well rules that never see the job tell the matched resume from the unmatched one.

    Returns rule, value, low, high, n: the share of n triples in which the rule puts the matched
    resume first, ties as half, with a 95% interval; .5 is chance. more_lines and more_words count
    lines that are not blank, and words; resume_only is a logistic regression on TF-IDF of one
    resume, cross-validated with whole triples left out. Raises DataError on fewer than five rows.
    """
    if len(rows) < N_FOLDS:
        raise DataError(f"{len(rows)} triples: {N_FOLDS} or more are needed, one in each fold")
    pairs = [(row.matched, row.unmatched) for row in rows]
    scores = {
        "more_lines": [(_n_lines(a), _n_lines(b)) for a, b in pairs],
        "more_words": [(len(words(a)), len(words(b))) for a, b in pairs],
        "resume_only": _resume_only_scores(pairs, seed),
    }
    table = []
    for rule, of_pairs in scores.items():
        matched, unmatched = np.array(of_pairs, dtype=float).T
        first = (1 + np.sign(matched - unmatched)) / 2
        interval = mean_interval(first)
        entry = {name: interval[name] for name in ("value", "low", "high")}
        table.append({"rule": rule} | entry | {"n": len(rows)})
    return pd.DataFrame(table)


def _n_lines(text: str) -> int:
    return sum(bool(line.strip()) for line in text.splitlines())


def _resume_only_scores(pairs: Sequence[tuple[str, str]], seed: int) -> np.ndarray:
    """(n, 2) held-out scores of matched and unmatched resumes."""
    texts = [text for pair in pairs for text in pair]
    labels = np.tile([1, 0], len(pairs))
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(max_iter=1000)
    )
    scores = cross_val_predict(
        model,
        texts,
        labels,
        groups=np.repeat(np.arange(len(pairs)), 2),
        cv=GroupKFold(N_FOLDS, shuffle=True, random_state=seed),
        method="decision_function",
    )
    return scores.reshape(-1, 2)
