"""A system to audit: an encoder with the vectors of one split, and the rankings of resumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from matchlib.retrieval.corpus import Corpus
from matchlib.retrieval.encoder import Encoder
from matchlib.retrieval.search import search_dense


@dataclass(frozen=True)
class EncodedSystem:
    """An encoder and the vectors of a corpus's documents.

    corpus: the documents as the encoder sees them; job_vectors: (J, D); resume_vectors: (R, D).
    """

    encoder: Encoder
    corpus: Corpus
    job_vectors: np.ndarray
    resume_vectors: np.ndarray

    @classmethod
    def encode(cls, encoder: Encoder, corpus: Corpus) -> EncodedSystem:
        """The system of an encoder, its vectors computed."""
        return cls(
            encoder=encoder,
            corpus=corpus,
            job_vectors=encoder.encode_jobs(list(corpus.jobs["text"])),
            resume_vectors=encoder.encode_resumes(list(corpus.resumes["text"])),
        )

    def rank_resumes(self, resume_vectors: np.ndarray | None = None) -> pd.DataFrame:
        """The ranking of resumes for each job; resume_vectors: (R, D) in place of the system's."""
        if resume_vectors is None:
            resume_vectors = self.resume_vectors
        pools = self.corpus.pool("rank_resumes")
        hits = search_dense(self.job_vectors, resume_vectors, pools=pools)
        return self.corpus.rank({"rank_resumes": hits})["rank_resumes"]

    def rank_texts(self, resume_texts: Sequence[str]) -> pd.DataFrame:
        """The ranking of resumes with other texts, in the order of the corpus."""
        return self.rank_resumes(self.encoder.encode_resumes(list(resume_texts)))

    def score_texts(self, resume_texts: Sequence[str]) -> np.ndarray:
        """(J, n) scores of n other texts for every job."""
        return self.job_vectors @ self.encoder.encode_resumes(list(resume_texts)).T

    def score_resumes(self) -> np.ndarray:
        """(J, R) scores of every resume for every job, dense: for a test split, not for a corpus."""
        return self.job_vectors @ self.resume_vectors.T
