"""Language models: one answer for each prompt, cached on disk, retried, counted and limited."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Lock
from typing import NamedTuple, Protocol

from matchlib.data.schema import DataError
from matchlib.retrieval.disk_cache import use_cache

logger = logging.getLogger(__name__)
REFUSAL = re.compile(
    r"\W*(?:(?:I[’']?m|I am) (?:sorry|unable|not able)|Sorry, (?:but )?I|I can(?:not|[’']t)|"
    r"As an AI)\b",
    re.I,
)


class LanguageModelError(RuntimeError):
    """A language model cannot go on: which, why, and what to do. Answers until then are kept."""


class Prompt(NamedTuple):
    """system: who the model is and what it must do; user: the task with its data; stop: where the
    answer of a model that continues text has ended, "" for one that ends by itself."""

    system: str
    user: str
    stop: str = ""


@dataclass(frozen=True)
class Sampling:
    """temperature 0 takes the likeliest token; max_tokens: of an answer; seed: of the draws, if the
    service obeys; json_schema: JSON that an answer must follow, as text, or "" for free text."""

    temperature: float = 0.0
    max_tokens: int = 512
    top_p: float = 1.0
    seed: int = 1
    json_schema: str = ""


@dataclass(frozen=True)
class Answer:
    """text: unchanged; finish: the service's word for why it ended (stop, length, refusal,
    content_filter, ...);
    prompt_tokens, completion_tokens: as the service counts them, 0 where it does not."""

    text: str
    finish: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def problem(self) -> str:
        """Why the text should not be used: refused, truncated, empty; "" if it should."""
        if self.finish in (
            "refusal",
            "content_filter",
        ) or REFUSAL.match(self.text):
            return "refused"
        if self.finish == "length":
            return "truncated"
        return "" if self.text.strip() else "empty"


Keep = Callable[[int, Answer], None]


class Backend(Protocol):
    """Who answers: `key` names the model and where it runs; `generate` calls keep(position, answer)
    for each answer as it comes, perhaps from several threads, and starts no further prompt once
    stop() is true."""

    key: str

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        stop: Callable[[], bool],
        keep: Keep,
    ) -> None: ...


@dataclass(frozen=True)
class Prices:
    """What a million tokens of prompts (price_in) and of answers (price_out) cost; both 0: nothing.

    Raises DataError if only one is given, since the cost would be too low, or one is negative.
    """

    price_in: float = 0.0
    price_out: float = 0.0

    def __post_init__(self) -> None:
        if min(self.price_in, self.price_out) < 0:
            raise DataError(
                f"the prices {self.price_in} and {self.price_out}: a price is negative; give what a "
                f"million tokens cost"
            )
        if (self.price_in == 0) != (self.price_out == 0):
            raise DataError(
                f"the prices {self.price_in} and {self.price_out}: with one price the cost would be "
                f"counted too low; give both, of a million tokens of prompts and of answers"
            )


@dataclass
class Usage:
    """What was asked, paid and not usable; `estimated` requests had their tokens estimated, see
    `estimate_tokens`."""

    prompts: int = 0
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: int = 0
    cost: float = 0.0
    problems: Counter = field(default_factory=Counter)

    def pay(
        self,
        prompt_tokens: int,
        completion_tokens: int,
        prices: Prices,
        *,
        estimated: bool,
    ) -> None:
        """Add one request."""
        self.requests += 1
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens
        self.estimated += estimated
        self.cost += (prompt_tokens * prices.price_in + completion_tokens * prices.price_out) / 1e6

    def metrics(self) -> dict[str, float]:
        """For a stage's metrics."""
        counts = {
            "prompts": self.prompts,
            "answered from the cache": self.prompts - self.requests,
            "prompt tokens": self.prompt_tokens,
            "completion tokens": self.completion_tokens,
            "requests with estimated tokens": self.estimated,
            "cost": round(self.cost, 4),
        }
        for problem in ("refused", "truncated", "empty"):
            counts[f"{problem} answers"] = self.problems[problem]
        return counts


class Budget:
    """The account that all language models of a notebook share: what they may spend together, and
    what they spent.

    cost: the limit, 0 for none; prices: model -> what a million tokens of its prompts and of its
    answers cost, in the currency of cost. Requests under way when the limit is reached are finished
    and paid, so the cost may pass the limit by as many requests as a service answers at once (8).
    Raises DataError on a negative limit, and on one without prices, which would never stop.
    """

    def __init__(
        self,
        *,
        cost: float = 0.0,
        prices: Mapping[str, Sequence[float]] | None = None,
    ):
        self.cost = cost
        self.prices = {}
        for name, both in (prices or {}).items():
            if len(both) != 2:
                raise DataError(
                    f"prices of {name!r} are {both}; give two, of a million tokens of prompts and "
                    f"of answers"
                )
            self.prices[name] = Prices(*both)
        self.spent = Usage()
        self._lock = Lock()
        if cost < 0:
            raise DataError(f"limit_cost {cost}: a limit is negative; 0 sets none")
        if cost and not any(prices.price_in for prices in self.prices.values()):
            raise DataError(
                f"limit_cost is {cost}, but prices names no model that costs anything, so the limit "
                f"would never stop anything; set prices: {{<model>: [<of a million prompt tokens>, "
                f"<of a million tokens of answers>]}}, or limit_cost: 0"
            )

    def prices_of(self, name: str) -> Prices:
        """The prices of a model; nothing where no prices were given at all.

        Raises DataError where those of other models were.
        """
        if not self.prices:
            return Prices()
        if name not in self.prices:
            raise DataError(
                f"prices names {', '.join(self.prices)}, but not {name!r}, whose cost would not be "
                f"counted; add it, with [0, 0] if it costs nothing"
            )
        return self.prices[name]

    def pay(
        self,
        prompt_tokens: int,
        completion_tokens: int,
        prices: Prices,
        *,
        estimated: bool,
    ) -> None:
        """Add one request of any of the models."""
        with self._lock:
            self.spent.pay(
                prompt_tokens,
                completion_tokens,
                prices,
                estimated=estimated,
            )

    def is_spent(self) -> bool:
        """True once the limit of the cost is reached."""
        return bool(self.cost) and self.spent.cost >= self.cost

    def state(self) -> str:
        """What was spent of what, e.g. "120 requests at a cost of 0.4131 (limit 5)"."""
        told = f"{self.spent.requests:,} requests at a cost of {round(self.spent.cost, 4):g}"
        if self.cost:
            told += f" (limit {self.cost:g})"
        if self.spent.estimated:
            told += f", tokens of {self.spent.estimated:,} estimated"
        return told


BYTES_PER_TOKEN = 3


def estimate_tokens(text: str) -> int:
    """Tokens of a text where the service counts none: one for every 3 bytes of UTF-8, rounded up.

    An approximation that is rather too high: tokenizers of language models make a token of about 4
    bytes of English and of about 3 bytes, one character, of Chinese. A limit stops early rather
    than late.
    """
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


class LanguageModel:
    """A backend with its cache, its prices, its bill, and the budget that it shares with the
    notebook's other models."""

    def __init__(
        self,
        backend: Backend,
        *,
        sampling: Sampling | None = None,
        cache: Path | None = None,
        budget: Budget | None = None,
        prices: Prices | None = None,
    ):
        self.backend = backend
        self.sampling = sampling or Sampling()
        self.budget = budget or Budget()
        self.prices = prices or Prices()
        self.cache = AnswerCache(cache) if cache else None
        self.usage = Usage()

    @property
    def continues_text(self) -> bool:
        """Whether the model follows no instructions and continues text: one that runs here without a
        chat template."""
        return getattr(self.backend, "continues_text", False)

    def complete(self, prompts: Sequence[Prompt]) -> list[Answer]:
        """One answer a prompt, in order; equal prompts are asked once. Look at `problem` before
        using a text.

        Each answer is kept on disk as it comes, so that a killed run goes on where it stopped and a
        rerun costs nothing. Raises LanguageModelError when the model cannot go on or a limit is
        reached.
        """
        keys = [self._key(prompt) for prompt in prompts]
        known = self.cache.read(keys) if self.cache else {}
        prompt_of_key = dict(zip(keys, prompts, strict=True))
        missing = [(key, prompt) for key, prompt in prompt_of_key.items() if key not in known]
        self.usage.prompts += len(prompts)
        lock = Lock()

        def keep(position: int, answer: Answer) -> None:
            key, prompt = missing[position]
            with lock:
                known[key] = answer
                if self.cache:
                    self.cache.write(key, answer)
                self._pay(prompt, answer)

        self.backend.generate(
            [prompt for _, prompt in missing],
            self.sampling,
            self.budget.is_spent,
            keep,
        )
        if unanswered := len({*keys} - {*known}):
            raise LanguageModelError(
                f"{unanswered} prompts are left after {self.budget.state()}, where the limit of "
                f"all models of this notebook together is reached; what was answered is kept: "
                f"raise the limit to go on"
            )
        for key in keys:
            if problem := known[key].problem:
                self.usage.problems[problem] += 1
        return [known[key] for key in keys]

    def _pay(self, prompt: Prompt, answer: Answer) -> None:
        # 0 tokens of a text that is not empty: the service reports no usage
        uncounted = not answer.prompt_tokens or (bool(answer.text) and not answer.completion_tokens)
        prompt_tokens = answer.prompt_tokens or estimate_tokens(prompt.system + prompt.user)
        completion_tokens = answer.completion_tokens or estimate_tokens(answer.text)
        for account in (self.usage, self.budget):
            account.pay(
                prompt_tokens,
                completion_tokens,
                self.prices,
                estimated=uncounted,
            )

    def _key(self, prompt: Prompt) -> str:
        sampling = asdict(self.sampling)
        if not self.sampling.json_schema:
            del sampling["json_schema"]  # answers from before there were schemas keep their keys
        parts = prompt if prompt.stop else prompt[:2]  # the same of answers from before `stop`
        return hashlib.sha256(json.dumps([self.backend.key, parts, sampling]).encode()).hexdigest()


class AnswerCache:
    """Answers on disk, one sqlite file: key -> answer. Safe for several processes and kills.

    A damaged file is set aside and a damaged answer asked again, with a note in the log. Raises
    DataError as `use_cache` does.
    """

    CREATE = "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT)"

    def __init__(self, path: Path):
        self.path = path

    def read(self, keys: Sequence[str]) -> dict[str, Answer]:
        """The known ones among the keys."""
        return use_cache(
            self.path,
            self.CREATE,
            lambda connection: self._read(connection, keys),
        )

    def _read(self, connection: sqlite3.Connection, keys: Sequence[str]) -> dict[str, Answer]:
        found = {}
        damaged = []
        for key in dict.fromkeys(keys):
            for (answer,) in connection.execute("SELECT answer FROM answers WHERE key = ?", (key,)):
                try:
                    found[key] = Answer(**json.loads(answer))
                except (ValueError, TypeError):
                    damaged.append((key,))
        if damaged:
            with connection:
                connection.executemany("DELETE FROM answers WHERE key = ?", damaged)
            logger.warning(
                "the cache %s held %s damaged answers, which are asked again",
                self.path,
                len(damaged),
            )
        return found

    def write(self, key: str, answer: Answer) -> None:
        """Keep one answer; on the disk when this returns."""

        def insert(connection: sqlite3.Connection) -> None:
            with connection:  # commits
                connection.execute(
                    "INSERT OR IGNORE INTO answers VALUES (?, ?)",
                    (key, json.dumps(asdict(answer))),
                )

        use_cache(self.path, self.CREATE, insert)
