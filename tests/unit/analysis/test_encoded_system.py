"""A system ranks resumes by its own vectors, by others, or by other texts."""

import numpy as np
import pandas as pd
import pytest

from matchlib.analysis.encoded_system import EncodedSystem
from matchlib.retrieval.corpus import Corpus

VECTORS = {"north": [1.0, 0.0], "east": [0.0, 1.0]}


class DirectionEncoder:
    """An encoder that knows two texts."""

    def encode_jobs(self, texts):
        return np.array([VECTORS[text] for text in texts], dtype=np.float32)

    encode_resumes = encode_jobs


@pytest.fixture
def system():
    jobs = pd.DataFrame({"job_id": ["j"], "text": ["north"]})
    resumes = pd.DataFrame({"resume_id": ["n", "e"], "text": ["north", "east"]})
    return EncodedSystem.encode(DirectionEncoder(), Corpus(jobs, resumes))


def test_resumes_are_ranked_by_their_vectors(system):
    assert system.rank_resumes()["candidate_id"].tolist() == ["n", "e"]


def test_other_vectors_and_texts_rank_otherwise(system):
    swapped = system.rank_texts(["east", "north"])
    assert swapped["candidate_id"].tolist() == ["e", "n"]
    reversed_vectors = system.rank_resumes(system.resume_vectors[::-1])
    pd.testing.assert_frame_equal(reversed_vectors, swapped)


def test_scores_are_inner_products_with_every_job(system):
    assert system.score_resumes().tolist() == [[1.0, 0.0]]
    assert system.score_texts(["east", "north", "east"]).tolist() == [[0.0, 1.0, 0.0]]
