"""Validation during training: what every evaluator of an encoder shares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator

from matchlib.retrieval.encoder import embed


class TwoSidedEvaluator(SentenceEvaluator):
    """Embeds the validation jobs and resumes, each behind its prompt, and measures the embeddings.

    A subclass sets `primary_metric`, by which checkpoints are chosen, and gives `measure`.
    """

    def __init__(
        self,
        job_texts: Sequence[str],
        resume_texts: Sequence[str],
        *,
        job_prompt: str = "",
        resume_prompt: str = "",
    ):
        super().__init__()
        self.job_inputs = [job_prompt + text for text in job_texts]
        self.resume_inputs = [resume_prompt + text for text in resume_texts]

    def __call__(
        self,
        model: SentenceTransformer,
        output_path: str | None = None,
        epoch: float = -1,
        steps: int = -1,
    ) -> dict[str, float]:
        """The measures of the model as it is now, by name; the trainer gives the other arguments."""
        return self.measure(embed(model, self.job_inputs), embed(model, self.resume_inputs))

    def measure(self, job_vectors: np.ndarray, resume_vectors: np.ndarray) -> dict[str, float]:
        """Measures by name. job_vectors (J, dim), resume_vectors (R, dim): unit length."""
        raise NotImplementedError
