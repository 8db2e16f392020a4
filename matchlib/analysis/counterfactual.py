"""The same resume with the gender of its words swapped, and how much a ranking moves when only that
changes."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pandas as pd

from matchlib.data import privacy
from matchlib.data.names import LOCALES, names_of_locale
from matchlib.data.schema import DataError
from matchlib.retrieval.evaluation import mean_interval

_BOTH_WAYS = """he she, himself herself, mr ms, sir madam, men women, boy girl, boys girls, male female,
    males females, gentleman lady, gentlemen ladies, father mother, fathers mothers, dad mum, dads mums, husband wife,
    husbands wives, widower widow, widowers widows, headmaster headmistress, headmasters headmistresses,
    alumnus alumna, fraternity sorority, fraternities sororities, paternity maternity, m f, él ella, señor señora,
    hombre mujer, hombres mujeres, esposo esposa, padre madre, masculino femenino, viudo viuda, paternidad maternidad,
    先生 女士, 丈夫 妻子, 父亲 母亲, 爸爸 妈妈, 他 她, 男 女, 男性 女性"""
_ONE_WAY = """him her, woman man, his her, hers his, mrs mr, miss mr, ma'am sir, mom dad, moms dads, alumnae alumni,
    waitress waiter, waitresses waiters, actress actor, actresses actors, hostess host, hostesses hosts,
    stewardess steward, stewardesses stewards, heiress heir, heiresses heirs, señorita señor, sra sr, srta sr,
    marido mujer, varón mujer, 小姐 先生, 太太 先生, 男士 女士"""
_PREPOSITION = "about|after|and|as|at|because|before|but|by|for|from|if|in|into|of|on|or|over|that|then|to|when|with"
_POSSESSIVE = re.compile(rf"[ -]+(?!(?:{_PREPOSITION})\b)\w")
"""What follows "her" where it means his; before anything else it means him."""
_TERM = re.compile(r"(?P<prefix>(?:grand|step|god)?)(?P<stem>.+?)(?P<owner>['’]s)?", re.I)


def swap_gender_terms(text: str) -> str:
    """The text with gendered words, pronouns and given names in the other gender, all else
    unchanged.

    Touched is what `privacy.find` takes for a name or a gendered word, so that on text from which
    those were redacted this changes no byte; what redaction misses (surnames, ingeniera, HE) is not
    swapped either. A name takes the one that stands beside it in the same locale's list of faker; a
    name of both genders stays. Swapping twice restores the text, but for surplus names, words with
    two counterparts (Mrs -> Mr -> Ms, mom -> dad -> mum), words whose counterpart is not found
    (woman -> man, waitress -> waiter), and her, which is taken for his before a word that can be
    owned and for him elsewhere; "gave her time" is a guess.
    """
    pieces, position = [], 0
    for start, end, kind in privacy.find(text, ("name", "gendered")):
        found = text[start:end]
        swapped = _swap_name(found) if kind == "name" else _swap_term(found, text[end : end + 40])
        pieces += text[position:start], swapped
        position = end
    return "".join(pieces) + text[position:]


@cache
def term_pairs() -> dict[str, str]:
    """Lower-case gendered word -> its counterpart."""
    pairs = dict(pair.split() for pair in _ONE_WAY.split(","))
    for one, other in (pair.split() for pair in _BOTH_WAYS.split(",")):
        pairs |= {one: other, other: one}
    return pairs


@cache
def name_pairs() -> dict[str, str]:
    """Given name in lower case -> one of the other gender, from faker's lists, locale by locale.

    The longer list's surplus shares counterparts. Names that some locale gives to both genders are
    left out.
    """
    lists = [names_of_locale(locale) for locale in LOCALES]
    known = {
        gender: {name.lower() for names in lists for name in names[gender]}
        for gender in ("woman", "man")
    }
    pairs: dict[str, str] = {}
    for names in lists:
        women = [
            name.lower()
            for name in names["woman"]
            if name.lower() not in known["man"] | pairs.keys()
        ]
        men = [
            name.lower()
            for name in names["man"]
            if name.lower() not in known["woman"] | pairs.keys()
        ]
        if not women or not men:
            continue
        for i in range(max(len(women), len(men))):
            woman, man = women[i % len(women)], men[i % len(men)]
            pairs.setdefault(woman, man)
            pairs.setdefault(man, woman)
    return pairs


def _swap_name(name: str) -> str:
    whole = name_pairs().get(name.lower())  # José María is one name
    return (
        _cased(whole, name)
        if whole
        else re.sub(
            r"[^ ]+", lambda word: _cased(name_pairs().get(word[0].lower(), word[0]), word[0]), name
        )
    )


def _swap_term(term: str, after: str) -> str:
    match = _TERM.fullmatch(term)
    prefix, stem, owner = match["prefix"], match["stem"], match["owner"] or ""
    word = stem.lower()
    if word == "her":
        other = "his" if _POSSESSIVE.match(after) else "him"
    elif word == "his" and not _POSSESSIVE.match(after):
        other = "hers"
    elif word in term_pairs():
        other = term_pairs()[word]
    else:  # chairwoman, salesmen; what has no counterpart (née, S/he) stays
        other = re.sub("(wo)?(?=m[ae]n$)", lambda found: "" if found[0] else "wo", word, count=1)
    return prefix + _cased(other, stem) + owner


def _cased(word: str, like: str) -> str:
    if like.isupper() and len(like) > 1:
        return word.upper()
    return word.title() if like[:1].isupper() else word


def rank_biased_overlap(
    before: pd.DataFrame, after: pd.DataFrame, *, persistence: float = 0.9, depth: int = 100
) -> pd.Series:
    """query_id -> overlap of two rankings of the same query: 1 the same order, 0 nothing in common
    to `depth`.

    before, after: query_id, candidate_id, rank. persistence: chance that a reader goes on to the
    next rank; at .9 the first ten ranks carry 86% of the weight. Queries with fewer than `depth`
    candidates are compared to their end.
    Source: Webber, Moffat, Zobel (ACM TOIS 28(4), 2010), the extrapolated form for lists of one
    length (eq. 30).
    Raises DataError if the two answer different queries.
    """
    ranks = [
        frame[frame["rank"] <= depth].set_index(["query_id", "candidate_id"])["rank"]
        for frame in (before, after)
    ]
    sizes = [rank.groupby(level="query_id").size() for rank in ranks]
    if not sizes[0].equals(sizes[1]):
        raise DataError(
            "the two rankings do not hold the same queries with as many candidates each; rank the same "
            "jobs and resumes twice"
        )
    both = pd.concat(ranks, axis=1, join="inner").max(
        axis=1
    )  # the depth from which both lists hold a candidate
    values = {}
    for query, size in sizes[0].items():
        found = both.loc[[query]].to_numpy(int) if query in both.index.get_level_values(0) else []
        depths = np.arange(1, size + 1)
        agreement = np.bincount(found, minlength=size + 1)[1:].cumsum() / depths
        weight = persistence**depths
        values[query] = (
            agreement[-1] * weight[-1]
            + (1 - persistence) / persistence * (agreement * weight).sum()
        )
    return pd.Series(values, name="rbo").rename_axis("query_id")


def compare_rankings(
    before: pd.DataFrame,
    after: pd.DataFrame,
    *,
    k: int,
    groups: pd.Series | None = None,
    clusters: pd.Series | None = None,
    candidate_clusters: pd.Series | None = None,
    persistence: float = 0.9,
    depth: int = 100,
) -> pd.DataFrame:
    """What moved between two rankings of the same texts but for one change, e.g. swapped gender
    terms.

    before, after: query_id, candidate_id, rank, score; groups: candidate_id -> group; clusters:
    query_id -> cluster;
    candidate_clusters: candidate_id -> what candidates share, e.g. their given name, which is what
    was swapped.
    Returns measure, group ("all"), value, low, high (95%), n, n_clusters: rank-biased overlap and
    the share of the top k that stayed, over queries or their clusters; score shift, in the score's
    units, and shift in places (positive: further up), by group, over candidates or their clusters,
    each a mean over queries.
    """
    overlap = rank_biased_overlap(before, after, persistence=persistence, depth=depth)
    top = [frame.loc[frame["rank"] <= k, ["query_id", "candidate_id"]] for frame in (before, after)]
    stayed = top[0].merge(top[1]).groupby("query_id").size().reindex(overlap.index, fill_value=0)
    stayed = stayed / top[0].groupby("query_id").size()
    of_query = None if clusters is None else clusters.reindex(overlap.index).to_numpy()
    rows = [
        {
            "measure": name,
            "group": "all",
            **mean_interval(values.reindex(overlap.index).to_numpy(), of_query),
        }
        for name, values in (("rank-biased overlap", overlap), (f"top {k} kept", stayed))
    ]
    pairs = before.merge(after, on=["query_id", "candidate_id"], suffixes=("", "_after"))
    shifts = (
        pd.DataFrame(
            {
                "score shift": pairs["score_after"] - pairs["score"],
                "places up": pairs["rank"] - pairs["rank_after"],
            }
        )
        .groupby(pairs["candidate_id"])
        .mean()
    )
    of_candidate = (
        pd.Series("all", index=shifts.index) if groups is None else groups.reindex(shifts.index)
    )
    for name in shifts:
        for group, part in shifts.groupby(of_candidate):
            alike = (
                None
                if candidate_clusters is None
                else candidate_clusters.reindex(part.index).to_numpy()
            )
            rows.append(
                {"measure": name, "group": group, **mean_interval(part[name].to_numpy(), alike)}
            )
    return pd.DataFrame(rows)
