"""A causal model of transformers that runs here: batched, with its chat template and perhaps a PEFT
adapter."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from jinja2 import TemplateError

from matchlib.language.likelihood import Likelihood, TokenSequence, score_sequences
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
    choose_precision,
    ensure_pad_token,
    find_model,
    hash_model,
    whole_weights,
)

BATCH, GPU_BATCH = 8, 64
"""Prompts at a time."""


class Local:
    """A causal language model by any name that `find_model` takes: folder, GGUF file, hub id, or
    gemma-3-270m.

    adapter: folder of a PEFT adapter to load on the model; device: "" picks a GPU where there is
    one; precision: see `choose_precision`; in bfloat16 answers depend on their batch. batch_size:
    prompts at a time, 0 for 8 on a processor and 64 on a GPU. Without a
    chat template the model continues the prompt's two parts as plain text. Prompts longer than the
    model reads are refused, not cut. With temperature above 0 an answer depends on its batch too,
    because the draws of a batch come from one seed.
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
        batch_size: int = 0,
    ):
        self.name = name
        self.adapter = adapter
        self.device = device
        self.precision = precision
        on_gpu = self._device.startswith("cuda")
        self.batch_size = batch_size or (GPU_BATCH if on_gpu else BATCH)
        self.folder = find_model(name, revision=revision)
        if adapter:
            check_adapter(Path(adapter))

    @cached_property
    def key(self) -> str:
        """Hash of the weights, and of the adapter's."""
        return hash_model(self.folder) + (hash_model(Path(self.adapter)) if self.adapter else "")

    @cached_property
    def continues_text(self) -> bool:
        """Whether the model has no chat template: it follows no instructions and continues text."""
        return self._loaded[0].chat_template is None

    @cached_property
    def _device(self) -> str:
        import torch

        return self.device or ("cuda" if torch.cuda.is_available() else "cpu")

    @cached_property
    def _loaded(self):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        precision = choose_precision(self.precision, self._device)
        with whole_weights(self.folder):
            tokenizer = AutoTokenizer.from_pretrained(self.folder, padding_side="left")
            model = AutoModelForCausalLM.from_pretrained(self.folder, dtype=precision)
        check_tokenizer(self.folder, tokenizer, model)
        ensure_pad_token(self.name, tokenizer, model)
        if self.adapter:
            model = _with_adapter(model, Path(self.adapter))
        model = model.to(self._device).eval()
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
            stops = sorted({prompts[i].stop for i in batch} - {""})
            answers = self._answers([texts[i] for i in batch], sampling, stops)
            for position, answer in zip(batch, answers, strict=True):
                keep(position, answer)

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> list[Likelihood]:
        """How likely the model finds each continuation of its prompt, in batches.

        A continuation follows the prompt's text (with a chat template: the beginning of the answer)
        without anything between. Its tokens are those by which the prompt with it differs from the
        prompt alone. Raises LanguageModelError for one without tokens, and for one that does not fit
        into the context.
        """
        tokenizer, model = self._loaded
        sequences = []
        for prompt, continuation in zip(prompts, continuations, strict=True):
            sequences.append(self._sequence(self._text(prompt), continuation))
        self._check_fits(max((len(sequence.ids) for sequence in sequences), default=0), 0)
        return score_sequences(
            model, sequences, pad=tokenizer.pad_token_id, batch_size=self.batch_size
        )

    def _sequence(self, text: str, continuation: str) -> TokenSequence:
        of_prompt = self._ids(text)
        ids = self._ids(text + continuation)
        n_same = 0
        while n_same < min(len(of_prompt), len(ids)) and of_prompt[n_same] == ids[n_same]:
            n_same += 1
        if n_same in (0, len(ids)):
            raise LanguageModelError(
                f"{self.name} cannot score {continuation[:40]!r} after {text[-40:]!r}: "
                + ("no token stands before it" if n_same == 0 else "it adds no token")
            )
        return TokenSequence(ids, len(ids) - n_same)

    def _ids(self, text: str) -> list[int]:
        """Token ids of a text with the special tokens before it, without those after it."""
        tokenizer = self._loaded[0]
        encoded = tokenizer(
            text,
            add_special_tokens=tokenizer.chat_template is None,
            return_special_tokens_mask=True,
        )
        n = len(encoded["input_ids"])
        while n and encoded["special_tokens_mask"][n - 1]:
            n -= 1
        return encoded["input_ids"][:n]

    def _check_fits(self, n_prompt: int, n_answer: int) -> None:
        context_length = getattr(self._loaded[1].config, "max_position_embeddings", None)
        if context_length and n_prompt + n_answer > context_length:
            raise LanguageModelError(
                f"{self.name} reads {context_length} tokens, but a prompt of {n_prompt} and an answer "
                f"of {n_answer} are asked for; show fewer or shorter examples, or lower max_tokens"
            )

    def _text(self, prompt: Prompt) -> str:
        tokenizer = self._loaded[0]
        if tokenizer.chat_template is None:
            return f"{prompt.system}\n\n{prompt.user}\n\n"
        messages = [
            {"role": "system", "content": prompt.system},
            {"role": "user", "content": prompt.user},
        ]
        how = {"tokenize": False, "add_generation_prompt": True}
        try:
            return tokenizer.apply_chat_template(messages, **how)
        except TemplateError:  # templates of Gemma 2 and some of Mistral know no system message
            both = {"role": "user", "content": f"{prompt.system}\n\n{prompt.user}"}
            return tokenizer.apply_chat_template([both], **how)

    def _answers(
        self, texts: list[str], sampling: Sampling, stops: Sequence[str] = ()
    ) -> list[Answer]:
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
        self._check_fits(width, sampling.max_tokens)
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
        if stops:
            decoding |= {"stop_strings": list(stops), "tokenizer": tokenizer}
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
            self._answer(row[width:].tolist(), ends, n, stops)
            for row, n in zip(out, lengths, strict=True)
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

    def _answer(
        self, tokens: list[int], ends: set[int], prompt_tokens: int, stops: Sequence[str]
    ) -> Answer:
        end = next((i for i, token in enumerate(tokens) if token in ends), None)
        text = self._loaded[0].decode(tokens[:end], skip_special_tokens=True)
        finish = "length" if end is None else "stop"
        used = tokens[:end]
        for stop in stops:
            if stop in text:
                text, finish = text.split(stop, 1)[0], "stop"
                while (
                    used[-1] == self._loaded[0].pad_token_id
                ):  # until the batch's last answer ended
                    used.pop()
        return Answer(text, finish, prompt_tokens, len(used))


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
