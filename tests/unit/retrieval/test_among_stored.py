"""A test job among all stored resumes: the figures by hand, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from matchlib.data.schema import DataError
from matchlib.retrieval.among_stored import score_among_stored
from matchlib.retrieval.corpus import Corpus
from matchlib.retrieval.shards import ShardedVectors, VectorSource, embed_shard, shard_name

VECTOR_OF = {
    "job a": [1.0, 0.0],
    "job b": [0.0, 1.0],
    "resume a": [0.8, 0.6],
    "resume b": [0.0, 1.0],
    "stranger": [1.0, 0.0],
}


class Lookup:
    """An encoder that knows five texts."""

    def encode_jobs(self, texts):
        return np.array([VECTOR_OF[text] for text in texts], dtype=np.float32)


@pytest.fixture
def vectors(tmp_path):
    """Two shards: both test resumes, and a stranger who is nearer to job a than resume a."""
    for number, texts in enumerate([["resume a", "resume b"], ["stranger"]]):
        documents = pd.DataFrame({"id": texts, "text": texts, "file": "r.csv", "line": 1})
        embed_shard(
            tmp_path / shard_name(number),
            documents,
            source=VectorSource("m", "k", "", "", "resumes"),
            encode=Lookup().encode_jobs,
            input_hash="",
        )
    return ShardedVectors.open(tmp_path, 2)


@pytest.fixture
def test_split():
    jobs = pd.DataFrame({"job_id": ["job a", "job b"], "text": ["job a", "job b"]})
    resumes = pd.DataFrame({"resume_id": ["resume a", "resume b"]})
    return Corpus(jobs, resumes)


@pytest.fixture
def ranking():
    """Each job finds its own resume first, among the two of the test."""
    return pd.DataFrame(
        {
            "query_id": ["job a", "job a", "job b", "job b"],
            "candidate_id": ["resume a", "resume b", "resume b", "resume a"],
            "rank": [1, 2, 1, 2],
        }
    )


def qrels(*pairs):
    return pd.DataFrame(pairs, columns=["query_id", "candidate_id"]).assign(label=1)


def test_a_nearer_stranger_takes_the_first_place(vectors, test_split, ranking):
    right = qrels(("job a", "resume a"), ("job b", "resume b"))
    scored = score_among_stored(
        test_split, ranking, Lookup(), vectors, right, measures=["RR", "R@1"]
    )
    values = scored.set_index(["among", "measure"])["value"]
    assert values["test", "RR"] == 1 and values["test", "R@1"] == 1
    assert values["all stored", "RR"] == 0.75 and values["all stored", "R@1"] == 0.5
    assert scored["candidates"].tolist() == [2, 3, 2, 3] and (scored["n"] == 2).all()


def test_a_resume_that_fits_and_is_not_stored_stops_it(vectors, test_split, ranking):
    wrong = qrels(("job a", "resume a"), ("job b", "resume z"))
    with pytest.raises(DataError, match="1 of 2 resumes .* first 'resume z'; embed the resumes"):
        score_among_stored(test_split, ranking, Lookup(), vectors, wrong, measures=["RR"])
