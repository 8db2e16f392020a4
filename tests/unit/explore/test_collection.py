"""One query's ranking is what the leaderboard's systems give for it, and what is wrong is told."""

import pandas as pd
import pytest

from matchlib.data.schema import TASKS, DataError
from matchlib.explore.collection import BM25, Collection, SearchSystem, open_collection
from matchlib.retrieval import systems
from matchlib.retrieval.corpus import Corpus
from matchlib.retrieval.encoder import Encoder


@pytest.fixture
def collection(small_tables, tiny_model_folder):
    corpus = Corpus.of_split(small_tables, "test")
    encoder = Encoder(str(tiny_model_folder), None, cache_dir=None)
    by_name = {BM25: SearchSystem(None, corpus), "tiny": SearchSystem(encoder, corpus)}
    return Collection(corpus, by_name, encoder)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("system", [BM25, "tiny"])
def test_a_query_is_ranked_as_the_leaderboard_does(collection, system, task):
    corpus = collection.corpus
    encoder = collection.phrase_encoder
    hits = systems.bm25(corpus) if system == BM25 else systems.dense(corpus, encoder)
    whole = corpus.rank(hits)[task]
    for query, expected in whole.groupby("query_id"):
        found = collection.rank(system, task, query)
        assert found["candidate_id"].tolist() == expected["candidate_id"].tolist()
        assert found["score"].to_numpy() == pytest.approx(expected["score"].to_numpy(), abs=1e-5)


def test_a_query_with_a_pool_is_ranked_within_it(collection):
    jobs, resumes = collection.corpus.jobs, collection.corpus.resumes
    job, own = jobs["job_id"].iloc[1], resumes["resume_id"].iloc[[2, 5]].tolist()
    pools = pd.DataFrame({"task": "rank_resumes", "query_id": job, "candidate_id": own})
    corpus = Corpus(jobs, resumes, pools)
    for name, system in collection.systems.items():
        pooled = Collection(corpus, {name: SearchSystem(system.encoder, corpus)}, system.encoder)
        assert set(pooled.rank(name, "rank_resumes", job)["candidate_id"]) == set(own)


def test_an_unknown_system_or_document_is_told(collection):
    with pytest.raises(DataError, match="system 'x', .*the systems are bm25, tiny"):
        collection.rank("x", "rank_resumes", "j")
    with pytest.raises(DataError, match="'nobody' is no document"):
        collection.rank(BM25, "rank_resumes", "nobody")


def test_files_that_were_left_out_are_counted(tmp_path, tiny_model_folder):
    (tmp_path / "resumes").mkdir()
    (tmp_path / "resumes" / "ann.txt").write_text("I bake bread.")
    (tmp_path / "resumes" / "bo.txt").write_text("")
    (tmp_path / "jobs.csv").write_text("job_id,text\nj1,A baker\n")
    found = open_collection(
        run="",
        jobs=str(tmp_path / "jobs.csv"),
        resumes=str(tmp_path / "resumes"),
        encoder=str(tiny_model_folder),
    )
    assert "resumes left out: 1; matchlib rank says why" in found.notes
    assert list(found.systems) == [BM25, str(tiny_model_folder)]
