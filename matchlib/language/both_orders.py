"""Ask a language model to compare two texts in both orders, so that position bias can be seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from matchlib.language.llm import (
    LanguageModel,
    LanguageModelError,
    Prompt,
)

Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class BothOrders(Generic[Parsed]):
    """The two usable answers on one pair: position of the pair, answer as (a, b), answer as (b, a)."""

    position: int
    first: Parsed
    swapped: Parsed


def ask_in_both_orders(
    model: LanguageModel,
    prompts: Sequence[tuple[Prompt, Prompt]],
    parse: Callable[[str], Parsed | None],
    *,
    expected: str,
    unit: str,
) -> tuple[list[BothOrders[Parsed]], dict[str, int]]:
    """Ask two prompts for each pair, one in each order, and parse the answers.

    prompts: (as given, swapped) for each pair; parse: returns None for an answer in another form;
    expected: the form, as the reason for leaving a pair out; unit: "pairs" or another plural noun
    for the error. Returns the pairs with two usable answers, and counts of the others by reason.
    Raises LanguageModelError if no pair has two usable answers.
    """
    flat = [prompt for both in prompts for prompt in both]
    answers = model.complete(flat)
    usable: list[BothOrders[Parsed]] = []
    left_out: Counter[str] = Counter()
    for position in range(len(prompts)):
        first, swapped = (
            answers[2 * position],
            answers[2 * position + 1],
        )
        reason = first.problem or swapped.problem
        if not reason:
            in_first, in_swapped = parse(first.text), parse(swapped.text)
            if in_first is not None and in_swapped is not None:
                usable.append(BothOrders(position, in_first, in_swapped))
                continue
            reason = f"no {expected}"
        left_out[reason] += 1
    if not usable:
        raise LanguageModelError(
            f"none of {len(prompts):,} {unit} got two usable answers ({dict(left_out)}); try a "
            f"larger model, or look at the answers in the cache"
        )
    return usable, dict(left_out)
