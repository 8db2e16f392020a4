"""Given names of two genders, from faker's lists of many countries."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from random import Random

LOCALES = (
    "en_US",
    "en_GB",
    "en_IE",
    "en_IN",
    "en_NG",
    "en_KE",
    "es_ES",
    "es_MX",
    "es_CO",
    "fr_FR",
    "de_DE",
    "it_IT",
    "pt_BR",
    "pl_PL",
)
"""Locales of faker whose given names are known."""
NO_NAMES = frozenset({"Junior"})
"""Listed as given names, but words of a resume's heading."""


def names_of_locale(locale: str) -> dict[str, list[str]]:
    """woman and man -> the locale's given names, in faker's order
    (https://github.com/joke2k/faker)."""
    provider = import_module(f"faker.providers.person.{locale}").Provider
    lists = {"woman": provider.first_names_female, "man": provider.first_names_male}
    return {
        gender: [name for name in names if name not in NO_NAMES] for gender, names in lists.items()
    }


@cache
def unambiguous_names() -> dict[str, tuple[str, ...]]:
    """woman and man -> all single given names that no locale gives to the other gender, sorted;
    about 2,500 each."""
    by_gender: dict[str, set[str]] = {"woman": set(), "man": set()}
    for locale in LOCALES:
        for gender, names in names_of_locale(locale).items():
            by_gender[gender].update(name for name in names if name.isalpha())
    folded = {gender: {name.lower() for name in names} for gender, names in by_gender.items()}
    both = folded["woman"] & folded["man"]
    return {
        gender: tuple(sorted(name for name in names if name.lower() not in both))
        for gender, names in by_gender.items()
    }


@cache
def draw_names(key: str, n: int) -> dict[str, tuple[str, ...]]:
    """woman and man -> n names drawn without replacement; the same key gives the same names."""
    return {
        gender: tuple(Random(f"{key}/{gender}").sample(names, n))
        for gender, names in unambiguous_names().items()
    }
