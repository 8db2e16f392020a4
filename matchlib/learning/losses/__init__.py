"""Losses as functions of embeddings or scores, and as modules for the trainer: one a file."""

from matchlib.learning.losses.confit import (
    ConFitLoss,
    KnownPositives,
    confit_loss,
    false_negatives,
    softmax_loss,
)
from matchlib.learning.losses.preference import (
    OBJECTIVES,
    Objective,
    PreferenceLoss,
    preference_loss,
)

__all__ = [
    "OBJECTIVES",
    "ConFitLoss",
    "KnownPositives",
    "Objective",
    "PreferenceLoss",
    "confit_loss",
    "false_negatives",
    "preference_loss",
    "softmax_loss",
]
