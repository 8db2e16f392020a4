"""Hard negatives by name: what each miner returns, how false they are, and how they become training rows."""

import numpy as np
import pandas as pd
import pytest

from matchlib.data.schema import DataError
from matchlib.learning.negatives import (
    MINERS,
    Band,
    Direction,
    check_vectors,
    directions,
    false_negatives,
    mine,
    mine_stored,
)
from matchlib.learning.pairs import build_pairs
from matchlib.retrieval.encoder import Encoder
from matchlib.retrieval.shards import ShardedVectors, VectorSource, embed_shard, shard_name


@pytest.fixture(scope="module")
def train(small_tables):
    return {name: frame[frame["split"] == "train"] for name, frame in small_tables.items()}


@pytest.fixture(scope="module")
def part(train, tiny_model_folder):
    return directions(train, Encoder(str(tiny_model_folder), cache_dir=None))


def pairs_of(mined):
    """(job_id, resume_id) of a table of mined negatives."""
    turned = mined["task"] == "rank_jobs"
    return set(
        zip(
            mined["query_id"].mask(turned, mined["candidate_id"]),
            mined["candidate_id"].mask(turned, mined["query_id"]),
            strict=True,
        )
    )


@pytest.mark.parametrize("miner", MINERS)
def test_every_miner_gives_the_one_table_without_known_positives(part, train, miner):
    mined = mine(part, miner, band=Band(0.1, 0.3), n=3)
    assert list(mined) == [
        "query_id",
        "candidate_id",
        "task",
        "score",
        "rank",
        "percentile",
        "miner",
    ]
    assert (
        set(mined["task"]) == {"rank_resumes", "rank_jobs"}
        and mined["percentile"].between(0, 1).all()
    )
    accepted = train["labels"][train["labels"]["label"] == 1]
    assert not pairs_of(mined) & set(zip(accepted["job_id"], accepted["resume_id"], strict=True))
    assert mined["query_id"].isin([*train["labels"]["job_id"], *train["labels"]["resume_id"]]).all()
    if miner == "rejected":
        rejected = train["labels"][train["labels"]["label"] == 0]
        assert pairs_of(mined) == set(zip(rejected["job_id"], rejected["resume_id"], strict=True))
    if miner == "runner_ups":
        assert mined["percentile"].between(0.1, 0.33).all() and set(mined["miner"]) == {
            "runner_ups 10-30%"
        }
    pd.testing.assert_frame_equal(mined, mine(part, miner, band=Band(0.1, 0.3), n=3))


def test_false_negatives_are_counted_by_hand():
    vectors = {"j1": [1, 0], "j2": [0, 1], "r1": [0.6, 0.8], "r2": [0.8, 0.6]}
    part = [
        Direction(
            task,
            asking,
            asked,
            [],
            [],
            np.array([vectors[i] for i in asking]),
            np.array([vectors[i] for i in asked]),
            [],
            np.empty((0, 2), int),
        )
        for task, asking, asked in (
            ("rank_resumes", ["j1", "j2"], ["r1", "r2"]),
            ("rank_jobs", ["r1", "r2"], ["j1", "j2"]),
        )
    ]
    mined = pd.DataFrame(
        {
            "query_id": ["j1", "j1", "r1", "r2"],
            "candidate_id": ["r1", "r2", "j1", "j1"],
            "task": ["rank_resumes"] * 2 + ["rank_jobs"] * 2,
            "score": [9.0, 7.0, 5.0, 3.0],
            "rank": 1,
            "percentile": 0.1,
            "miner": "m",
        }
    )
    truth = pd.DataFrame({"job_id": ["j1", "j1", "j2"], "resume_id": ["r1", "r9", "r2"]})
    found = false_negatives(mined, truth, part).set_index("task")
    assert found["false_share"].to_dict() == {"rank_resumes": 0.5, "rank_jobs": 0.5}
    assert found["cosine"].tolist() == pytest.approx([0.7, 0.7])
    assert (found["low"] > 0).all() and (found["high"] < 1).all()


def test_a_broken_embedding_is_named_by_its_document():
    vectors = np.ones((3, 4), dtype=np.float32)
    with pytest.raises(
        DataError, match="3 embeddings of length 4 for 3 documents and length 5; clear the cache"
    ):
        check_vectors(vectors, ["a", "b", "c"], dim=5)
    vectors[1, 2] = np.inf
    with pytest.raises(DataError, match="the embedding of 'b' is not finite"):
        check_vectors(vectors, ["a", "b", "c"])


def test_an_encoder_that_gives_other_lengths_for_resumes_is_stopped(train):
    class Uneven:
        def encode_jobs(self, texts):
            return np.ones((len(texts), 4), dtype=np.float32)

        def encode_resumes(self, texts):
            return np.ones((len(texts), 5), dtype=np.float32)

    with pytest.raises(
        DataError, match=r"embeddings of length 5 for \d+ documents and length 4; clear the cache"
    ):
        directions(train, Uneven())


def test_mined_negatives_replace_the_rejected_ones_for_the_side_that_asked(train, part):
    mined = mine(part, "runner_ups", band=Band(0.1, 0.3), n=3)
    jobs, resumes, labels = train["jobs"], train["resumes"], train["labels"]
    pairs = build_pairs(jobs, resumes, labels, seed=0, mined=mined)
    text = {**jobs.set_index("job_id")["text"], **resumes.set_index("resume_id")["text"]}
    allowed = {
        task: {
            (text[q], text[c]) for q, c in zip(rows["query_id"], rows["candidate_id"], strict=True)
        }
        for task, rows in mined.groupby("task")
    }
    drawn = 0
    for job, resume, hard_job, hard_resume in pairs.rows:
        if hard_resume >= 0:
            assert (pairs.job_texts[job], pairs.resume_texts[hard_resume]) in allowed[
                "rank_resumes"
            ]
        if hard_job >= 0:
            assert (pairs.resume_texts[resume], pairs.job_texts[hard_job]) in allowed["rank_jobs"]
        drawn += int(hard_resume >= 0) + int(hard_job >= 0)
    assert drawn == 2 * len(pairs.rows)  # every labelled document was asked
    rejected = build_pairs(jobs, resumes, labels, seed=0)
    assert (
        np.array_equal(rejected.positives.shape, pairs.positives.shape)
        and (rejected.rows[:, 2:] == -1).any()
    )


def test_a_mined_pair_that_is_accepted_is_never_a_hard_negative(train):
    labels = train["labels"]
    accepted = labels[labels["label"] == 1]
    mined = pd.DataFrame(
        {
            "query_id": accepted["job_id"],
            "candidate_id": accepted["resume_id"],
            "task": "rank_resumes",
        }
    )
    pairs = build_pairs(train["jobs"], train["resumes"], labels, seed=0, mined=mined)
    assert (pairs.rows[:, 2:] == -1).all()


def test_an_unknown_miner_is_refused(part):
    with pytest.raises(DataError, match="miner 'best' is not one of runner_ups, "):
        mine(part, "best")


@pytest.fixture
def stored(tmp_path, small_tables, tiny_model_folder):
    """All resumes of the market, and a copy of each under another id and file, in two shards."""
    encoder = Encoder(str(tiny_model_folder), cache_dir=None)
    resumes = small_tables["resumes"].reset_index(drop=True)
    for number, prefix in enumerate(["", "copy of "]):
        documents = pd.DataFrame(
            {
                "id": prefix + resumes["resume_id"],
                "text": resumes["text"],
                "file": "r.csv",
                "line": 1,
            }
        )
        embed_shard(
            tmp_path / shard_name(number),
            documents,
            source=VectorSource.of(encoder, "resumes"),
            encode=encoder.encode_resumes,
            input_hash="",
        )
    return ShardedVectors.open(tmp_path, 2)


def test_negatives_of_a_stored_corpus_are_training_resumes_of_the_band_and_fit_no_job(
    part, stored, small_tables, train
):
    resumes = small_tables["resumes"].reset_index(drop=True)
    how = {"miner": "sampled_runner_ups", "band": Band(0.2, 0.6), "n": 8}
    mined, documents = mine_stored(part[0], stored, resumes, **how)
    assert list(mined.columns) == list(mine(part, "random").columns)
    assert set(mined["query_id"]) == set(part[0].query_ids)
    own = mined["candidate_id"].str.removeprefix("copy of ")
    assert mined["candidate_id"].str.startswith("copy").any()
    split_of = resumes.set_index("resume_id")["split"]
    assert (own.map(split_of) == "train").all()
    accepted = train["labels"].query("label == 1")
    pairs = set(zip(accepted["job_id"], accepted["resume_id"], strict=True))
    assert not pairs & set(zip(mined["query_id"], own, strict=True))
    assert set(documents["id"]) == set(mined["candidate_id"])
    assert mined["percentile"].between(0.2, 0.6).all()
    # the scores are those of the very candidates that are named
    query = dict(zip(part[0].query_ids, part[0].query_vectors, strict=True))
    candidate = dict(zip(part[0].candidate_ids, part[0].candidate_vectors, strict=True))
    cosines = [
        query[row.query_id] @ candidate[name]
        for row, name in zip(mined.itertuples(), own, strict=True)
    ]
    np.testing.assert_allclose(mined["score"], cosines, atol=1e-3)


def test_stored_negatives_need_a_miner_that_samples_and_ids_of_one_text(part, stored, small_tables):
    resumes = small_tables["resumes"].reset_index(drop=True)
    with pytest.raises(DataError, match="miner 'bm25' looks at every candidate"):
        mine_stored(part[0], stored, resumes, miner="bm25")
    resumes.loc[0, "text"] = "another text"
    with pytest.raises(DataError, match="1 stored resumes have an id of the tables and another"):
        mine_stored(part[0], stored, resumes, miner="sampled_runner_ups")
