"""A language model whose answers a test writes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matchlib.language.llm import Answer, Keep, Prompt, Sampling


@dataclass(frozen=True)
class Canned:
    """Answers from a function."""

    answer: Callable[[Prompt], Answer]
    key: str = "canned"

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        stop: Callable[[], bool],
        keep: Keep,
    ) -> None:
        """Answers at once, in order."""
        for position, prompt in enumerate(prompts):
            if stop():
                return
            keep(position, self.answer(prompt))
