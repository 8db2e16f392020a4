"""Chat completions by an OpenAI-compatible service (OpenAI, vLLM, transformers serve, Ollama, ...)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ThreadPoolExecutor,
    as_completed,
    wait,
)
from functools import cached_property

from matchlib.language.llm import (
    Answer,
    Keep,
    LanguageModelError,
    Prompt,
    Sampling,
)
from matchlib.retrieval.openai_client import (
    RETRIES,
    TIMEOUT_S,
    openai_client,
    status_reason,
)


class Service:
    """One chat model of the service that OPENAI_BASE_URL names, with the key in OPENAI_API_KEY.

    concurrency: requests at once. Time-outs, refused connections, 408, 409, 429 and 5xx are tried
    again with growing pauses (the client's own). Each request carries its prompt's hash as
    Idempotency-Key: a service that honours it answers the requests that were on their way at a kill
    without being paid again.
    """

    def __init__(
        self,
        model: str,
        *,
        concurrency: int = 8,
        timeout_s: float = TIMEOUT_S,
        retries: int = RETRIES,
    ):
        self.model = model
        self.concurrency = concurrency
        self.timeout_s = timeout_s
        self.retries = retries

    @cached_property
    def client(self):
        """The openai client. Raises LanguageModelError without a key; a local service takes any."""
        return openai_client(
            LanguageModelError,
            retries=self.retries,
            timeout_s=self.timeout_s,
        )

    @property
    def key(self) -> str:
        """The service's address and the model's name."""
        return f"{self.client.base_url} {self.model}"

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        stop: Callable[[], bool],
        keep: Keep,
    ) -> None:
        """Keep every answer as it comes, in the thread that asked, with at most `concurrency` under
        way.

        When one fails, or Ctrl-C is pressed, nothing more is asked; those under way are waited for
        and kept, since they are paid, and then the failure is raised.
        """

        def ask(position: int, prompt: Prompt) -> None:
            keep(position, self._ask(prompt, sampling))

        under_way: set[Future] = set()
        with ThreadPoolExecutor(self.concurrency) as pool:
            for position, prompt in enumerate(prompts):
                if len(under_way) == self.concurrency:
                    done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                    for future in done:
                        future.result()
                if stop():
                    break
                under_way.add(pool.submit(ask, position, prompt))
            for future in as_completed(under_way):
                future.result()

    def _ask(self, prompt: Prompt, sampling: Sampling) -> Answer:
        import openai

        messages = [
            {"role": "system", "content": prompt.system},
            {"role": "user", "content": prompt.user},
        ]
        request = json.dumps([self.model, prompt, vars(sampling)])
        request_hash = hashlib.sha256(request.encode()).hexdigest()
        form = {}
        if sampling.json_schema:
            schema = {"name": "answer", "strict": True, "schema": json.loads(sampling.json_schema)}
            form["response_format"] = {"type": "json_schema", "json_schema": schema}
        try:
            answer = self.client.chat.completions.create(
                model=self.model,
                messages=messages,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.max_tokens,
                seed=sampling.seed,
                extra_headers={"Idempotency-Key": request_hash},
                **form,
            )
            return _read(answer)
        except openai.APIConnectionError as problem:  # also a time-out
            raise LanguageModelError(
                f"no answer from {self.client.base_url} after {self.retries} more tries "
                f"({type(problem).__name__}); check OPENAI_BASE_URL and the network: what was "
                f"answered is kept, run again to go on"
            ) from None
        except openai.APIStatusError as problem:
            raise LanguageModelError(
                f"{self.client.base_url} refused to answer with {self.model} "
                f"({status_reason(problem)}); check the model's name, OPENAI_API_KEY and your quota: "
                f"what was answered is kept, run again to go on"
            ) from None
        except (
            AttributeError,
            IndexError,
            TypeError,
            ValueError,
            openai.APIError,
        ) as problem:
            raise LanguageModelError(
                f"{self.client.base_url} gave an answer that is no chat completion "
                f"({type(problem).__name__}); is OPENAI_BASE_URL right, with its /v1?"
            ) from None


def _read(completion) -> Answer:
    choice = completion.choices[0]
    refusal = getattr(choice.message, "refusal", None)
    usage = completion.usage
    return Answer(
        text=choice.message.content or refusal or "",
        finish="refusal" if refusal else choice.finish_reason or "",
        prompt_tokens=getattr(usage, "prompt_tokens", 0) or 0,
        completion_tokens=getattr(usage, "completion_tokens", 0) or 0,
    )
