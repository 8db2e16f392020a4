"""What the losses share: batches addressed by the name of a column, and vectors of documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Labels = Mapping[str, Mapping[str, Tensor]]
"""What `pairs.PairCollator` says of a batch: {"place": {column: (B,)}, "number": {column: (B,)}},
-1 for none."""


def in_every_row(labels: Labels, name: str, *, what: str = "place") -> Tensor:
    """(B,) the places (or the numbers) of a column that every row must have. Raises ValueError if a
    row has none."""
    column = labels[what][name]
    missing = int((column < 0).sum())
    if missing:
        raise ValueError(
            f"{missing} of the batch's {len(column)} rows have no {name} (-1), which the loss reads in "
            f"every row; only hard negatives may be dropped, so build the pairs with a {name} in each"
        )
    return column


def embed_chunks(model: nn.Module, sentence_features: Sequence[dict[str, Tensor]]) -> Tensor:
    """(n, dim) unit vectors of all documents of a batch, which come in chunks of similar length."""
    vectors = [model(chunk)["sentence_embedding"] for chunk in sentence_features]
    return F.normalize(torch.cat(vectors), dim=-1)


def require_finite(loss: Tensor) -> None:
    """Raise FloatingPointError if the loss diverged."""
    if not torch.isfinite(loss):
        raise FloatingPointError(
            "the loss is not finite; lower the learning rate, or look for broken weights"
        )
