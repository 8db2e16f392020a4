"""Gendered words, pronouns and given names, swapped for those of the other gender."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

import pandas as pd

from matchlib.data import privacy
from matchlib.data.names import LOCALES, names_of_locale
from matchlib.data.schema import DataError

_TWO_WAY_PAIRS = """
    he she, himself herself, mr ms, sir madam, men women, boy girl, boys girls, male female,
    males females, gentleman lady, gentlemen ladies, father mother, fathers mothers, dad mum,
    dads mums, husband wife, husbands wives, widower widow, widowers widows,
    headmaster headmistress, headmasters headmistresses, alumnus alumna, fraternity sorority,
    fraternities sororities, paternity maternity, m f, él ella, señor señora, hombre mujer,
    hombres mujeres, esposo esposa, padre madre, masculino femenino, viudo viuda,
    paternidad maternidad, 先生 女士, 丈夫 妻子, 父亲 母亲, 爸爸 妈妈, 他 她, 男 女, 男性 女性"""
_ONE_WAY_PAIRS = """
    him her, woman man, his her, hers his, mrs mr, miss mr, ma'am sir, mom dad, moms dads,
    alumnae alumni, waitress waiter, waitresses waiters, actress actor, actresses actors,
    hostess host, hostesses hosts, stewardess steward, stewardesses stewards, heiress heir,
    heiresses heirs, señorita señor, sra sr, srta sr, marido mujer, varón mujer, 小姐 先生,
    太太 先生, 男士 女士"""
_PREPOSITIONS = (
    "about|after|and|as|at|because|before|but|by|for|from|if|in|into|of|on|or|over|that|then|to"
    "|when|with"
)
_NEXT_WORD_IS_OWNED = re.compile(rf"[ -]+(?!(?:{_PREPOSITIONS})\b)\w")
"""What follows "her" where it means "his"; before anything else it means "him"."""
_TERM = re.compile(r"(?P<prefix>(?:grand|step|god)?)(?P<stem>.+?)(?P<possessive>['’]s)?", re.I)
_LOOK_AHEAD = 40  # characters after a term, enough to see whether a word follows

SWAPPED_SUFFIX = "~swapped"
"""Ends the id of a resume's copy with swapped gender terms."""


def swap_gender_terms(text: str) -> str:
    """The text with gendered words, pronouns and given names in the other gender.

    Changed is what `privacy.find` takes for a name or a gendered word. A text from which those were
    redacted therefore does not change, and what redaction misses (surnames, ingeniera, HE) is not
    swapped. A name becomes the one at the same position of the other gender's list of the same
    locale (faker); a name that both genders have stays.

    Swapping twice restores the text, with four exceptions: names beyond the shorter list; words
    with two counterparts (Mrs -> Mr -> Ms, mom -> dad -> mum); words whose counterpart is not found
    (woman -> man, waitress -> waiter); and "her", which becomes "his" before a word that can be
    owned and "him" elsewhere ("gave her time" is a guess).
    """
    parts = []
    position = 0
    for start, end, kind in privacy.find(text, ("name", "gendered")):
        parts.append(text[position:start])
        if kind == "name":
            parts.append(_swap_name(text[start:end], name_pairs()))
        else:
            parts.append(_swap_term(text[start:end], text[end : end + _LOOK_AHEAD]))
        position = end
    return "".join(parts) + text[position:]


def swap_names_within_gender(text: str) -> str:
    """The text with each given name replaced by the next of the same gender and locale; gendered words
    stay. The control of `swap_gender_terms`: what any other name would have moved."""
    parts = []
    position = 0
    for start, end, _ in privacy.find(text, ("name",)):
        parts += [text[position:start], _swap_name(text[start:end], next_names())]
        position = end
    return "".join(parts) + text[position:]


def redact_gender_terms(text: str) -> str:
    """The text with names and gendered words redacted (`privacy.redact`)."""
    redacted, _ = privacy.redact(text, ["name", "gendered"])
    return redacted


def add_swapped_copies(
    tables: Mapping[str, pd.DataFrame], split: str = "train"
) -> dict[str, pd.DataFrame]:
    """The tables with a gender-swapped copy of each resume of one split that holds a gender term.

    tables: resumes and labels, perhaps truth, with a column split. The copies' ids end in
    "~swapped", and their labels are those of the originals. All other rows and tables stay.
    Protected columns of a copy describe the person, not the swapped text.
    Raises DataError if no text of the split changes, since the training data would be the same.
    Source: counterfactual data augmentation, Lu et al. (arXiv 1807.11714).
    """
    resumes = tables["resumes"]
    originals = resumes[resumes["split"] == split]
    swapped_texts = originals["text"].map(swap_gender_terms)
    is_changed = swapped_texts != originals["text"]
    copies = originals.assign(text=swapped_texts)[is_changed]
    if copies.empty:
        raise DataError(
            f"no {split} resume holds a gender term that could be swapped, so there is nothing to add"
        )
    result = dict(tables)
    result["resumes"] = _append_copies(resumes, copies)
    for name in ("labels", "truth"):
        if name in tables:
            table = tables[name]
            rows = table[table["resume_id"].isin(copies["resume_id"])]
            result[name] = _append_copies(table, rows)
    return result


def _append_copies(table: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    copies = rows.assign(resume_id=rows["resume_id"] + SWAPPED_SUFFIX)
    return pd.concat([table, copies], ignore_index=True)


@cache
def term_pairs() -> dict[str, str]:
    """Lower-case gendered word -> its counterpart."""
    pairs = {}
    for pair in _ONE_WAY_PAIRS.split(","):
        term, counterpart = pair.split()
        pairs[term] = counterpart
    for pair in _TWO_WAY_PAIRS.split(","):
        term, counterpart = pair.split()
        pairs[term] = counterpart
        pairs[counterpart] = term
    return pairs


@cache
def name_pairs() -> dict[str, str]:
    """Given name in lower case -> one of the other gender, from faker's lists, locale by locale.

    The names by which one list is longer share the other list's names. Names that some locale gives
    to both genders are left out.
    """
    locale_names = [names_of_locale(locale) for locale in LOCALES]
    all_women = _lower_case_names(locale_names, "woman")
    all_men = _lower_case_names(locale_names, "man")
    pairs: dict[str, str] = {}
    for names in locale_names:
        women = _without(names["woman"], all_men | pairs.keys())
        men = _without(names["man"], all_women | pairs.keys())
        if not women or not men:
            continue
        for i in range(max(len(women), len(men))):
            woman = women[i % len(women)]
            man = men[i % len(men)]
            pairs.setdefault(woman, man)
            pairs.setdefault(man, woman)
    return pairs


@cache
def next_names() -> dict[str, str]:
    """Given name in lower case -> the next one of the same gender in the same locale's list, the last
    one's is the first. Names that some locale gives to both genders are left out."""
    locale_names = [names_of_locale(locale) for locale in LOCALES]
    everyone = {gender: _lower_case_names(locale_names, gender) for gender in ("woman", "man")}
    following: dict[str, str] = {}
    for names in locale_names:
        for gender, other in (("woman", "man"), ("man", "woman")):
            own = list(dict.fromkeys(_without(names[gender], everyone[other])))
            for name, follower in zip(own, own[1:] + own[:1], strict=True):
                following.setdefault(name, follower)
    return following


def _lower_case_names(locale_names: list[Mapping], gender: str) -> set[str]:
    found = set()
    for names in locale_names:
        found.update(name.lower() for name in names[gender])
    return found


def _without(names: list[str], excluded: set[str]) -> list[str]:
    return [name.lower() for name in names if name.lower() not in excluded]


def _swap_name(name: str, pairs: Mapping[str, str]) -> str:
    whole = pairs.get(name.lower())  # José María is one name
    if whole:
        return _with_case_of(name, whole)
    return re.sub(
        r"[^ ]+",
        lambda match: _with_case_of(match[0], pairs.get(match[0].lower(), match[0])),
        name,
    )


def _swap_term(term: str, text_after: str) -> str:
    match = _TERM.fullmatch(term)
    stem = match["stem"]
    swapped = _counterpart(stem.lower(), text_after)
    return match["prefix"] + _with_case_of(stem, swapped) + (match["possessive"] or "")


def _counterpart(word: str, text_after: str) -> str:
    if word == "her":
        return "his" if _NEXT_WORD_IS_OWNED.match(text_after) else "him"
    if word == "his" and not _NEXT_WORD_IS_OWNED.match(text_after):
        return "hers"
    if word in term_pairs():
        return term_pairs()[word]
    if word.endswith(("woman", "women")):  # chairwoman -> chairman
        return word[:-5] + word[-3:]
    if word.endswith(("man", "men")):  # salesmen -> saleswomen
        return f"{word[:-3]}wo{word[-3:]}"
    return word  # no counterpart: née, S/he


def _with_case_of(model: str, word: str) -> str:
    """The word written in capitals or with a capital if the model is."""
    if model.isupper() and len(model) > 1:
        return word.upper()
    if model[:1].isupper():
        return word.title()
    return word
