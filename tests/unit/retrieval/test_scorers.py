"""One run, three scorers: ours (ir_measures), ranx, and the arithmetic of TalentCLEF's public scorer by hand."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ranx import Qrels, Run, evaluate

from matchlib.data.files import read_fields
from matchlib.retrieval.metrics import score_by_group, score_queries
from matchlib.retrieval.trec import read_run, write_qrels, write_run

pytestmark = pytest.mark.filterwarnings("ignore:unsafe cast")  # within ranx
SAMPLES = Path(__file__).parents[4] / "shared" / "data" / "talentclef"
MEASURES = {
    "AP": "map",
    "RR": "mrr",
    "nDCG": "ndcg",
    "P@5": "precision@5",
    "P@10": "precision@10",
    "P@100": "precision@100",
}


def by_hand(relevant: set[str], ranked: list[str]) -> dict[str, float]:
    """Binary measures of one query from their definitions."""
    hits = [i for i, document in enumerate(ranked, start=1) if document in relevant]
    ideal = sum(1 / math.log2(i + 1) for i in range(1, len(relevant) + 1))
    values = {
        "AP": sum(n / i for n, i in enumerate(hits, start=1)) / len(relevant),
        "RR": 1 / hits[0] if hits else 0,
        "nDCG": sum(1 / math.log2(i + 1) for i in hits) / ideal,
    }
    return values | {f"P@{k}": sum(i <= k for i in hits) / k for k in (5, 10, 100)}


def nested(frame, column):
    return {
        query: dict(zip(rows["candidate_id"], rows[column], strict=True))
        for query, rows in frame.groupby("query_id")
    }


def test_three_scorers_agree_to_1e_9_on_runs_that_we_write(tmp_path):
    rng = np.random.default_rng(0)
    documents = [f"d{i}" for i in range(150)]
    ranking, qrels = [], []
    for q in range(40):
        order = rng.permutation(documents)[: rng.integers(1, 151)]
        ranking += [(f"q{q}", document, i) for i, document in enumerate(order, start=1)]
        positives = rng.choice(documents, rng.integers(1, 40), replace=False)
        qrels += [(f"q{q}", document, int(document in positives)) for document in documents]
    ranking = pd.DataFrame(ranking, columns=["query_id", "candidate_id", "rank"])
    qrels = pd.DataFrame(qrels, columns=["query_id", "candidate_id", "label"])
    write_run(ranking, tmp_path / "run.txt", tag="ours")
    write_qrels(qrels, tmp_path / "qrels.txt")
    ours = (
        score_queries(read_run(tmp_path / "run.txt"), qrels, list(MEASURES))
        .groupby("measure")["value"]
        .mean()
    )
    theirs = evaluate(
        Qrels.from_file(str(tmp_path / "qrels.txt"), kind="trec"),
        Run.from_file(str(tmp_path / "run.txt"), kind="trec"),
        list(MEASURES.values()),
    )
    hand = pd.DataFrame(
        [
            by_hand(
                set(
                    qrels.loc[(qrels["query_id"] == query) & (qrels["label"] == 1), "candidate_id"]
                ),
                list(rows["candidate_id"]),
            )
            for query, rows in ranking.groupby("query_id")
        ]
    ).mean()
    for measure, name in MEASURES.items():
        assert ours[measure] == pytest.approx(theirs[name], abs=1e-9), measure
        assert ours[measure] == pytest.approx(hand[measure], abs=1e-9), measure
    assert 0 < ours["AP"] < 1


def judgements(path):
    return pd.DataFrame(
        [
            (query, document, int(label))
            for _, (query, _, document, label) in read_fields(path, at_least=4)
        ],
        columns=["query_id", "candidate_id", "label"],
    )


@pytest.mark.skipif(
    not SAMPLES.is_dir(), reason="needs TalentCLEF's toy data, which is not in the repository"
)
@pytest.mark.parametrize("language", ["en", "es", "en-es"])
def test_the_sample_run_gives_figures_checked_by_hand(language):
    # each query's only positive is ranked first
    run, truth = (
        read_run(SAMPLES / language / "sample_run.txt"),
        judgements(SAMPLES / language / "qrels.tsv"),
    )
    scores = score_queries(run, truth, list(MEASURES)).groupby("measure")["value"].mean()
    assert scores.to_dict() == pytest.approx(
        {"AP": 1, "RR": 1, "nDCG": 1, "P@5": 0.2, "P@10": 0.1, "P@100": 0.01}
    )


@pytest.mark.skipif(
    not SAMPLES.is_dir(), reason="needs TalentCLEF's toy data, which is not in the repository"
)
@pytest.mark.parametrize("language", ["en", "es"])
def test_scores_per_gender_over_the_mappings_equal_talentclefs(language):
    folder = SAMPLES / "mappings_gender" / language
    names = {
        old: new
        for kind in ("query", "corpus")
        for _, (old, new) in read_fields(folder / f"{kind}_mapping.tsv", at_least=2)
    }
    run, qrels = read_run(folder / "sample_run.txt"), judgements(folder / "qrels.tsv")
    run = run.assign(
        query_id=run["query_id"].map(names), candidate_id=run["candidate_id"].map(names)
    )
    genders = pd.Series({name: name[-1] for name in run["candidate_id"]})
    ours = score_by_group(run, qrels, genders, list(MEASURES)).set_index(["group", "measure"])
    for gender, expected in (("m", 2 / 3), ("f", 1 / 3)):
        part, judged = (f[f["candidate_id"].str.endswith(gender)] for f in (run, qrels))
        theirs = evaluate(
            Qrels(nested(judged, "label")), Run(nested(part, "score")), list(MEASURES.values())
        )
        for measure, name in MEASURES.items():
            assert ours.loc[(gender, measure), "value_with_empty"] == pytest.approx(
                theirs[name], abs=1e-9
            )
        assert theirs["map"] == pytest.approx(expected)
        assert (
            ours.loc[(gender, "AP"), "value"] == 1 and ours.loc[(gender, "AP"), "n"] == 3 * expected
        )
