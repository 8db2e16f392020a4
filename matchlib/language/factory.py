"""Language models by name, as notebooks name them: a service, or a model that runs here."""

from __future__ import annotations

import os
from pathlib import Path

from matchlib.language.llm import (
    Budget,
    LanguageModel,
    LanguageModelError,
    Sampling,
)
from matchlib.language.local import Local
from matchlib.language.service import Service


def language_model_from(
    generator: str,
    name: str,
    *,
    adapter: str = "",
    sampling: Sampling | None = None,
    budget: Budget | None = None,
) -> LanguageModel | None:
    """The language model that a notebook's parameters name: few_shot and service ask a service,
    local runs one here; all else needs none: None.

    budget: one for all models of the notebook, with their prices. Answers are kept in
    $MATCHLIB_CACHE/answers.sqlite, or .cache/answers.sqlite in the working folder.
    """
    if generator not in ("few_shot", "service", "local"):
        return None
    if not name:
        raise LanguageModelError(
            f"generator {generator!r} needs a language model; set language_model to "
            + ("a folder" if generator == "local" else "the name that the service knows")
        )
    backend = Local(name, adapter=adapter or None) if generator == "local" else Service(name)
    cache = Path(os.environ.get("MATCHLIB_CACHE", ".cache")) / "answers.sqlite"
    return LanguageModel(
        backend,
        sampling=sampling,
        cache=cache,
        budget=budget,
        prices=budget.prices_of(name) if budget else None,
    )
