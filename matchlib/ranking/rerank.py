"""Re-ranking a list by what recruiters of a role click and invite: `matchlib rank --ranker`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from matchlib.data.schema import DataError
from matchlib.stage import Finished, is_finished
from matchlib.talent.features import HIRE_FEATURES, signal_features, text_features
from matchlib.talent.ranker import Ranker, load_ranker
from matchlib.talent.signals import read_signals, signal_table


def open_role_ranker(folder: str, role: str) -> Ranker:
    """The ranker of a stage of notebook 07, or of its folder "ranker".

    Raises DataError where there is none, or the role is none of its roles.
    """
    path = Path(folder)
    if is_finished(path):
        path = Finished(path).path("ranker")
    ranker = load_ranker(path)
    if role not in ranker.roles:
        raise DataError(f"--role {role!r} is not one of the ranker's: {', '.join(ranker.roles)}")
    return ranker


def rerank(
    ranking: pd.DataFrame,
    jobs: pd.DataFrame,
    resumes: pd.DataFrame,
    ranker: Ranker,
    *,
    role: str,
    task: str,
) -> pd.DataFrame:
    """The same candidates of each query in the order of a role: score is the probability of a click
    and a conversion, or of a click where the ranker knows no conversions.

    ranking: query_id, candidate_id, rank, score. Signals are read from the texts; no earlier hires
    are known, so the features of hires are those of the mean in training. Raises DataError where
    the ranker reads features that texts do not have.
    """
    sides = ("job_id", "resume_id") if task == "rank_resumes" else ("resume_id", "job_id")
    pairs = pd.DataFrame(
        dict(zip(sides, (ranking["query_id"], ranking["candidate_id"]), strict=True))
    )
    tables = {}
    for name, frame in (("jobs", jobs), ("resumes", resumes)):
        key = f"{name[:-1]}_id"
        # only what is listed is read
        listed = frame[frame[key].isin(pairs[key])].reset_index(drop=True)
        texts = listed["text"].tolist()
        extraction = read_signals(texts, only_held=key == "resume_id")
        signals = signal_table(listed[key], extraction.signals)
        tables[name] = listed, signals
    features = pd.concat(
        [
            text_features(pairs, tables["jobs"][0], tables["resumes"][0]),
            signal_features(pairs, tables["jobs"][1], tables["resumes"][1]),
        ],
        axis=1,
    ).assign(**_mean_hires(ranker))
    scores = ranker.score(features, pd.Series(role, index=range(len(pairs))))
    best = "click and conversion" if "click and conversion" in scores else "click"
    found = ranking.assign(score=scores[best].to_numpy())
    order = np.lexsort((found["rank"], -found["score"], pd.factorize(found["query_id"])[0]))
    found = found.iloc[order].reset_index(drop=True)
    return found.assign(rank=found.groupby("query_id", sort=False).cumcount() + 1)


def _mean_hires(ranker: Ranker) -> dict[str, float]:
    """Features of hires as they were on average in training; 0 would be far outside."""
    means = dict(zip(ranker.feature_names, ranker.mean, strict=True))
    return {name: float(means[name]) for name in HIRE_FEATURES if name in means}
