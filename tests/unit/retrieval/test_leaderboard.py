"""Systems both ways, mixtures, tuning and the table, on a corpus of six jobs and eight resumes."""

import numpy as np
import pandas as pd
import pandera
import pytest

from matchlib.data.schema import DataError
from matchlib.retrieval import diagnostics, systems
from matchlib.retrieval import leaderboard as lb
from matchlib.retrieval.corpus import Corpus, HitsByTask, without_equal_texts
from matchlib.retrieval.encoder import Encoder
from matchlib.retrieval.search import Hits

TASKS = ("rank_resumes", "rank_jobs")


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"]
    jobs = pd.DataFrame(
        {
            "job_id": [f"j{i}" for i in range(6)],
            "text": [f"{w} wanted\nhere" for w in words],
            "occupation": list("aabbcc"),
            "split": "test",
        }
    )
    resumes = pd.DataFrame(
        {
            "resume_id": [f"r{i}" for i in range(8)],
            "text": [f"I did {w}" + "\nmore" * i for i, w in enumerate([*words, "eta", "theta"])],
            "occupation": list("aabbccdd"),
            "split": "test",
        }
    )
    return Corpus(jobs, resumes)


@pytest.fixture(scope="module")
def labels() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "job_id": [f"j{i}" for i in range(6)],
            "resume_id": [f"r{i}" for i in range(6)],
            "label": 1,
        }
    )


def planted(corpus: Corpus, *, right: float, seed: int) -> HitsByTask:
    """A system whose score is `right` on the diagonal plus noise."""
    scores = (
        np.random.default_rng(seed)
        .normal(size=(len(corpus.jobs), len(corpus.resumes)))
        .astype(np.float32)
    )
    scores[np.arange(6), np.arange(6)] += right
    hits = {}
    for task, table in (("rank_resumes", scores), ("rank_jobs", scores.T)):
        order = np.argsort(-table, axis=1)
        hits[task] = Hits(order, np.take_along_axis(table, order, axis=1))
    return hits


def candidates(rankings) -> dict:
    return {task: ranking["candidate_id"].tolist() for task, ranking in rankings.items()}


def test_of_split_keeps_one_split(corpus):
    tables = {
        "jobs": corpus.jobs.assign(split=["test"] * 4 + ["train"] * 2),
        "resumes": corpus.resumes,
    }
    part = Corpus.of_split(tables, "test")
    assert (len(part.jobs), len(part.resumes)) == (4, 8)


def test_bm25_finds_the_shared_word_both_ways(corpus, labels):
    rankings = corpus.rank(systems.bm25(corpus), depth=1)
    assert rankings["rank_resumes"]["candidate_id"].tolist() == labels["resume_id"].tolist()
    assert rankings["rank_jobs"]["candidate_id"].tolist()[:6] == labels["job_id"].tolist()


def test_length_ranks_by_lines_whatever_the_query(corpus):
    rankings = corpus.rank(systems.line_count(corpus))
    by_query = rankings["rank_resumes"].groupby("query_id")["candidate_id"].agg(list)
    assert all(ids == [f"r{i}" for i in reversed(range(8))] for ids in by_query)
    # all jobs have two lines: a tie, broken the same way for every resume but not by id
    order = rankings["rank_jobs"].groupby("query_id")["candidate_id"].agg(tuple).unique()
    assert len(order) == 1 and list(order[0]) != sorted(order[0])


def test_dense_encodes_each_side_with_its_own_method(corpus):
    class OneHot:
        def encode_jobs(self, texts):
            return np.eye(8, dtype=np.float32)[: len(texts)]

        def encode_resumes(self, texts):
            return np.eye(8, dtype=np.float32)[::-1][: len(texts)].copy()

    rankings = corpus.rank(systems.dense(corpus, OneHot()), depth=1)
    assert rankings["rank_resumes"]["candidate_id"].tolist() == [f"r{7 - i}" for i in range(6)]
    assert rankings["rank_jobs"]["candidate_id"].tolist()[2:] == [f"j{7 - i}" for i in range(2, 8)]


def test_mix_with_weight_0_and_1_is_either_system(corpus):
    first, second = planted(corpus, right=0, seed=1), planted(corpus, right=0, seed=2)
    assert candidates(corpus.rank(systems.mix(corpus, first, second, weight=0.0))) == candidates(
        corpus.rank(first)
    )
    assert candidates(corpus.rank(systems.mix(corpus, first, second, weight=1.0))) == candidates(
        corpus.rank(second)
    )
    assert candidates(corpus.rank(first)) != candidates(corpus.rank(second))


def test_mix_without_a_weight_is_symmetric(corpus):
    first, second = planted(corpus, right=1, seed=1), planted(corpus, right=1, seed=2)
    one, other = (
        systems.mix_by_rank(corpus, first, second),
        systems.mix_by_rank(corpus, second, first),
    )
    assert candidates(corpus.rank(one)) == candidates(corpus.rank(other))


def test_tuning_picks_the_planted_weight(corpus, labels):
    noise, good = planted(corpus, right=0, seed=3), planted(corpus, right=40, seed=4)
    tuned = systems.tune_mix(corpus, good, noise, labels)
    assert tuned["weight"].tolist() == [round(0.1 * i, 1) for i in range(11)]
    assert systems.best_weight(tuned) == 0.0
    assert tuned.loc[0, "ndcg"] == 1.0 and tuned.loc[10, "ndcg"] < 0.8
    reverse = systems.tune_mix(corpus, noise, good, labels)
    assert 0.5 <= systems.best_weight(reverse) <= 1.0 and reverse["ndcg"].iloc[-1] == 1.0


def test_tuning_finds_a_mixture_that_beats_both_systems(corpus, labels):
    # job i and resume i lead only in the sum: each system puts one other candidate above, never the same
    eye = np.eye(6, 8)
    above = [np.roll(eye, 1, axis=1) * 1.5 + eye, np.roll(eye, 3, axis=1) * 1.5 + eye]
    both = []
    for scores in above:
        hits = {}
        for task, table in (("rank_resumes", scores), ("rank_jobs", scores.T)):
            order = np.argsort(-table, axis=1, kind="stable")
            hits[task] = Hits(order, np.take_along_axis(table, order, axis=1).astype(np.float32))
        both.append(hits)
    tuned = systems.tune_mix(corpus, *both, labels)
    assert systems.best_weight(tuned) in (0.4, 0.5, 0.6)
    assert tuned["ndcg"].max() > tuned["ndcg"].iloc[[0, 10]].max() + 0.1


def test_mixtures_are_those_that_could_be_tuned(corpus, labels):
    encoder = Encoder("all-MiniLM-L6-v2")
    settings = {"language": "english", "segment": "characters"}
    tuned = systems.tune_mixtures(corpus, encoder, labels, **settings)
    assert tuned.groupby("system", sort=False).size().to_dict() == {"bm25_length": 11, "hybrid": 11}
    weights = systems.best_weights(tuned)
    assert list(weights) == ["bm25_length", "hybrid"]
    keywords, lines = systems.bm25(corpus), systems.line_count(corpus)
    mixed = systems.mixtures(corpus, keywords, lines, weights=weights)
    assert list(mixed) == ["bm25_length", "hybrid", "hybrid_rrf"]
    nothing = systems.tune_mixtures(corpus, encoder, labels.assign(label=0), **settings)
    weights = systems.best_weights(nothing)
    assert list(systems.mixtures(corpus, keywords, lines, weights=weights)) == ["hybrid_rrf"]


def test_queries_without_a_positive_are_counted_and_rows_added_keep_the_columns(board, labels):
    pairs = pd.DataFrame(
        {"job_id": ["a", "a", "b"], "resume_id": ["x", "y", "x"], "label": [1, 0, 0]}
    )
    left_out = lb.count_left_out({"observed": pairs}).set_index("task")["queries left out"]
    assert left_out.to_dict() == {"rank_resumes": 1, "rank_jobs": 1}
    extended = lb.add_rows(board, board.head(1).assign(system="new", further=1))
    assert extended["system"].iloc[0] == "new" and len(extended) == len(board) + 1
    assert list(extended.columns) == list(board.columns)


def test_best_weight_is_the_smallest_of_equals():
    assert (
        systems.best_weight(pd.DataFrame({"weight": [0.0, 0.1, 0.2], "ndcg": [0.3, 0.5, 0.5]}))
        == 0.1
    )


@pytest.fixture(scope="module")
def board(corpus, labels) -> pd.DataFrame:
    systems = {
        "pretrained": planted(corpus, right=1, seed=1),
        "copy": planted(corpus, right=1, seed=1),
        "stage1": planted(corpus, right=40, seed=2),
    }
    rankings = {name: corpus.rank(hits) for name, hits in systems.items()}
    judgments = {"observed": labels.iloc[:4], "true_fit": labels.drop(columns="label")}
    return lb.build_leaderboard(
        rankings,
        judgments,
        measures=["nDCG@10", "RR"],
        baselines=["pretrained", "stage1"],
        clusters=corpus.clusters("occupation"),
        facts={"dataset": "toy", "seed": 1},
    )


def test_leaderboard_has_its_columns_and_one_row_a_baseline(board):
    assert list(board.columns) == [
        "dataset",
        "seed",
        "judgments",
        "system",
        "task",
        "measure",
        "value",
        "low",
        "high",
        "n",
        "n_clusters",
        "baseline",
        "difference",
        "difference_low",
        "difference_high",
        "p",
        "p_holm",
    ]
    key = ["judgments", "system", "task", "measure", "baseline"]
    assert len(board) == 2 * 3 * 2 * 2 * 2 and not board.duplicated(key).any()
    own = board["system"] == board["baseline"]
    tested = ["difference", "difference_low", "difference_high", "p", "p_holm"]
    assert board.loc[own, tested].isna().all(axis=None) and board.loc[~own, tested].notna().all(
        axis=None
    )


def test_leaderboard_values(board):
    cell = board.set_index(["judgments", "system", "task", "measure", "baseline"])
    best = cell.loc[("true_fit", "stage1", "rank_resumes", "nDCG@10", "pretrained")]
    assert best["value"] == 1.0 and best["difference"] > 0
    assert (best["n"], best["n_clusters"]) == (6, 3)
    assert cell.loc[("observed", "stage1", "rank_jobs", "RR", "pretrained"), "n"] == 4
    back = cell.loc[("true_fit", "pretrained", "rank_resumes", "nDCG@10", "stage1")]
    assert back["difference"] == -best["difference"] and back["p"] == best["p"]


def test_a_system_does_not_differ_from_its_copy(board):
    same = board[board["system"].eq("copy") & board["baseline"].eq("pretrained")]
    assert len(same) == 8
    assert (same["difference"] == 0).all() and (same["p"] == 1).all()


def test_p_is_adjusted_within_a_table_with_every_pair_once():
    board = pd.DataFrame(
        {"system": list("abcc"), "baseline": list("baab"), "p": [0.01, 0.01, 0.02, 0.5]}
    )
    found = lb.adjust_for_multiplicity(
        board.assign(judgments="observed", task="rank_jobs", measure="RR")
    )
    assert found["p_holm"].tolist() == pytest.approx(
        [0.03, 0.03, 0.04, 0.5]
    )  # three pairs, not four


def test_clusters_survive_job_ids_that_equal_resume_ids(labels, corpus):
    same = Corpus(
        corpus.jobs.assign(job_id=[str(i) for i in range(6)]),
        corpus.resumes.assign(resume_id=[str(i) for i in range(8)]),
    )
    pairs = pd.DataFrame(
        {"job_id": [str(i) for i in range(6)], "resume_id": [str(i) for i in range(6)]}
    )
    rankings = {
        name: same.rank(planted(same, right=1, seed=i))
        for i, name in enumerate(("pretrained", "other"))
    }
    table = lb.build_leaderboard(
        rankings,
        {"file": pairs},
        measures=["RR"],
        baselines=["pretrained"],
        clusters=same.clusters("occupation"),
        facts={},
    )
    assert table["n_clusters"].tolist() == [3] * 4


def test_without_a_shared_column_queries_are_independent(corpus):
    assert corpus.clusters("") is None
    with pytest.raises(DataError, match="do not both have a column 'job_id'"):
        corpus.clusters("job_id")


def test_overview_has_one_row_a_system(board):
    table = lb.overview(
        board,
        judgments="true_fit",
        task="rank_jobs",
        baseline="pretrained",
        measures=["nDCG@10", "RR"],
    )
    assert table["system"].tolist() == ["pretrained", "copy", "stage1"]
    assert list(table.columns) == [
        "system",
        "nDCG@10",
        "difference",
        "p",
        "p_holm",
        "RR",
        "n",
        "n_clusters",
    ]
    assert table.set_index("system").loc["stage1", "RR"] == "1.000 [1.000, 1.000]"


def test_the_choice_is_by_validation_whatever_the_test_says(board):
    table = diagnostics.compare_with_validation(
        board, {"stage1": {"validation": 0.4}, "pretrained": {"validation": 0.5}}, measure="RR"
    )
    assert table["system"].tolist() == ["pretrained", "stage1"]
    assert table.loc[1, "test, true_fit"] == 1.0
    assert list(table.columns) == ["system", "validation", "test, observed", "test, true_fit"]


def test_a_gain_is_taken_apart_into_applying_and_deciding(corpus, labels):
    quality = {"pretrained": 0.2, "applicants": 0.6, "stage1": 0.9}
    rankings = {
        name: corpus.rank(planted(corpus, right=right, seed=3)) for name, right in quality.items()
    }
    board = lb.build_leaderboard(
        rankings,
        {"observed": labels},
        measures=["nDCG@10"],
        baselines=["pretrained", "applicants"],
        clusters=None,
        facts={},
    )
    found = diagnostics.gain_parts(board, measure="nDCG@10")
    assert found["task"].tolist() == ["rank_resumes", "rank_jobs"]
    whole = found["stage1"] - found["pretrained"]
    np.testing.assert_allclose(found["by_applying"] + found["by_deciding"], whole)
    assert (found["by_deciding"].between(found["deciding_low"], found["deciding_high"])).all()


def test_trainings_of_one_system_are_set_apart(board):
    row = board.iloc[[0]].assign(measure="nDCG@10", low=0.2, high=0.4)
    again = pd.concat(
        [
            row.assign(system=name, value=value)
            for name, value in [("a", 0.3), ("a", 0.3), ("a@2", 0.5), ("a@3", 0.4), ("once", 0.9)]
        ]
    )  # a: two baselines
    apart = diagnostics.seed_variance(again, measure="nDCG@10").iloc[0]
    assert (apart["system"], apart["trainings"]) == ("a", 3)
    assert apart[["mean", "lowest", "highest", "queries"]].tolist() == pytest.approx(
        [0.4, 0.3, 0.5, 0.2]
    )
    assert diagnostics.seed_variance(board, measure="nDCG@10").empty


def test_headline_and_key_figures_rest_on_the_truth_in_whatever_order_the_rows_are(board):
    shuffled = board.sample(frac=1, random_state=1)
    for rows in (board, shuffled):
        assert lb.primary_judgments(rows) == "true_fit"
        sentence = lb.headline(rows, measure="RR")
        assert "Judged by who truly fits" in sentence and "not a verdict" in sentence
        figures = lb.key_figures(rows, measure="RR")
        assert figures["stage1.rank_resumes"] == 1.0 and len(figures) == 6
    assert lb.primary_judgments(board[board["judgments"] == "observed"]) == "observed"


def test_a_leaderboard_is_checked_before_it_is_written(board, tmp_path):
    lb.write_leaderboard(board, tmp_path / "board.csv")
    read = pd.read_csv(tmp_path / "board.csv")
    assert list(read) == list(board) and len(read) == len(board)
    with pytest.raises(pandera.errors.SchemaError):
        lb.write_leaderboard(board.assign(p_holm=2.0), tmp_path / "bad.csv")
    with pytest.raises(ValueError, match="twice"):
        lb.write_leaderboard(pd.concat([board, board]), tmp_path / "bad.csv")
    assert not (tmp_path / "bad.csv").exists()


def test_alignment_is_a_measure_of_the_board(corpus):
    preferences = pd.DataFrame(
        {
            "job_id": corpus.jobs["job_id"],
            "resume_a": corpus.resumes["resume_id"][:6],
            "resume_b": corpus.resumes["resume_id"][6],
            "preferred": "a",
        }
    )
    systems = {
        name: planted(corpus, right=right, seed=1)
        for name, right in (("pretrained", 0), ("stage1", 6))
    }
    rows = lb.alignment_rows(
        systems,
        corpus,
        {"top": preferences},
        baselines=["pretrained"],
        clusters=None,
        facts={"seed": 1},
    )
    own = rows[rows["system"] == "stage1"].iloc[0]
    assert own[["measure", "judgments", "task"]].tolist() == [
        "alignment, top",
        "judge",
        "rank_resumes",
    ]
    assert own["value"] == 1.0 and own["n"] == 6 and own["baseline"] == "pretrained"
    kept = pd.DataFrame(
        {"curve": ["sft", "dpo"], "against": ["dpo", "sft"], "ndcg": [0.4, 0.3], "to": [0.7, 0.7]}
    )
    rows = lb.frontier_rows(kept, {"seed": 1})
    assert rows["measure"].tolist() == ["nDCG@20 at equal alignment: dpo and sft"] * 2
    assert rows["system"].tolist() == ["sft", "dpo"]
    assert lb.frontier_rows(kept.head(0), {"seed": 1}).empty  # a run with one stage 2


def test_the_answer_of_the_diagnostics_has_figure_interval_and_places():
    row = {"system": "a", "hard": 0.5, "hard_low": 0.4, "hard_high": 0.6}
    row |= {"hard_place": 2, "random_place": 1, "task": "rank_jobs"}
    hard = pd.DataFrame([row, row | {"system": "b", "hard_place": 1}])
    sentence, metrics = diagnostics.answer(hard, system="a", measure="RR")
    assert "a reaches RR 0.500 [0.400, 0.600] when it ranks jobs (place 2 of 2" in sentence
    assert metrics == {"hard_place.rank_jobs": 2, "hard.rank_jobs": 0.5}


def test_a_corpus_of_one_task_is_searched_and_scored_in_that_one_alone(corpus, labels):
    one_way = Corpus(corpus.jobs, corpus.resumes, tasks=["rank_resumes"])
    hits = {"bm25": systems.bm25(one_way)} | systems.further(one_way, ["word_tf_idf", "random"])
    rankings = {name: one_way.rank(found, depth=4) for name, found in hits.items()}
    assert {tuple(by_task) for by_task in rankings.values()} == {("rank_resumes",)}
    board = lb.build_leaderboard(
        rankings,
        {"observed": labels},
        measures=["AP", "RR"],
        baselines=["bm25"],
        clusters=None,
        facts={},
    )
    assert set(board["task"]) == {"rank_resumes"}
    assert lb.key_figures(board, measure="AP")["bm25.rank_resumes"] == 1.0
    chance = board[board["system"].eq("random") & board["measure"].eq("AP")]
    assert chance["value"].iloc[0] < 0.9
    with pytest.raises(DataError, match="further system 'bert' is not one of bm25_words"):
        systems.further(one_way, ["bert"])


def test_chance_is_another_order_for_every_query_and_the_same_every_time(corpus):
    first, second = (
        corpus.rank(systems.further(corpus, ["random"])["random"])["rank_resumes"] for _ in range(2)
    )
    assert first.equals(second)
    assert first.groupby("query_id")["candidate_id"].agg(tuple).nunique() > 1


def test_published_figures_stand_beside_ours_by_the_first_measure():
    own = {"judgments": "observed", "task": "rank_resumes", "baseline": "bm25"}
    board = pd.DataFrame(
        [
            own | {"system": "bm25", "measure": "AP", "value": 0.2, "low": 0.1, "high": 0.3},
            own | {"system": "bm25", "measure": "RR", "value": 0.4, "low": 0.3, "high": 0.5},
            own | {"system": "stage1", "measure": "AP", "value": 0.6, "low": 0.5, "high": 0.7},
            own | {"system": "stage1", "measure": "RR", "value": 0.5, "low": 0.4, "high": 0.6},
        ]
    )
    published = pd.DataFrame(
        {
            "system": ["E5", "E5", "E5"],
            "task": "rank_resumes",
            "measure": ["AP", "RR", "P@5"],
            "value": [0.474, 0.674, 0.5],
        }
    )
    table = lb.beside_published(board, published, task="rank_resumes", measures=["AP", "RR"])
    assert table.to_numpy().tolist() == [
        ["stage1", "here", "0.600 [0.500, 0.700]", "0.500 [0.400, 0.600]"],
        ["E5", "published", "0.474", "0.674"],
        ["bm25", "here", "0.200 [0.100, 0.300]", "0.400 [0.300, 0.500]"],
    ]


def test_jobs_whose_text_is_a_resumes_are_left_out_whatever_their_capitals(corpus, labels):
    jobs = corpus.jobs.assign(text=["I DID alpha", *corpus.jobs["text"][1:]])
    tables = {"jobs": jobs, "resumes": corpus.resumes, "labels": labels}
    assert without_equal_texts(tables)["job_id"].tolist() == ["j1", "j2", "j3", "j4", "j5"]
