"""Hypothetical documents: a resume for every job (HyRE, ConFit v2, arXiv 2502.12361, section 3.2) or
a job for every resume; a variant without a language model, upper bounds and controls.

Every generator returns a frame own_id, source_id, text: the document that is extended, the document
that the text was taken from ("" if it was written), and the hypothetical text ("" where there is
none).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
import pandas as pd

from matchlib.data.rules import split_items
from matchlib.data.schema import DataError
from matchlib.data.splits import JACCARD, duplicate_groups, shingles
from matchlib.data.words import words
from matchlib.language.llm import LanguageModel
from matchlib.language.prompts import few_shot, few_shot_form
from matchlib.retrieval.encoder import Encoder
from matchlib.retrieval.search import (
    fuse_by_rank,
    search_bm25,
    search_dense,
)

TUNED = ("sft", "sft_dpo")
"""HyRE by a local model that is tuned on accepted pairs, see
`tuning.hyre_writer`."""
HYRE = ("few_shot", "local", *TUNED)
GENERATORS = ("knn", *HYRE)
"""knn is not HyRE: no text is written, a neighbour's is used; claims about HyRE are for the others."""
UPPER_BOUNDS = ("max_match_label", "max_match_encoder", "centroid")
"""Oracle upper bounds: they use the labels of the queries that are tested."""
CONTROLS = ("neighbour_alone", "random_same_occupation", "repeat")


@dataclass(frozen=True)
class Side:
    """Which documents are extended, and by what."""

    own: str
    own_id: str
    other: str
    other_id: str
    heading: str
    prompt: str


SIDES = {
    "jobs": Side(
        "jobs",
        "job_id",
        "resumes",
        "resume_id",
        "[An Example Resume]",
        "hyre_resume",
    ),
    "resumes": Side(
        "resumes",
        "resume_id",
        "jobs",
        "job_id",
        "[An Example Job]",
        "hyre_job",
    ),
}


EXAMPLE_WORDS = 300
"""Longer documents are cut in a language model's prompt."""
ANSWER_TOKENS = 512
"""A hypothetical text that does not end within these is truncated, and not used."""
RUN_OF_WORDS = 12
"""So many words in a row of another document are copied, not met by chance."""


class TextWriter(Protocol):
    """Who writes the texts of TUNED: `tuning.hyre_writer.TunedWriter`."""

    def write(self) -> pd.DataFrame: ...


def generate(
    tables: Mapping[str, pd.DataFrame],
    side: Side,
    generator: str,
    *,
    encoder: Encoder,
    model: LanguageModel | None = None,
    tuned: TextWriter | None = None,
    n_examples: int = 3,
    seed: int = 1,
) -> pd.DataFrame:
    """The hypothetical text of every document of one side, by a name of GENERATORS, UPPER_BOUNDS or
    CONTROLS.

    encoder: for knn and the upper bounds; model, n_examples: see `written`; tuned: for TUNED.
    Raises DataError on an unknown name and, but for UPPER_BOUNDS, if a held-out candidate's text is
    inside a text.
    """
    known = (*GENERATORS, *UPPER_BOUNDS, *CONTROLS)
    if generator not in known:
        raise DataError(f"generator {generator!r} is not one of {', '.join(known)}")
    own = tables[side.own]
    if generator in UPPER_BOUNDS:
        own_vectors = _encode(encoder, tables, side.own)
        other_vectors = _encode(encoder, tables, side.other)
        return upper_bound(tables, side, generator, own_vectors, other_vectors)
    if generator in ("few_shot", "local"):
        if model is None:
            raise DataError(f"generator {generator!r} needs a language model; set language_model")
        found = written(tables, side, model, n_examples=n_examples, seed=seed)
    elif generator in TUNED:
        if tuned is None:
            raise DataError(f"generator {generator!r} needs a tuned model; set base_model")
        found = tuned.write()
    elif generator == "random_same_occupation":
        found = random_of_group(tables, side, "occupation", seed=seed)
    else:
        found = nearest_accepted(tables, side, _encode(encoder, tables, side.own))
        if generator == "repeat":
            found = repeated(own, side, list(found["text"].str.len()))
    require_no_leak(found, tables, side)
    return found


def _encode(encoder: Encoder, tables: Mapping[str, pd.DataFrame], table: str) -> np.ndarray:
    texts = list(tables[table]["text"])
    return encoder.encode_jobs(texts) if table == "jobs" else encoder.encode_resumes(texts)


@dataclass(frozen=True)
class Copies:
    """Which documents are near copies of one another, and with whom each query has a label.

    own, other: id -> group of near copies; labelled: own id -> groups of the other side with a
    label, in any split.
    """

    own: Mapping[str, int]
    other: Mapping[str, int]
    labelled: Mapping[str, set[int]]

    @classmethod
    def of(cls, tables: Mapping[str, pd.DataFrame], side: Side) -> Copies:
        own = _group_of_id(tables[side.own], side.own_id)
        other = _group_of_id(tables[side.other], side.other_id)
        labels = tables["labels"]
        group_of_label = labels[side.other_id].map(other)
        labelled = group_of_label.groupby(labels[side.own_id]).agg(set)
        return cls(own, other, labelled.to_dict())

    def may_teach(self, own_id: str, query: str) -> bool:
        """Whether a document's pairs may be shown to a query: not where it is the query or a near
        copy of it."""
        return self.own[own_id] != self.own[query]

    def may_be_shown(self, other_id: str, query: str) -> bool:
        """Whether a candidate may be shown to a query: not where it, or a near copy, has a label
        with the query."""
        return self.other[other_id] not in self.labelled.get(query, set())

    def allow(self, pair: tuple[str, str], query: str) -> bool:
        """Whether an accepted pair may be an example for a query."""
        own_id, other_id = pair
        return self.may_teach(own_id, query) and self.may_be_shown(other_id, query)


def _group_of_id(documents: pd.DataFrame, id_column: str) -> dict[str, int]:
    groups = duplicate_groups(documents["text"].tolist())
    return dict(zip(documents[id_column], groups, strict=True))


def accepted_in_training(labels: pd.DataFrame) -> pd.DataFrame:
    """The rows of labels that accept, in the training split."""
    return labels[(labels["split"] == "train") & (labels["label"] == 1)]


def nearest_accepted(
    tables: Mapping[str, pd.DataFrame],
    side: Side,
    own_vectors: np.ndarray,
) -> pd.DataFrame:
    """kNN augmentation: the accepted candidate of the most similar *training* query, by BM25 and
    encoder (reciprocal ranks).

    own_vectors: (n, dim) of tables[side.own], all splits. Never a candidate that the query has any
    label with, nor a near copy of such a candidate; and neither the query nor a near copy of it is
    its own neighbour.
    """
    own = tables[side.own]
    accepted = accepted_in_training(tables["labels"])
    accepted_of = accepted.groupby(side.own_id)[side.other_id].agg(list).to_dict()
    text_of = tables[side.other].set_index(side.other_id)["text"]
    copies = Copies.of(tables, side)
    with_accepted = np.flatnonzero(own[side.own_id].isin(accepted_of))
    if not len(with_accepted):
        raise DataError(
            "no training query has an accepted candidate; bring labels, or another generator"
        )
    texts = own["text"].to_numpy()
    ids = own[side.own_id].to_numpy()
    by_words = search_bm25(list(texts), list(texts[with_accepted]))
    by_encoder = search_dense(own_vectors, own_vectors[with_accepted])
    hits = fuse_by_rank([by_words, by_encoder], len(with_accepted))
    rows = []
    for query, positions in zip(ids, hits.positions, strict=True):
        neighbours = ids[with_accepted[positions]]
        source = _first_allowed(query, neighbours, accepted_of, copies)
        rows.append((query, source, text_of[source] if source else ""))
    return text_frame(rows)


def _first_allowed(
    query: str,
    neighbours: Iterable[str],
    accepted_of: Mapping[str, list[str]],
    copies: Copies,
) -> str:
    """The first accepted candidate of the nearest neighbour that the query may be shown, or ""."""
    for neighbour in neighbours:
        if not copies.may_teach(neighbour, query):
            continue
        for source in accepted_of[neighbour]:
            if copies.may_be_shown(source, query):
                return source
    return ""


def written(
    tables: Mapping[str, pd.DataFrame],
    side: Side,
    model: LanguageModel,
    *,
    n_examples: int,
    seed: int,
) -> pd.DataFrame:
    """HyRE: a language model is shown n_examples accepted training pairs and writes the hypothetical
    document; one without a chat template fills in a form, see `few_shot_form`.

    All queries are shown the same pairs, but none its own pair, nor a candidate that has a label
    with it, nor a near copy of either: the next pairs drawn replace them. Refused, truncated and
    empty answers give no text; model.usage counts them. Raises DataError where a query is left with
    too few examples.
    """
    accepted = accepted_in_training(tables["labels"])
    if len(accepted) < n_examples:
        raise DataError(
            f"{len(accepted)} accepted training pairs are fewer than the {n_examples} examples asked for"
        )
    drawn = accepted.sample(frac=1, random_state=seed)
    pairs = list(zip(drawn[side.own_id], drawn[side.other_id], strict=True))
    own = tables[side.own].set_index(side.own_id)["text"]
    other = tables[side.other].set_index(side.other_id)["text"]
    copies = Copies.of(tables, side)
    prompt_of = few_shot_form if model.continues_text else few_shot
    prompts = []
    for query, text in own.items():
        allowed = (pair for pair in pairs if copies.allow(pair, query))
        shown = [(own[a], other[b]) for a, b in islice(allowed, n_examples)]
        if len(shown) < n_examples:
            raise DataError(
                f"{query!r} is left with {len(shown)} examples of the {n_examples} asked for, because "
                f"the other accepted training pairs hold its own answer; lower examples, or bring more"
            )
        prompts.append(prompt_of(side.prompt, shown, text, max_words=EXAMPLE_WORDS))
    rows = []
    for query, answer in zip(own.index, model.complete(prompts), strict=True):
        rows.append((query, "", "" if answer.problem else answer.text.strip()))
    return text_frame(rows)


def upper_bound(
    tables: Mapping[str, pd.DataFrame],
    side: Side,
    kind: str,
    own_vectors: np.ndarray,
    other_vectors: np.ndarray,
) -> pd.DataFrame:
    """What a perfect generator could give: an oracle that uses the labels of every split (the
    paper's appendix B.2).

    max_match_label: an accepted candidate, the one nearest by the encoder; max_match_encoder: the
    labelled one that the encoder scores best; centroid: the labelled one nearest to the mean of the
    accepted ones' vectors.
    """
    if kind not in UPPER_BOUNDS:
        raise DataError(f"upper bound {kind!r} is not one of {', '.join(UPPER_BOUNDS)}")
    text_of = tables[side.other].set_index(side.other_id)["text"]
    row_of = pd.Series(range(len(text_of)), index=text_of.index)
    labels = tables["labels"]
    labelled_by_query = labels.groupby(side.own_id)[side.other_id].agg(list)
    accepted_by_query = labels[labels["label"] == 1].groupby(side.own_id)[side.other_id].agg(list)
    rows = []
    for query, vector in zip(tables[side.own][side.own_id], own_vectors, strict=True):
        accepted = accepted_by_query.get(query, [])
        options = labelled_by_query.get(query, [])
        target = vector
        if kind == "max_match_label":
            options = accepted
        if kind == "centroid":
            options = options if accepted else []
            target = other_vectors[row_of[accepted]].mean(axis=0) if accepted else vector
        source = ""
        if options:
            similarity = [float(other_vectors[row_of[option]] @ target) for option in options]
            source = options[int(np.argmax(similarity))]
        rows.append((query, source, text_of[source] if source else ""))
    return text_frame(rows)


def random_of_group(
    tables: Mapping[str, pd.DataFrame],
    side: Side,
    column: str,
    *,
    seed: int,
) -> pd.DataFrame:
    """Control: an accepted training candidate drawn from those in the query's own group
    (occupation), neither labelled with the query nor a near copy of one that is."""
    own = tables[side.own]
    for table in (side.own, side.other):
        if column not in tables[table]:
            raise DataError(
                f"{table} have no column {column!r} to draw within; choose another control"
            )
    accepted = accepted_in_training(tables["labels"])[side.other_id].unique()
    pool = tables[side.other].set_index(side.other_id).loc[accepted]
    ids_of_group = pool.groupby(column).groups
    copies = Copies.of(tables, side)
    rng = np.random.default_rng(seed)
    rows = []
    for query, group in zip(own[side.own_id], own[column], strict=True):
        options = ids_of_group.get(group, [])
        allowed = [option for option in options if copies.may_be_shown(option, query)]
        source = allowed[rng.integers(len(allowed))] if allowed else ""
        rows.append((query, source, pool.loc[source, "text"] if source else ""))
    return text_frame(rows)


def repeated(own: pd.DataFrame, side: Side, lengths: Sequence[int]) -> pd.DataFrame:
    """Control: the document's own text again, to as many characters as the hypothetical text has."""
    rows = []
    for name, text, length in zip(own[side.own_id], own["text"], lengths, strict=True):
        copies = 1 + length // max(len(text), 1)
        rows.append((name, "", (f"{text}\n" * copies)[:length]))
    return text_frame(rows)


def enrich(
    own: pd.DataFrame,
    side: Side,
    hypothetical: pd.DataFrame,
    *,
    alone: bool = False,
) -> pd.DataFrame:
    """The documents with text, heading and hypothetical text; alone: the hypothetical text in the
    place of theirs.

    A document without a hypothetical text stays as it is.
    """
    extra = own[side.own_id].map(hypothetical.set_index("own_id")["text"]).fillna("")
    richer = extra if alone else own["text"] + f"\n\n{side.heading}\n" + extra
    return own.assign(text=richer.where(extra != "", own["text"]))


def require_no_leak(
    hypothetical: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
    side: Side,
) -> None:
    """Raise DataError if a hypothetical text holds, word for word, the text of a validation or test
    candidate.

    Texts of fewer than 12 words are only compared whole; what is also a training text is no leak.
    """
    other = tables[side.other]
    training = {tuple(text.split()) for text in other.loc[other["split"] == "train", "text"]}
    held_out = other[other["split"] != "train"]
    words_of = dict(
        zip(
            held_out[side.other_id],
            held_out["text"].str.split().map(tuple),
            strict=True,
        )
    )
    begins = {words[:12]: name for name, words in words_of.items() if words not in training}
    for own_id, text in zip(hypothetical["own_id"], hypothetical["text"], strict=True):
        words = tuple(text.split())
        for at in range(len(words)):
            found = begins.get(words[at : at + 12])
            if found and words[at : at + len(words_of[found])] == words_of[found]:
                raise DataError(
                    f"the hypothetical text of {own_id!r} holds the held-out document {found!r}; nothing "
                    f"is written: choose a generator that is no upper bound"
                )


def is_copy(text: str, documents: Iterable[str]) -> bool:
    """Whether a text copies one of some documents: as a near copy (Jaccard similarity JACCARD of runs
    of 3 words), or by RUN_OF_WORDS words in a row."""
    runs = _runs_of_words(text)
    of_text = shingles(text)
    for document in documents:
        of_document = shingles(document)
        n_shared = len(np.intersect1d(of_text, of_document, assume_unique=True))
        n_either = len(of_text) + len(of_document) - n_shared
        if n_shared >= JACCARD * n_either or runs & _runs_of_words(document):
            return True
    return False


def copy_shares(texts: Sequence[str], documents: Sequence[str]) -> dict[str, float]:
    """Shares of texts that copy one of some documents: near_copies, runs_of_12_words; see `is_copy`.

    Empty texts do not count; NaN without a text. Formulaic documents share runs by chance, so look
    at the same shares for other people's documents.
    """
    kept = [text for text in texts if text]
    if not kept:
        return {"near_copies": np.nan, "runs_of_12_words": np.nan}
    groups = duplicate_groups([*documents, *kept])
    of_documents = {*groups[: len(documents)]}
    is_near = [group in of_documents for group in groups[len(documents) :]]
    runs: set[tuple[str, ...]] = set()
    for document in documents:
        runs |= _runs_of_words(document)
    has_run = [bool(runs & _runs_of_words(text)) for text in kept]
    return {"near_copies": float(np.mean(is_near)), "runs_of_12_words": float(np.mean(has_run))}


def _runs_of_words(text: str) -> set[tuple[str, ...]]:
    found = words(text)
    n_runs = len(found) - RUN_OF_WORDS + 1
    return {tuple(found[start : start + RUN_OF_WORDS]) for start in range(n_runs)}


def coverage(own: pd.DataFrame, side: Side, hypothetical: pd.DataFrame) -> pd.Series:
    """Share of each document's skills (column `skills`, "a; b") that its hypothetical text names,
    by own_id.

    Only names are compared, in lower case: a paraphrase counts as missing. NaN without skills or
    text.
    """
    text = own[side.own_id].map(hypothetical.set_index("own_id")["text"]).fillna("").str.lower()
    wanted = own["skills"].str.lower().map(split_items)
    shares = []
    for skills, found in zip(wanted, text, strict=True):
        named = [skill in found for skill in skills]
        shares.append(np.mean(named) if skills and found else np.nan)
    return pd.Series(shares, index=own[side.own_id], name="coverage")


def cut_share(encoder: Encoder, own: pd.Series, richer: pd.Series) -> float:
    """Share of the tokens that were added which the encoder never reads, because its limit cuts
    them off."""
    limit = encoder.model.max_seq_length
    before = _count_tokens(encoder, own)
    after = _count_tokens(encoder, richer)
    added = np.maximum(after - before, 0)
    read = np.clip(np.minimum(after, limit) - np.minimum(before, limit), 0, None)
    return float(1 - read.sum() / added.sum()) if added.sum() else 0.0


def _count_tokens(encoder: Encoder, texts: pd.Series) -> np.ndarray:
    encoded = encoder.model.tokenizer(list(texts), verbose=False)
    return np.array([len(ids) for ids in encoded["input_ids"]])


def text_frame(rows: Iterable[tuple[str, str, str]]) -> pd.DataFrame:
    """A frame own_id, source_id, text, as every generator returns it."""
    return pd.DataFrame(
        list(rows),
        columns=["own_id", "source_id", "text"],
        dtype=object,
    )
