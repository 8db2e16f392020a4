"""Quality against steadiness under a gender swap: MAP and rank-biased overlap, as TalentCLEF's task A
reports them.

Where the data holds two versions of a person, the rankings of the male and of the female versions are
compared (as TalentCLEF does); where it does not, the rankings before and after our own word swap.
The persistence of the overlap is .9, as elsewhere here; the task's own is not in its public scorer.
MAP counts every judged candidate of a job.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from matchlib.analysis.counterfactual import rank_biased_overlap
from matchlib.data.gender_terms import redact_gender_terms, swap_gender_terms
from matchlib.retrieval.corpus import Corpus
from matchlib.retrieval.metrics import score_queries
from matchlib.retrieval.systems import bm25
from matchlib.stats import mean_interval

RankTexts = Callable[[pd.Series], pd.DataFrame]
"""From the texts of all resumes, in the corpus's order, to the ranking for each job."""
MAP, OVERLAP = "MAP", "rank-biased overlap"
AS_THEY_ARE, MASKED = "as they are", "demographics masked"
VERSIONS, WORD_SWAP = "male and female versions", "our word swap"
VERSION_COLUMNS = ("person", "male", "female")
BM25_LANGUAGES = {"en": "english", "es": "spanish", "en-es": "spanish"}
"""How BM25 stems each language of TalentCLEF: as the resumes are written."""


def gender_versions(resumes: pd.DataFrame) -> pd.DataFrame:
    """The people of whom the data holds a male and a female version: person, male, female (ids).

    resumes: resume_id and, where the data names them, person and gender. Empty where there is none.
    """
    if "person" not in resumes or "gender" not in resumes:
        return pd.DataFrame(columns=list(VERSION_COLUMNS), dtype=str)
    known = resumes[resumes["person"].ne("") & resumes["gender"].isin(["male", "female"])]
    first = known.drop_duplicates(["person", "gender"])
    by_gender = first.pivot(index="person", columns="gender", values="resume_id")
    by_gender = by_gender.reindex(columns=["male", "female"]).dropna()
    return by_gender.rename_axis(columns=None).reset_index()


def rank_versions(ranking: pd.DataFrame, versions: pd.DataFrame, gender: str) -> pd.DataFrame:
    """The ranking of one gender's versions alone, with the person as the candidate."""
    person_of = versions.set_index(gender)["person"]
    own = ranking[ranking["candidate_id"].isin(person_of.index)].sort_values(["query_id", "rank"])
    rank = own.groupby("query_id").cumcount() + 1
    return own.assign(candidate_id=own["candidate_id"].map(person_of), rank=rank)


def version_overlap(ranking: pd.DataFrame, versions: pd.DataFrame) -> pd.Series:
    """query_id -> overlap of the rankings of the male and of the female versions.

    Where a job has a pool, people count of whom it holds both versions.
    """
    parts = {}
    for gender in ("male", "female"):
        parts[gender] = rank_versions(ranking, versions, gender)
    keys = ["query_id", "candidate_id"]
    both = parts["male"][keys].merge(parts["female"][keys])
    for gender, part in parts.items():
        kept = part.merge(both).sort_values(["query_id", "rank"])
        parts[gender] = kept.assign(rank=kept.groupby("query_id").cumcount() + 1)
    return rank_biased_overlap(parts["male"], parts["female"])


def keyword_ranker(corpus: Corpus, *, language: str = "english") -> RankTexts:
    """BM25 as a function of the resumes' texts."""

    def rank_texts(texts: pd.Series) -> pd.DataFrame:
        resumes = corpus.resumes.assign(text=list(texts))
        changed = Corpus(corpus.jobs, resumes, corpus.pools)
        hits = bm25(changed, language=language)["rank_resumes"]
        return changed.rank({"rank_resumes": hits})["rank_resumes"]

    return rank_texts


def map_and_overlap(
    rankers: Mapping[str, RankTexts],
    resumes: pd.DataFrame,
    qrels: pd.DataFrame,
    *,
    clusters: pd.Series | None = None,
) -> pd.DataFrame:
    """MAP and rank-biased overlap under the gender swap of every system, as the texts are and masked.

    rankers: system -> RankTexts; qrels: of rank_resumes; clusters: query_id -> cluster. Masked are
    names and gendered words, before ranking. Returns system, texts, measure, swap ("" for MAP), value,
    low, high (95%, over jobs or their clusters), n, n_clusters.
    """
    versions = gender_versions(resumes)
    swap = WORD_SWAP if versions.empty else VERSIONS
    rows = []
    for system, rank_texts in rankers.items():
        for name, mask in ((AS_THEY_ARE, str), (MASKED, redact_gender_terms)):
            ranking = rank_texts(resumes["text"].map(mask))
            if versions.empty:
                swapped = resumes["text"].map(swap_gender_terms).map(mask)
                overlap = rank_biased_overlap(ranking, rank_texts(swapped))
            else:
                overlap = version_overlap(ranking, versions)
            scores = score_queries(ranking, qrels, ["AP"]).set_index("query_id")["value"]
            facts = {"system": system, "texts": name}
            rows.append(facts | {"measure": MAP, "swap": ""} | _interval(scores, clusters))
            rows.append(facts | {"measure": OVERLAP, "swap": swap} | _interval(overlap, clusters))
    return pd.DataFrame(rows)


def _interval(values: pd.Series, clusters: pd.Series | None) -> dict[str, float]:
    own_clusters = None if clusters is None else clusters.reindex(values.index).to_numpy()
    return mean_interval(values.to_numpy(), own_clusters, bounds=(0, 1))
