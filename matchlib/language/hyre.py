"""Richer job texts: a hypothetical resume for every job (HyRE, ConFit v2, arXiv 2502.12361, section
3.2), its stand-in without a language model, its upper bounds and its controls; and the mirror, a
hypothetical job for every resume.

Every generator returns a frame own_id, source_id, text: the document that gets richer, the document
that the text was taken from ("" if it was written), and the hypothetical text ("" where there is
none).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pandas as pd

from matchlib.data.schema import DataError
from matchlib.data.splits import duplicate_groups
from matchlib.language.llm import LanguageModel
from matchlib.language.prompts import few_shot
from matchlib.retrieval.encoder import Encoder
from matchlib.retrieval.search import fuse_by_rank, search_bm25, search_dense

GENERATORS = ("knn", "few_shot", "local")
"""knn is no HyRE: no text is written, a neighbour's is lent; claims about HyRE are for the other
two."""
PEEKING = ("max_match_label", "max_match_encoder", "centroid")
"""Upper bounds: they look at the labels of the very queries that are tested."""
CONTROLS = ("neighbour_alone", "random_same_occupation", "repeat")


@dataclass(frozen=True)
class Side:
    """Which documents get richer, and by what."""

    own: str
    own_id: str
    other: str
    other_id: str
    heading: str
    prompt: str


SIDES = {
    "jobs": Side("jobs", "job_id", "resumes", "resume_id", "[An Example Resume]", "hyre_resume"),
    "resumes": Side("resumes", "resume_id", "jobs", "job_id", "[An Example Job]", "hyre_job"),
}


def generate(
    tables: Mapping[str, pd.DataFrame],
    side: Side,
    generator: str,
    *,
    encoder: Encoder,
    model: LanguageModel | None = None,
    n_examples: int = 3,
    max_words: int = 300,
    group: str = "occupation",
    seed: int = 1,
) -> pd.DataFrame:
    """The hypothetical text of every document of one side, by a name of GENERATORS, PEEKING or
    CONTROLS.

    encoder: for knn and the upper bounds; model, n_examples, max_words: see `written`; group: see
    `random_of_group`.
    Raises DataError on an unknown name and, but for PEEKING, if a held-out candidate's text is
    inside a text.
    """
    if generator not in (*GENERATORS, *PEEKING, *CONTROLS):
        raise DataError(
            f"generator {generator!r} is not one of {', '.join((*GENERATORS, *PEEKING, *CONTROLS))}"
        )
    own, other = tables[side.own], tables[side.other]
    encode = {"jobs": encoder.encode_jobs, "resumes": encoder.encode_resumes}
    if generator in ("few_shot", "local"):
        if model is None:
            raise DataError(f"generator {generator!r} needs a language model; set language_model")
        found = written(tables, side, model, n_examples=n_examples, max_words=max_words, seed=seed)
    elif generator == "random_same_occupation":
        found = random_of_group(tables, side, group, seed=seed)
    elif generator in PEEKING:
        return upper_bound(
            tables,
            side,
            generator,
            encode[side.own](list(own["text"])),
            encode[side.other](list(other["text"])),
        )
    else:
        found = nearest_accepted(tables, side, encode[side.own](list(own["text"])))
        if generator == "repeat":
            found = repeated(own, side, list(found["text"].str.len()))
    require_no_leak(found, tables, side)
    return found


@dataclass(frozen=True)
class _Copies:
    """Which documents are near copies of one another, and whom each query has a label with.

    own, other: id -> group of near copies; labelled: own id -> groups of the other side with a
    label, in any split.
    """

    own: Mapping[str, int]
    other: Mapping[str, int]
    labelled: Mapping[str, set[int]]

    @classmethod
    def of(cls, tables: Mapping[str, pd.DataFrame], side: Side) -> _Copies:
        groups = [
            dict(
                zip(
                    tables[table][column],
                    duplicate_groups(tables[table]["text"].tolist()),
                    strict=True,
                )
            )
            for table, column in ((side.own, side.own_id), (side.other, side.other_id))
        ]
        labels = tables["labels"]
        known = (
            labels.assign(group=labels[side.other_id].map(groups[1]))
            .groupby(side.own_id)["group"]
            .agg(set)
        )
        return cls(*groups, known.to_dict())

    def may_teach(self, own_id: str, query: str) -> bool:
        """Whether a document's pairs may be shown to a query: not where it is the query or a near
        copy of it."""
        return self.own[own_id] != self.own[query]

    def may_be_shown(self, other_id: str, query: str) -> bool:
        """Whether a candidate may be shown to a query: not where it, or a near copy, has a label
        with the query."""
        return self.other[other_id] not in self.labelled.get(query, set())


def nearest_accepted(
    tables: Mapping[str, pd.DataFrame], side: Side, own_vectors: np.ndarray
) -> pd.DataFrame:
    """kNN augmentation: the accepted candidate of the most similar *training* query, by BM25 and
    encoder (reciprocal ranks).

    own_vectors: (n, dim) of tables[side.own], all splits. Never a candidate that the query has any
    label with, nor a near copy of such a candidate; and neither the query nor a near copy of it is
    its own neighbour.
    """
    own, labels = tables[side.own], tables["labels"]
    accepted = labels[(labels["split"] == "train") & (labels["label"] == 1)]
    accepted_of = accepted.groupby(side.own_id)[side.other_id].agg(list).to_dict()
    text_of = tables[side.other].set_index(side.other_id)["text"]
    copies = _Copies.of(tables, side)
    at = np.flatnonzero(own[side.own_id].isin(accepted_of))
    if not len(at):
        raise DataError(
            "no training query has an accepted candidate to lend; bring labels, or another generator"
        )
    texts, ids = own["text"].to_numpy(), own[side.own_id].to_numpy()
    by_words = search_bm25(list(texts), list(texts[at]))
    hits = fuse_by_rank([by_words, search_dense(own_vectors, own_vectors[at])], len(at))
    rows = []
    for query, positions in enumerate(hits.positions):
        lenders = (ids[at[p]] for p in positions if copies.may_teach(ids[at[p]], ids[query]))
        found = (
            source
            for lender in lenders
            for source in accepted_of[lender]
            if copies.may_be_shown(source, ids[query])
        )
        source = next(found, "")
        rows.append((ids[query], source, text_of[source] if source else ""))
    return _frame(rows)


def written(
    tables: Mapping[str, pd.DataFrame],
    side: Side,
    model: LanguageModel,
    *,
    n_examples: int,
    max_words: int,
    seed: int,
) -> pd.DataFrame:
    """HyRE proper: a language model is shown n accepted training pairs, the same for all queries
    but those whose answer they hold, and writes.

    No query is shown its own pair, nor a candidate that has a label with it, nor a near copy of
    either: the next pairs drawn stand in their place. Refused, truncated and empty answers give no
    text; model.usage counts them. max_words cuts every document shown. Raises DataError where a
    query is left with fewer than n examples.
    """
    labels = tables["labels"]
    accepted = labels[(labels["split"] == "train") & (labels["label"] == 1)]
    if len(accepted) < n_examples:
        raise DataError(
            f"{len(accepted)} accepted training pairs are fewer than the {n_examples} examples asked for"
        )
    shown = accepted.sample(frac=1, random_state=seed)
    own, other = (
        tables[table].set_index(column)["text"]
        for table, column in ((side.own, side.own_id), (side.other, side.other_id))
    )
    pairs = list(zip(shown[side.own_id], shown[side.other_id], strict=True))
    copies, prompts = _Copies.of(tables, side), []
    for name, text in own.items():
        allowed = (
            pair
            for pair in pairs
            if copies.may_teach(pair[0], name) and copies.may_be_shown(pair[1], name)
        )
        examples = [(own[a], other[b]) for a, b in islice(allowed, n_examples)]
        if len(examples) < n_examples:
            raise DataError(
                f"{name!r} is left with {len(examples)} examples of the {n_examples} asked for, because "
                f"the other accepted training pairs hold its own answer; lower examples, or bring more"
            )
        prompts.append(few_shot(side.prompt, examples, text, max_words=max_words))
    answers = model.complete(prompts)
    return _frame(
        (name, "", "" if answer.problem else answer.text.strip())
        for name, answer in zip(own.index, answers, strict=True)
    )


def upper_bound(
    tables: Mapping[str, pd.DataFrame],
    side: Side,
    kind: str,
    own_vectors: np.ndarray,
    other_vectors: np.ndarray,
) -> pd.DataFrame:
    """What a perfect generator could give; it peeks at the labels of every split (the paper's
    appendix B.2).

    max_match_label: an accepted candidate, the one nearest by the encoder; max_match_encoder: the
    labelled one that the encoder scores best; centroid: the labelled one nearest to the mean of the
    accepted ones' vectors.
    """
    if kind not in PEEKING:
        raise DataError(f"upper bound {kind!r} is not one of {', '.join(PEEKING)}")
    text_of = tables[side.other].set_index(side.other_id)["text"]
    place = pd.Series(range(len(text_of)), index=text_of.index)
    groups, rows = dict(iter(tables["labels"].groupby(side.own_id))), []
    for name, vector in zip(tables[side.own][side.own_id], own_vectors, strict=True):
        mine = groups.get(name)
        accepted = [] if mine is None else list(mine.loc[mine["label"] == 1, side.other_id])
        labelled = [] if mine is None else list(mine[side.other_id])
        options = (
            accepted
            if kind == "max_match_label"
            else labelled
            if kind == "max_match_encoder" or accepted
            else []
        )
        target = (
            other_vectors[place[accepted]].mean(axis=0)
            if kind == "centroid" and accepted
            else vector
        )
        source = (
            max(options, key=lambda option: float(other_vectors[place[option]] @ target))
            if options
            else ""
        )
        rows.append((name, source, text_of[source] if source else ""))
    return _frame(rows)


def random_of_group(
    tables: Mapping[str, pd.DataFrame], side: Side, column: str, *, seed: int
) -> pd.DataFrame:
    """Control: an accepted training candidate drawn from those in the query's own group
    (occupation), neither labelled with the query nor a near copy of one that is."""
    own, labels = tables[side.own], tables["labels"]
    for table in (side.own, side.other):
        if column not in tables[table]:
            raise DataError(
                f"{table} have no column {column!r} to draw within; choose another control"
            )
    accepted = labels[(labels["split"] == "train") & (labels["label"] == 1)][side.other_id].unique()
    pool = tables[side.other].set_index(side.other_id).loc[accepted]
    options = (
        pool.groupby(column)["text"]
        .agg(lambda part: list(zip(part.index, part, strict=True)))
        .to_dict()
    )
    copies, rng, rows = _Copies.of(tables, side), np.random.default_rng(seed), []
    for name, group in zip(own[side.own_id], own[column], strict=True):
        allowed = [
            option for option in options.get(group, []) if copies.may_be_shown(option[0], name)
        ]
        rows.append((name, *(allowed[rng.integers(len(allowed))] if allowed else ("", ""))))
    return _frame(rows)


def repeated(own: pd.DataFrame, side: Side, lengths: Sequence[int]) -> pd.DataFrame:
    """Control: the document's own text again, to as many characters as the hypothetical text has."""
    return _frame(
        (name, "", (f"{text}\n" * (1 + length // max(len(text), 1)))[:length])
        for name, text, length in zip(own[side.own_id], own["text"], lengths, strict=True)
    )


def enrich(
    own: pd.DataFrame, side: Side, hypothetical: pd.DataFrame, *, alone: bool = False
) -> pd.DataFrame:
    """The documents with text, heading and hypothetical text; alone: the hypothetical text in the
    place of theirs.

    A document without a hypothetical text stays as it is.
    """
    extra = own[side.own_id].map(hypothetical.set_index("own_id")["text"]).fillna("")
    richer = extra if alone else own["text"] + f"\n\n{side.heading}\n" + extra
    return own.assign(text=richer.where(extra != "", own["text"]))


def require_no_leak(
    hypothetical: pd.DataFrame, tables: Mapping[str, pd.DataFrame], side: Side
) -> None:
    """Raise DataError if a hypothetical text holds, word for word, the text of a validation or test
    candidate.

    Texts of fewer than 12 words are only compared whole; what is also a training text is no leak.
    """
    other = tables[side.other]
    training = {tuple(text.split()) for text in other.loc[other["split"] == "train", "text"]}
    held_out = other[other["split"] != "train"]
    words_of = {
        name: tuple(text.split())
        for name, text in zip(held_out[side.other_id], held_out["text"], strict=True)
    }
    begins = {words[:12]: name for name, words in words_of.items() if words not in training}
    for own_id, text in zip(hypothetical["own_id"], hypothetical["text"], strict=True):
        words = tuple(text.split())
        for at in range(len(words)):
            found = begins.get(words[at : at + 12])
            if found and words[at : at + len(words_of[found])] == words_of[found]:
                raise DataError(
                    f"the hypothetical text of {own_id!r} holds the held-out document {found!r}; nothing "
                    f"is written: choose a generator that does not peek"
                )


def coverage(own: pd.DataFrame, side: Side, hypothetical: pd.DataFrame) -> pd.Series:
    """Share of each document's skills (column `skills`, "a; b") that its hypothetical text names,
    by own_id.

    Only names are compared, in lower case: a paraphrase counts as missing. NaN without skills or
    text.
    """
    text = own[side.own_id].map(hypothetical.set_index("own_id")["text"]).fillna("").str.lower()
    wanted = own["skills"].map(
        lambda cell: [skill.strip().lower() for skill in cell.split(";") if skill.strip()]
    )
    shares = [
        np.mean([skill in found for skill in skills]) if skills and found else np.nan
        for skills, found in zip(wanted, text, strict=True)
    ]
    return pd.Series(shares, index=own[side.own_id], name="coverage")


def cut_share(encoder: Encoder, own: pd.Series, richer: pd.Series) -> float:
    """Share of the tokens that were added which the encoder never reads, because its limit cuts
    them off."""
    tokenizer, limit = encoder.model.tokenizer, encoder.model.max_seq_length
    before, after = (
        [len(ids) for ids in tokenizer(list(texts), verbose=False)["input_ids"]]
        for texts in (own, richer)
    )
    added = np.maximum(np.array(after) - before, 0)
    read = np.clip(np.minimum(after, limit) - np.minimum(before, limit), 0, None)
    return float(1 - read.sum() / added.sum()) if added.sum() else 0.0


def _frame(rows: Iterable[tuple[str, str, str]]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=["own_id", "source_id", "text"], dtype=object)
