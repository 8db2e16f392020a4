"""Polarity of a skill where a resume names it, by rules and by a trained model.

A linear model reads the packaged encoder's vectors of the skill's place: of its own tokens, which
attention has mixed with the words around them, after layers 2, 4 and 6, and of the whole context
after 4 and 6. The name of the skill is taken out first, so that it counts for nothing. In resumes
nearly all that is named is held: another polarity needs a probability of held below a threshold,
which is higher where the rules (`polarity`) find a trigger too.

train_polarity.py made the weights from polarity_sentences.csv; benchmarks/bench_polarity.py says
how good they are. English only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from matchlib.extraction.polarity import HELD, POLARITIES, polarity_of
from matchlib.retrieval.models import OFFLINE_MODEL, find_model, load_model

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

WEIGHTS = Path(__file__).parent / "polarity.npz"
REACH, REACH_CHARACTERS = 10, 120
"""Whole words, and characters, on either side that are read: a line of a PDF may hold a whole page,
and a word may be an address of any length."""
BY_ITSELF, BESIDE_RULES = 0.3, 0.75
"""Probabilities of held from which a place is held: where no rule and where a rule speaks against it.
At .5 some 5% of what real resumes hold would be taken for something else; they were chosen on
writers left out and on 60 resumes that are not in the repository (LOG.md)."""
STAND_IN = "Excel"
"""What stands in place of the skill, and is one token."""
TOKEN_LAYERS, CONTEXT_LAYERS = (2, 4, 6), (4, 6)
BATCH = 64
KEPT_AT_ONCE = 4_096
"""Contexts whose vectors are in memory, 31 MB."""
MAX_TOKENS = 256
"""No context has more."""

Place = tuple[str, int, int]
"""A statement, and where in it the skill begins and ends."""
_ITEM_END = re.compile(r"\t|\s{2,}|\s[•·▪●*]\s|\.\s")


def context_of(place: Place) -> Place:
    """The words around a skill, within its item or sentence and REACH, with STAND_IN for the skill."""
    statement, start, end = place
    before, after = statement[:start], statement[end:]
    for match in _ITEM_END.finditer(before):
        before = statement[match.end() : start]
    if match := _ITEM_END.search(after):
        after = after[: match.start()]
    if len(before) > REACH_CHARACTERS:
        before = re.sub(r"^\S+", "", before[-REACH_CHARACTERS:]).lstrip()
    if len(after) > REACH_CHARACTERS:
        after = re.sub(r"\S+$", "", after[:REACH_CHARACTERS]).rstrip()
    before_words = before.rsplit(maxsplit=REACH)
    if len(before_words) > REACH:
        before = before[len(before_words[0]) :].lstrip()
    after_words = after.split(maxsplit=REACH)
    if len(after_words) > REACH:
        after = after[: -len(after_words[-1])].rstrip()
    return before + STAND_IN + after, len(before), len(before) + len(STAND_IN)


def polarities_of(places: Sequence[Place]) -> list[str]:
    """HELD, DENIED, WANTED or UNKNOWN of each place. The encoder is loaded where words stand beside a
    skill."""
    contexts = [context_of(place) for place in places]
    to_read = [one for one in dict.fromkeys(contexts) if re.search(r"\w", _without_skill(one))]
    found = {}
    for first in range(0, len(to_read), KEPT_AT_ONCE):
        model = polarity_model()
        part = to_read[first : first + KEPT_AT_ONCE]
        probabilities = model.probabilities(place_vectors(model.encoder, part))
        by_rules = [polarity_of(*context) for context in part]
        found.update(zip(part, decide(probabilities, by_rules), strict=True))
    return [found.get(context, HELD) for context in contexts]


def decide(probabilities: np.ndarray, by_rules: Sequence[str]) -> list[str]:
    """The polarity of each row of probabilities (n, 4), in the order of POLARITIES, beside what the
    rules say: HELD from the threshold on, else the likeliest of the others."""
    thresholds = [BY_ITSELF if polarity == HELD else BESIDE_RULES for polarity in by_rules]
    others = 1 + probabilities[:, 1:].argmax(axis=1)
    chosen = np.where(probabilities[:, 0] >= thresholds, 0, others)
    return [POLARITIES[i] for i in chosen]


def _without_skill(context: Place) -> str:
    text, start, end = context
    return text[:start] + text[end:]


def place_vectors(model: SentenceTransformer, contexts: Sequence[Place]) -> np.ndarray:
    """(n, 5 x dim) float32 vectors of contexts of `context_of`, see the head of this module."""
    import torch

    tokenizer, transformer = model.tokenizer, model[0].auto_model
    vectors = np.empty((len(contexts), 5 * transformer.config.hidden_size), dtype=np.float32)
    by_length = np.argsort([len(text) for text, _, _ in contexts], kind="stable")
    for first in range(0, len(contexts), BATCH):
        rows = by_length[first : first + BATCH]
        inputs = tokenizer(
            [contexts[row][0] for row in rows],
            return_tensors="pt",
            padding=True,
            truncation=True,
            max_length=MAX_TOKENS,
            return_offsets_mapping=True,
        )
        offsets = inputs.pop("offset_mapping")
        with torch.inference_mode():
            layers = transformer(
                **inputs.to(transformer.device), output_hidden_states=True
            ).hidden_states
        is_text = inputs["attention_mask"].bool().cpu()
        starts = torch.tensor([contexts[row][1] for row in rows])[:, None]
        ends = torch.tensor([contexts[row][2] for row in rows])[:, None]
        is_skill = (offsets[..., 0] < ends) & (offsets[..., 1] > starts) & is_text
        parts = [_mean(layers[layer], is_skill) for layer in TOKEN_LAYERS]
        parts += [_mean(layers[layer], is_text) for layer in CONTEXT_LAYERS]
        vectors[rows] = torch.cat(parts, dim=1).float().numpy()
    return vectors


def _mean(states, mask):
    """(B, dim) of states (B, T, dim) over the tokens that the mask (B, T) names."""
    weights = mask[..., None].to(states.device, states.dtype)
    return ((states * weights).sum(1) / weights.sum(1)).cpu()


@dataclass(frozen=True)
class PolarityModel:
    """coefficients: (4, 5 x dim), intercepts: (4,), in the order of POLARITIES."""

    encoder: SentenceTransformer
    coefficients: np.ndarray
    intercepts: np.ndarray

    def probabilities(self, vectors: np.ndarray) -> np.ndarray:
        """(n, 4) of vectors (n, 5 x dim)."""
        logits = vectors @ self.coefficients.T + self.intercepts
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return exponentials / exponentials.sum(axis=1, keepdims=True)


@cache
def polarity_model() -> PolarityModel:
    """The packaged model, loaded once."""
    weights = np.load(WEIGHTS)
    return PolarityModel(
        load_model(find_model(OFFLINE_MODEL)),
        weights["coefficients"].astype(np.float32),
        weights["intercepts"],
    )
