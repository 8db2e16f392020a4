"""Language models: prompts in, answers out, in order; cached on disk, retried, counted and limited."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Lock
from typing import NamedTuple, Protocol

REFUSAL = re.compile(r"\W*(?:(?:I[’']?m|I am) (?:sorry|unable|not able)|Sorry, (?:but )?I|I can(?:not|[’']t)|"
                     r"As an AI)\b", re.I)


class LanguageModelError(RuntimeError):
    """A language model that cannot go on: which, why, and what to do. What was answered until then is kept."""


class Prompt(NamedTuple):
    """system: who the model is and what it must do; user: the task with its data."""
    system: str
    user: str


@dataclass(frozen=True)
class Sampling:
    """temperature 0 takes the likeliest token; max_tokens: of an answer; seed: of the draws, if the service obeys."""
    temperature: float = 0.0
    max_tokens: int = 512
    top_p: float = 1.0
    seed: int = 1


@dataclass(frozen=True)
class Answer:
    """text: as it came; finish: the service's word for why it ended (stop, length, refusal, content_filter, ...)."""
    text: str
    finish: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def problem(self) -> str:
        """Why the text should not be used: refused, truncated, empty; "" if it should."""
        if self.finish in ("refusal", "content_filter") or REFUSAL.match(self.text):
            return "refused"
        if self.finish == "length":
            return "truncated"
        return "" if self.text.strip() else "empty"


Keep = Callable[[int, Answer], None]


class Backend(Protocol):
    """Who answers: `key` names the model and where it runs; `generate` calls keep(position, answer) for each answer as
    it comes, perhaps from several threads, and starts no further prompt once stop() is true."""
    key: str

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, stop: Callable[[], bool],
                 keep: Keep) -> None: ...


@dataclass(frozen=True)
class Limits:
    """What may be spent: requests and cost (0: no limit), with prices a million tokens in the currency of cost."""
    requests: int = 0
    cost: float = 0.0
    price_in: float = 0.0
    price_out: float = 0.0


@dataclass
class Usage:
    """What was asked, paid and not usable."""
    prompts: int = 0
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    problems: Counter = field(default_factory=Counter)

    def metrics(self) -> dict[str, float]:
        """For a stage's metrics."""
        counts = {"prompts": self.prompts, "answered from the cache": self.prompts - self.requests,
                  "prompt tokens": self.prompt_tokens, "completion tokens": self.completion_tokens,
                  "cost": round(self.cost, 4)}
        return counts | {f"{problem} answers": self.problems[problem] for problem in ("refused", "truncated", "empty")}


class LanguageModel:
    """A backend with its cache, its limits and its bill."""

    def __init__(self, backend: Backend, *, sampling: Sampling | None = None, cache: Path | None = None,
                 limits: Limits | None = None):
        self.backend, self.sampling, self.limits = backend, sampling or Sampling(), limits or Limits()
        self.cache, self.usage = AnswerCache(cache) if cache else None, Usage()

    def complete(self, prompts: Sequence[Prompt]) -> list[Answer]:
        """One answer a prompt, in order; equal prompts are asked once. Look at `problem` before using a text.

        Each answer is kept on disk as it comes, so that a killed run goes on where it stopped and a rerun costs
        nothing. Raises LanguageModelError when the model cannot go on or a limit is reached.
        """
        keys = [self._key(prompt) for prompt in prompts]
        known = self.cache.read(keys) if self.cache else {}
        missing = list({key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in known}.items())
        allowed = missing[:self.limits.requests - self.usage.requests] if self.limits.requests else missing
        self.usage.prompts += len(prompts)
        lock = Lock()

        def keep(position: int, answer: Answer) -> None:
            with lock:
                known[missing[position][0]] = answer
                if self.cache:
                    self.cache.write(missing[position][0], answer)
                self._pay(answer)
        self.backend.generate([prompt for _, prompt in allowed], self.sampling, self._is_spent, keep)
        if unanswered := len({*keys} - {*known}):
            raise LanguageModelError(f"{unanswered} prompts are left after {self.usage.requests} requests at a cost of "
                                     f"{self.usage.cost:.2f}, where a limit is reached; what was answered is kept: "
                                     f"raise the limit to go on")
        for key in keys:
            if problem := known[key].problem:
                self.usage.problems[problem] += 1
        return [known[key] for key in keys]

    def _is_spent(self) -> bool:
        return bool(self.limits.cost) and self.usage.cost >= self.limits.cost

    def _pay(self, answer: Answer) -> None:
        usage, limits = self.usage, self.limits
        usage.requests += 1
        usage.prompt_tokens += answer.prompt_tokens
        usage.completion_tokens += answer.completion_tokens
        usage.cost += (answer.prompt_tokens * limits.price_in + answer.completion_tokens * limits.price_out) / 1e6

    def _key(self, prompt: Prompt) -> str:
        return hashlib.sha256(json.dumps([self.backend.key, prompt, asdict(self.sampling)]).encode()).hexdigest()


class AnswerCache:
    """Answers on disk, one sqlite file: key -> answer. Safe for several processes and kills."""

    def __init__(self, path: Path):
        self.path = path

    def read(self, keys: Sequence[str]) -> dict[str, Answer]:
        """The known ones among the keys."""
        with self._open() as connection:
            found = {}
            for key in dict.fromkeys(keys):
                for (answer,) in connection.execute("SELECT answer FROM answers WHERE key = ?", (key,)):
                    found[key] = Answer(**json.loads(answer))
            return found

    def write(self, key: str, answer: Answer) -> None:
        """Keep one answer; on the disk when this returns."""
        with self._open() as connection, connection:  # the second commits
            connection.execute("INSERT OR IGNORE INTO answers VALUES (?, ?)", (key, json.dumps(asdict(answer))))

    def _open(self) -> closing:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=60)
        with connection:
            connection.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT)")
        return closing(connection)


@dataclass(frozen=True)
class Canned:
    """Answers from a function, for tests and demonstrations."""
    answer: Callable[[Prompt], Answer]
    key: str = "canned"

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, stop: Callable[[], bool], keep: Keep) -> None:
        """Answers at once, in order."""
        for position, prompt in enumerate(prompts):
            if stop():
                return
            keep(position, self.answer(prompt))


def language_model_from(generator: str, name: str, *, adapter: str = "", sampling: Sampling | None = None,
                        limits: Mapping[str, float] | None = None) -> LanguageModel | None:
    """The language model that a notebook's parameters name: few_shot and service ask a service, local runs one here;
    all else needs none: None.

    Answers are kept in $MATCHLIB_CACHE/answers.sqlite, or .cache/answers.sqlite in the working folder.
    """
    if generator not in ("few_shot", "service", "local"):
        return None
    if not name:
        raise LanguageModelError(f"generator {generator!r} needs a language model; set language_model to "
                                 + ("a folder" if generator == "local" else "the name that the service knows"))
    from matchlib.language.local import Local
    from matchlib.language.service import Service
    backend = Local(name, adapter=adapter or None) if generator == "local" else Service(name)
    cache = Path(os.environ.get("MATCHLIB_CACHE", ".cache")) / "answers.sqlite"
    return LanguageModel(backend, sampling=sampling, cache=cache, limits=Limits(**(limits or {})))
