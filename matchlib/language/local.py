"""A causal model of transformers that runs here: batched, with its chat template and perhaps a PEFT
adapter."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from matchlib.language.llm import (
    Answer,
    Keep,
    LanguageModelError,
    Prompt,
    Sampling,
)
from matchlib.retrieval.model_files import AGAIN, check_adapter
from matchlib.retrieval.models import (
    CHECK_SENTENCES,
    EncoderError,
    check_tokenizer,
    find_model,
    hash_model,
    whole_weights,
)


class Local:
    """A causal language model by folder or hub id.

    adapter: folder of a PEFT adapter to load on the model; device: "" picks a GPU where there is
    one. Prompts longer than the model reads are refused, not cut. With temperature above 0 an
    answer depends on its batch too, because the draws of a batch come from one seed.
    Raises EncoderError for a model or an adapter that cannot be found, needs remote code, holds
    pickles or is not whole.
    """

    def __init__(
        self,
        name: str,
        *,
        revision: str | None = None,
        adapter: str | None = None,
        device: str = "",
        precision: str = "auto",
        batch_size: int = 8,
    ):
        self.name = name
        self.adapter = adapter
        self.device = device
        self.precision = precision
        self.batch_size = batch_size
        self.folder = find_model(name, revision=revision)
        if adapter:
            check_adapter(Path(adapter))

    @cached_property
    def key(self) -> str:
        """Hash of the weights, and of the adapter's."""
        return hash_model(self.folder) + (hash_model(Path(self.adapter)) if self.adapter else "")

    @cached_property
    def _loaded(self):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        with whole_weights(self.folder):
            tokenizer = AutoTokenizer.from_pretrained(self.folder, padding_side="left")
            model = AutoModelForCausalLM.from_pretrained(self.folder, dtype=self.precision)
        check_tokenizer(self.folder, tokenizer, model)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        if tokenizer.pad_token is None:
            raise EncoderError(
                f"{self.name} has neither an end token nor one for padding, so its answers would never "
                f"end; copy the model again, with tokenizer_config.json, or choose another"
            )
        if self.adapter:
            model = _with_adapter(model, Path(self.adapter))
        device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        model = model.to(device).eval()
        _refuse_not_finite(self.name, tokenizer, model)
        return tokenizer, model

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        stop: Callable[[], bool],
        keep: Keep,
    ) -> None:
        """Answers batch by batch, the longest prompts first, so that one that does not fit shows at
        once."""
        texts = [self._text(prompt) for prompt in prompts]
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        for start in range(0, len(order), self.batch_size):
            if stop():
                return
            batch = order[start : start + self.batch_size]
            for position, answer in zip(
                batch,
                self._answers([texts[i] for i in batch], sampling),
                strict=True,
            ):
                keep(position, answer)

    def _text(self, prompt: Prompt) -> str:
        tokenizer = self._loaded[0]
        if tokenizer.chat_template is None:
            return f"{prompt.system}\n\n{prompt.user}\n\n"
        messages = [
            {"role": "system", "content": prompt.system},
            {"role": "user", "content": prompt.user},
        ]
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    def _answers(self, texts: list[str], sampling: Sampling) -> list[Answer]:
        import torch

        tokenizer, model = self._loaded
        own = (
            tokenizer.chat_template is not None
        )  # a chat template writes the special tokens itself
        inputs = tokenizer(
            texts,
            return_tensors="pt",
            padding=True,
            add_special_tokens=not own,
        ).to(model.device)
        width = inputs["input_ids"].shape[1]
        context_length = getattr(model.config, "max_position_embeddings", None)
        if context_length and width + sampling.max_tokens > context_length:
            raise LanguageModelError(
                f"{self.name} reads {context_length} tokens, but a prompt of {width} and an answer of "
                f"{sampling.max_tokens} are asked for; show fewer or shorter examples, or lower "
                f"max_tokens"
            )
        torch.manual_seed(sampling.seed)
        decoding = {"do_sample": False}
        if sampling.temperature > 0:
            decoding = {
                "do_sample": True,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
            }
        if sampling.json_schema:
            decoding["logits_processor"] = [self._grammar(sampling.json_schema)]
        with torch.inference_mode():
            out = model.generate(
                **inputs,
                max_new_tokens=sampling.max_tokens,
                pad_token_id=tokenizer.pad_token_id,
                **decoding,
            )
        ends = {tokenizer.eos_token_id} | set(_as_list(model.generation_config.eos_token_id))
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        return [
            self._answer(row[width:].tolist(), ends, n) for row, n in zip(out, lengths, strict=True)
        ]

    def _grammar(self, json_schema: str):
        """A logits processor that lets only tokens through that the schema allows; for one call."""
        # free white space would let a weak model write nothing else until it is cut off
        compiled = self._compiler.compile_json_schema(json_schema, any_whitespace=False)
        from xgrammar.contrib.hf import LogitsProcessor

        return LogitsProcessor(compiled)

    @cached_property
    def _compiler(self):
        try:
            import xgrammar
        except ImportError as error:
            raise LanguageModelError(
                f"{self.name} runs here and is to answer by a JSON schema, which takes xgrammar: "
                f"pip install 'matchlib[json]', or ask a service"
            ) from error
        tokenizer, model = self._loaded
        # rows of the output layer, of which the tokenizer may know fewer
        size = model.get_output_embeddings().weight.shape[0]
        return xgrammar.GrammarCompiler(
            xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=size)
        )

    def _answer(self, tokens: list[int], ends: set[int], prompt_tokens: int) -> Answer:
        end = next((i for i, token in enumerate(tokens) if token in ends), None)
        text = self._loaded[0].decode(tokens[:end], skip_special_tokens=True)
        return Answer(
            text,
            "length" if end is None else "stop",
            prompt_tokens,
            len(tokens[:end]),
        )


def _refuse_not_finite(name: str, tokenizer, model) -> None:
    """Raise EncoderError if the model's scores of next tokens are not finite or all the same."""
    import torch

    inputs = tokenizer(CHECK_SENTENCES[0], return_tensors="pt").to(model.device)
    with torch.inference_mode():
        scores = model(**inputs).logits[0, -1].float()
    if not scores.isfinite().all():
        raise EncoderError(
            f"{name} gives scores that are not finite; its weights or its precision are broken: try "
            f"precision float32, or {AGAIN}"
        )
    if scores.min() == scores.max():
        raise EncoderError(
            f"{name} gives every next token the same score, so its weights are zeros, as a torn "
            f"download leaves them; {AGAIN}"
        )


def _with_adapter(model, adapter: Path):
    """The model with an adapter's weights. Raises EncoderError where they do not fit it or are not
    all there."""
    from peft import PeftModel

    with whole_weights(adapter), warnings.catch_warnings():
        # PEFT only warns, and leaves what is missing as it drew it
        warnings.filterwarnings("error", message="Found missing adapter keys")
        return PeftModel.from_pretrained(model, adapter)


def _as_list(value: int | list[int] | None) -> list[int]:
    if value is None:
        return []
    return [value] if isinstance(value, int) else list(value)
