"""A causal model on the tokens in use: most of a small model's work is a vocabulary of which a task
needs a few thousand tokens.

`trim_vocabulary` keeps the rows of these tokens in the embeddings and makes a tokenizer of them, so
that whatever trains, samples or scores sees a plain model with a small vocabulary. `restore` writes
the rows back into the full matrix, and the model has its original tokenizer again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from matchlib.retrieval.models import EncoderError

SPECIAL_IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
N_CHECKED = 64
"""Tokens of the first text on which a trimmed model is compared with the full one."""
LARGEST_DIFFERENCE = {torch.float32: 1e-3, torch.bfloat16: 0.25, torch.float16: 0.05}
"""Of scores of next tokens, relative to the largest; more than rounding means another model."""


@dataclass
class TrimmedVocabulary:
    """What was taken from a model, to be given back by `restore`.

    tokenizer: of the kept tokens; kept: (n,) their ids in the full vocabulary, ascending: a token's
    new id is its position here.
    """

    tokenizer: PreTrainedTokenizerBase
    kept: torch.Tensor
    _model: PreTrainedModel
    _weights: list[_Weights]
    _settings: list[tuple[object, str, object]]

    def new_ids(self, old_ids: Sequence[int]) -> list[int]:
        """Ids in the trimmed vocabulary. Raises KeyError for a token that was not kept."""
        new_of_old = {old: new for new, old in enumerate(self.kept.tolist())}
        return [new_of_old[old] for old in old_ids]

    def old_ids(self, new_ids: Sequence[int]) -> list[int]:
        """Ids in the full vocabulary."""
        return self.kept[list(new_ids)].tolist()

    @torch.no_grad()
    def restore(self) -> None:
        """Give the model its full vocabulary back, with the kept rows as they are now and all other
        rows as they were."""
        for part in self._weights:
            trained = getattr(part.layer, part.name)
            full = part.full
            full[self.kept.to(full.device)] = trained.detach().to(full.device, full.dtype)
            _replace(part.layer, part.name, full.to(trained.device), trained.requires_grad)
        _tie(self._model)
        _set_sizes(self._model, len(self._weights[0].full))
        for holder, name, value in self._settings:
            setattr(holder, name, value)


@dataclass
class _Weights:
    """A matrix or a vector with one row a token: an attribute of a layer."""

    layer: torch.nn.Module
    name: str
    full: torch.Tensor


def trim_vocabulary(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
) -> TrimmedVocabulary:
    """Cut the model's vocabulary, in place, down to the tokens of `texts`, all special tokens, and
    single characters or bytes, by which any other text can still be written.

    Where characters can be written as bytes, only those of Latin-1 are kept beside them. The texts
    have the same tokens as before; other texts have more. Raises EncoderError for a tokenizer or a
    model that is built in a way not known here; the model is then as it was.
    """
    spec = _specification(tokenizer)
    kept = _tokens_to_keep(tokenizer, spec, texts)
    small = _small_tokenizer(tokenizer, spec, kept)
    taken = TrimmedVocabulary(small, torch.tensor(kept), model, [], [])
    _check_tokens(tokenizer, taken, texts)
    before = _next_token_scores(model, tokenizer(texts[0])["input_ids"])
    _cut(taken)
    after = _next_token_scores(model, small(texts[0])["input_ids"])
    difference = (after - before[:, taken.kept]).abs().max() / before.abs().max()
    if not difference <= LARGEST_DIFFERENCE.get(model.dtype, 1e-3):
        taken.restore()
        raise EncoderError(
            f"{type(model).__name__} on fewer tokens gives scores that differ by a share of {difference:.2g}: it "
            f"uses its vocabulary in a way that is not known here; train it with the full vocabulary"
        )
    return taken


def _specification(tokenizer: PreTrainedTokenizerBase) -> dict:
    if not tokenizer.is_fast:
        raise EncoderError(
            f"{type(tokenizer).__name__} is no tokenizer of the tokenizers library, whose vocabulary "
            f"can be cut; train with the full vocabulary"
        )
    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    if spec["model"]["type"] not in ("BPE", "WordLevel", "Unigram"):
        raise EncoderError(
            f"a tokenizer of the type {spec['model']['type']} is not known here; train with the full "
            f"vocabulary"
        )
    return spec


def _tokens_to_keep(
    tokenizer: PreTrainedTokenizerBase, spec: Mapping, texts: Sequence[str]
) -> list[int]:
    vocabulary = tokenizer.get_vocab()
    kept = {*tokenizer.all_special_ids}
    for text in texts:
        kept.update(tokenizer(text)["input_ids"])
    kept.update(vocabulary[token] for token in _named_tokens(spec) if token in vocabulary)
    has_bytes = bool(spec["model"].get("byte_fallback"))
    for token, number in vocabulary.items():
        is_byte = len(token) == 6 and token.startswith("<0x")
        is_character = len(token) == 1 and (not has_bytes or ord(token) < 256)
        if is_byte or is_character:
            kept.add(number)
    if spec["model"]["type"] == "BPE":
        text_of_id = {number: token for token, number in vocabulary.items()}
        merges = _Merges(spec["model"]["merges"])
        for token in [text_of_id[number] for number in kept]:
            kept.update(vocabulary[part] for part in merges.parts(token) if part in vocabulary)
    return sorted(kept)


def _named_tokens(spec: Mapping) -> list[str]:
    """Tokens that the parts of a tokenizer name: the unknown token, and those around every text."""
    named = [spec["model"].get("unk_token")]
    for part in _parts(spec["post_processor"]):
        for token in (part.get("special_tokens") or {}).values():
            named += token["tokens"]
    return [token for token in named if token]


def _parts(part: dict | None) -> Iterable[dict]:
    """A component of a tokenizer, or those of a sequence of them."""
    if part is None:
        return []
    return part["processors"] if part["type"] == "Sequence" else [part]


class _Merges:
    """Byte-pair merges by their rank; parts: what a token is made of on the way."""

    def __init__(self, merges: list):
        self.pairs = [tuple(pair.split(" ") if isinstance(pair, str) else pair) for pair in merges]
        self.rank = {pair: rank for rank, pair in enumerate(self.pairs)}

    def parts(self, token: str) -> set[str]:
        """The characters of a token and every token that its merges make from them.

        Inside a text the merges of a token are the same, because no pair across its border merged.
        """
        symbols = list(token)
        found = set(symbols)
        while len(symbols) > 1:
            pairs = list(zip(symbols[:-1], symbols[1:], strict=True))
            ranks = [self.rank.get(pair, len(self.rank)) for pair in pairs]
            lowest = min(ranks)
            if lowest == len(self.rank):
                break
            place = ranks.index(lowest)
            symbols[place : place + 2] = ["".join(pairs[place])]
            found.add(symbols[place])
        return found


def _small_tokenizer(
    tokenizer: PreTrainedTokenizerBase, spec: Mapping, kept: Sequence[int]
) -> PreTrainedTokenizerFast:
    new_of_old = {old: new for new, old in enumerate(kept)}
    model = spec["model"]
    if model["type"] == "Unigram":
        small_model = {"vocab": [model["vocab"][old] for old in kept if old < len(model["vocab"])]}
        if model["unk_id"] is not None:
            small_model["unk_id"] = new_of_old[model["unk_id"]]
    else:
        vocabulary = {
            token: new_of_old[old] for token, old in model["vocab"].items() if old in new_of_old
        }
        small_model = {"vocab": vocabulary}
    if model["type"] == "BPE":
        merges = []
        for pair in _Merges(model["merges"]).pairs:
            if {*pair, "".join(pair)} <= vocabulary.keys():
                merges.append(pair)
        small_model["merges"] = merges
    added = [
        token | {"id": new_of_old[token["id"]]}
        for token in spec["added_tokens"]
        if token["id"] in new_of_old
    ]
    small = {**spec, "model": {**model, **small_model}, "added_tokens": added}
    small["post_processor"] = _renumbered(spec["post_processor"], new_of_old)
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(small)),
        chat_template=tokenizer.chat_template,
        padding_side=tokenizer.padding_side,
        model_max_length=tokenizer.model_max_length,
        clean_up_tokenization_spaces=False,
        **tokenizer.special_tokens_map,
    )


def _renumbered(processor: dict | None, new_of_old: Mapping[int, int]) -> dict | None:
    """A post-processor that puts special tokens around a text, with their new ids."""
    renumbered = json.loads(json.dumps(processor))
    for part in _parts(renumbered):
        if part["type"] not in ("TemplateProcessing", "ByteLevel"):
            raise EncoderError(
                f"a tokenizer that ends with {part['type']} is not known here; train with the full "
                f"vocabulary"
            )
        for token in (part.get("special_tokens") or {}).values():
            token["ids"] = [new_of_old[old] for old in token["ids"]]
    return renumbered


def _check_tokens(
    tokenizer: PreTrainedTokenizerBase, taken: TrimmedVocabulary, texts: Sequence[str]
) -> None:
    for text in texts:
        if taken.old_ids(taken.tokenizer(text)["input_ids"]) != tokenizer(text)["input_ids"]:
            raise EncoderError(
                f"a tokenizer of the tokens in use cuts a text in another way than "
                f"{type(tokenizer).__name__}; train with the full vocabulary. The text begins with "
                f"{text[:60]!r}"
            )


@torch.no_grad()
def _next_token_scores(model: PreTrainedModel, ids: Sequence[int]) -> torch.Tensor:
    was_training = model.training
    model.eval()
    scores = model(torch.tensor([ids[:N_CHECKED]], device=model.device)).logits[0]
    model.train(was_training)
    return scores.float().cpu()


@torch.no_grad()
def _cut(taken: TrimmedVocabulary) -> None:
    model = taken._model
    embeddings = model.get_input_embeddings()
    head = model.get_output_embeddings()
    is_tied = head.weight is embeddings.weight
    layers = [(embeddings, "weight")]
    if not is_tied:
        layers.append((head, "weight"))
    if getattr(head, "bias", None) is not None:
        layers.append((head, "bias"))
    for layer, name in layers:
        full = getattr(layer, name)
        rows = full.detach()[taken.kept.to(full.device)]
        taken._weights.append(_Weights(layer, name, full.detach()))
        _replace(layer, name, rows, full.requires_grad)
    _tie(model)
    _set_sizes(model, len(taken.kept))
    for holder in _id_holders(model):
        for name in SPECIAL_IDS:
            old = getattr(holder, name, None)
            if old is None:
                continue
            taken._settings.append((holder, name, old))
            as_list = old if isinstance(old, list) else [old]
            new = taken.new_ids([number for number in as_list if number in taken.kept])
            setattr(holder, name, new if isinstance(old, list) else next(iter(new), None))
    # PEFT compares the vocabulary with that under this name, and would save the embeddings each time
    for holder, name in ((model.config, "_name_or_path"), (model, "name_or_path")):
        taken._settings.append((holder, name, getattr(holder, name)))
        setattr(holder, name, "")
    if (padding := getattr(embeddings, "padding_idx", None)) is not None:
        taken._settings.append((embeddings, "padding_idx", padding))
        embeddings.padding_idx = next(iter(taken.new_ids([padding])), None)


def _id_holders(model: PreTrainedModel) -> list[object]:
    """The configurations that name tokens by their ids, each once."""
    holders = [model.config, model.config.get_text_config(), model.generation_config]
    return list({id(holder): holder for holder in holders if holder is not None}.values())


def _replace(layer: torch.nn.Module, name: str, rows: torch.Tensor, requires_grad: bool) -> None:
    setattr(layer, name, torch.nn.Parameter(rows, requires_grad=requires_grad))


def _tie(model: PreTrainedModel) -> None:
    """Let the output layer share the input's matrix again, where the model ties them."""
    if model.config.get_text_config().tie_word_embeddings:
        model.get_output_embeddings().weight = model.get_input_embeddings().weight


def _set_sizes(model: PreTrainedModel, n_tokens: int) -> None:
    model.get_input_embeddings().num_embeddings = n_tokens
    model.get_output_embeddings().out_features = n_tokens
    for config in (model.config, model.config.get_text_config()):
        if hasattr(config, "vocab_size"):
            config.vocab_size = n_tokens
    if hasattr(model, "vocab_size"):
        model.vocab_size = n_tokens
