"""The reader of polarity: the packaged encoder, tuned by low-rank adapters (LoRA, arXiv 2106.09685).

A linear layer reads the mean of the last states of the tokens that stand in the skill's place beside the
mean of all. train_polarity.py made the weights from polarity_sentences.csv.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, LoraModel
from safetensors.torch import load_file
from torch import nn

from matchlib.extraction.polarity import (
    POLARITIES,
    Place,
    context_of,
    decide,
    words_of,
)
from matchlib.retrieval.models import OFFLINE_MODEL, find_model, load_model

WEIGHTS = Path(__file__).parent / "polarity.safetensors"
RANK = 8
TUNED = r".*layer\.\d+\..*\.(query|key|value|dense)"
BATCH = 64
MAX_TOKENS = 512
"""As many as the encoder reads. A context has 250 characters, and a Korean character up to three tokens."""
DROPOUT = 0.1
"""Of what the linear layer reads, while it is trained."""
_SURELY_HELD = (1.0, 0.0, 0.0, 0.0)


def polarities_of(places: Sequence[Place]) -> list[str]:
    """HELD, DENIED, WANTED or UNKNOWN of each place. The model is loaded where words stand beside a
    skill."""
    return decide(_probabilities([context_of(place) for place in places]))


def polarities_of_statements(statements: Sequence[str]) -> list[str]:
    """The polarity of statements that say a skill in words that the graph lacks: by the mean of the
    probabilities of their two longest words, each as if it were the skill."""
    contexts = []
    for statement in statements:
        words = words_of(statement) or [(statement, 0, len(statement))]
        words.sort(key=lambda place: place[1] - place[2])
        contexts += [context_of(words[0]), context_of(words[:2][-1])]
    return decide(
        _probabilities(contexts).reshape(len(statements), 2, len(POLARITIES)).mean(axis=1)
    )


def _probabilities(contexts: Sequence[Place]) -> np.ndarray:
    """(n, 4) of contexts, in the order of POLARITIES; a skill alone is held."""
    to_read = [one for one in dict.fromkeys(contexts) if _has_words_beside_skill(one)]
    found = {}
    if to_read:
        found = dict(zip(to_read, polarity_reader().probabilities(to_read), strict=True))
    rows = [found.get(context, _SURELY_HELD) for context in contexts]
    return np.array(rows).reshape(len(contexts), len(POLARITIES))


def _has_words_beside_skill(context: Place) -> bool:
    text, start, end = context
    return bool(re.search(r"\w", text[:start] + text[end:]))


class PolarityReader(nn.Module):
    """The packaged encoder with adapters, and a linear layer on two means of its last states."""

    def __init__(self) -> None:
        super().__init__()
        model = load_model(find_model(OFFLINE_MODEL))
        config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=TUNED)
        self.tokenizer = model.tokenizer
        self.encoder = LoraModel(model[0].auto_model, {"default": config}, "default")
        self.dropout = nn.Dropout(DROPOUT)
        self.head = nn.Linear(2 * model[0].auto_model.config.hidden_size, len(POLARITIES))
        self.to(model.device)

    def forward(self, contexts: Sequence[Place]) -> torch.Tensor:
        """(n, 4) logits, in the order of POLARITIES, of contexts of `context_of`."""
        inputs = self.tokenizer(
            [text for text, _, _ in contexts],
            return_tensors="pt",
            padding=True,
            truncation=True,
            max_length=MAX_TOKENS,
            return_offsets_mapping=True,
        )
        offsets = inputs.pop("offset_mapping")
        starts = torch.tensor([start for _, start, _ in contexts])[:, None]
        ends = torch.tensor([end for _, _, end in contexts])[:, None]
        is_text = inputs["attention_mask"].bool()
        is_skill = (offsets[..., 0] < ends) & (offsets[..., 1] > starts) & is_text
        states = self.encoder(**inputs.to(self.head.weight.device)).last_hidden_state
        means = torch.cat([_mean(states, is_skill), _mean(states, is_text)], dim=1)
        return self.head(self.dropout(means))

    @torch.inference_mode()
    def probabilities(self, contexts: Sequence[Place]) -> np.ndarray:
        """(n, 4) of contexts of `context_of`."""
        self.eval()
        found = np.empty((len(contexts), len(POLARITIES)))
        by_length = np.argsort([len(text) for text, _, _ in contexts], kind="stable")
        for first in range(0, len(contexts), BATCH):
            rows = by_length[first : first + BATCH]
            logits = self([contexts[row] for row in rows])
            found[rows] = logits.softmax(dim=1).float().cpu().numpy()
        return found

    def tuned_weights(self) -> dict[str, torch.Tensor]:
        """What training changes, by name."""
        return {name: one for name, one in self.named_parameters() if one.requires_grad}


def _mean(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(B, dim) of states (B, T, dim) over the tokens that the mask (B, T) names."""
    weights = mask[..., None].to(states.device, states.dtype)
    return (states * weights).sum(1) / weights.sum(1)


@cache
def polarity_reader() -> PolarityReader:
    """The packaged reader, loaded once, its adapters merged into the encoder."""
    with torch.random.fork_rng():  # what else is drawn does not depend on when this is loaded
        reader = PolarityReader()
    load_weights(reader, WEIGHTS)
    reader.encoder = reader.encoder.merge_and_unload()
    return reader.eval()


def load_weights(reader: PolarityReader, path: Path) -> None:
    """Fill in what training changes. Raises ValueError where the file holds more, or less."""
    weights = load_file(path)
    if differing := sorted(weights.keys() ^ reader.tuned_weights().keys()):
        raise ValueError(f"{path} holds the weights of another model: {', '.join(differing[:5])}")
    reader.load_state_dict(weights, strict=False)
