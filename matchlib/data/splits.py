"""Splits that keep test jobs, test resumes and their near-copies out of training."""

from __future__ import annotations

import hashlib
import logging
import math
from array import array
from collections.abc import Container
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from matchlib.data.schema import SPLITS, DataError
from matchlib.data.words import words

JACCARD = 0.8
LARGEST_COMPONENT = 0.05
SHINGLE_FACTORS = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], dtype=np.uint64
)
"""Odd factors, one a word of a shingle: with hashes of words they tell the order of the words, too."""
SECONDS_PER_MILLION_CHARACTERS = 0.3
SECONDS_WORTH_A_WORD = 60
"""A search that takes longer says so before it begins."""
PARTS = 16
ID_COLUMNS = {"jobs": "job_id", "resumes": "resume_id"}
ROUNDING = 1e-9
"""Jaccard similarities are compared with this much room: .56 * 25 is 14.000000000000002."""
logger = logging.getLogger(__name__)


def shingles(text: str) -> np.ndarray:
    """Hashes of a text's runs of 3 words (characters, where a script has no spaces); a shorter text
    is one run.

    Returns a sorted uint64 array without repetitions.
    """
    found = words(text)
    as_objects = np.array(found, dtype=object)
    hashes = pd.util.hash_array(as_objects, categorize=False)
    n_runs = max(1, len(found) - len(SHINGLE_FACTORS) + 1)
    runs = np.zeros(n_runs, dtype=np.uint64)
    for place, factor in enumerate(SHINGLE_FACTORS[: len(found)]):
        runs += hashes[place : place + n_runs] * factor
    return np.unique(runs)


@dataclass(frozen=True)
class ShingleSets:
    """The different shingle sets of some texts, one behind the other: 8 bytes a shingle, a Python
    set takes 70.

    set_of_text: (n_texts,) number of each text's set; texts that have just the same shingles share
    one, so that 10,000 identical texts are compared once.
    shingles: (n,) uint64; starts: (n_sets + 1,) where each set begins, and the end of the last.
    """

    set_of_text: np.ndarray
    shingles: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    @classmethod
    def of(cls, texts: list[str]) -> ShingleSets:
        """The sets of some texts; says so first where that will take minutes."""
        _say_if_long(texts)
        set_of_text = np.empty(len(texts), dtype=np.int64)
        number_of_set: dict[bytes, int] = {}
        kept = array("Q")
        starts = array("q", [0])
        for i, text in enumerate(texts):
            found = shingles(text).tobytes()
            key = hashlib.blake2b(found, digest_size=16).digest()
            if key not in number_of_set:
                number_of_set[key] = len(number_of_set)
                kept.frombytes(found)
                starts.append(len(kept))
            set_of_text[i] = number_of_set[key]
        return cls(
            set_of_text=set_of_text,
            shingles=np.frombuffer(kept, dtype=np.uint64),
            starts=np.frombuffer(starts, dtype=np.int64),
        )


def _say_if_long(texts: list[str]) -> None:
    characters = sum(map(len, texts))
    seconds = SECONDS_PER_MILLION_CHARACTERS * characters / 1e6
    if seconds >= SECONDS_WORTH_A_WORD:
        logger.warning(
            "looking for near-copies among %s texts (%s million characters): about %d minutes",
            f"{len(texts):,}",
            f"{characters / 1e6:,.0f}",
            math.ceil(seconds / 60),
        )


def _near_sets(
    sets: ShingleSets,
    threshold: float,
    *,
    most: float = math.inf,
) -> np.ndarray:
    """(n, 2) numbers of all pairs of different sets whose Jaccard similarity is at least
    `threshold`.

    Exact: two sets that similar must share one of their rarest shingles (prefix filter; Chaudhuri,
    Ganti, Kaushik, ICDE 2006), so only texts that meet there are compared.
    It stops once one set has over `most` neighbours: boilerplate, whose pairs would be quadratic.
    """
    ranks, starts = _shared_shingles(sets)
    sizes = np.diff(sets.starts)
    n_shared = np.diff(starts)
    n_single = sizes - n_shared
    n_needed = np.ceil(threshold * sizes - ROUNDING).astype(np.int64)
    n_prefix = sizes - n_needed + 1
    # the rarest are those that no other set holds
    n_rare = np.clip(n_prefix - n_single, 0, n_shared)
    prefixes = []
    for start, n in zip(starts[:-1], n_rare, strict=True):
        prefixes.append(ranks[start : start + n])
    n_shingles = int(ranks.max(initial=-1)) + 1
    meetings = _Meetings(prefixes, n_shingles=n_shingles)
    is_own = np.zeros(n_shingles, dtype=bool)
    pairs = [np.empty((0, 2), dtype=np.int64)]
    for i, prefix in enumerate(prefixes):
        # from the first shingle that two sets share they can share no more than what is left of
        # each
        left = n_shared[i] - np.arange(len(prefix))
        others, most_shared = meetings.earlier(prefix, left)
        sizes_together = sizes[i] + sizes[others]
        needed = threshold / (1 + threshold) * sizes_together - ROUNDING
        others = np.unique(others[most_shared >= needed])
        meetings.add(i, prefix, left)
        if not len(others):
            continue
        own = ranks[starts[i] : starts[i + 1]]
        is_own[own] = True
        shared = _count_marked(is_own, ranks, starts[others], starts[others + 1])
        is_own[own] = False
        size_of_union = sizes[i] + sizes[others] - shared
        near = others[shared >= threshold * size_of_union - ROUNDING]
        own_number = np.full(len(near), i)
        pairs.append(np.column_stack([near, own_number]))
        if len(near) > most:
            break
    return np.concatenate(pairs)


def _shared_shingles(sets: ShingleSets) -> tuple[np.ndarray, np.ndarray]:
    """The shingles that several sets hold, by rank: 0 is the rarest of all.

    Returns (n,) ranks, ascending within each set, and (n_sets + 1,) where each set begins, and the
    end of the last.
    """
    codes = np.full(len(sets.shingles), -1, dtype=np.int32)
    first_bits = sets.shingles >> np.uint64(60)
    part_of = first_bits.astype(np.uint8)
    frequencies = []
    n_codes = 0
    # a sixteenth at a time, since sorting takes several times the memory of what is sorted
    for part in range(PARTS):
        places = np.flatnonzero(part_of == part)
        in_part = sets.shingles[places]
        _, which, counts = np.unique(in_part, return_inverse=True, return_counts=True)
        is_shared = counts > 1
        next_code = n_codes + np.cumsum(is_shared) - 1
        code_of = np.where(is_shared, next_code, -1)
        codes[places] = code_of[which]
        frequencies.append(counts[is_shared])
        n_codes += int(is_shared.sum())
    rarest_first = np.argsort(np.concatenate(frequencies), kind="stable")
    rank_of = np.empty(n_codes, dtype=np.int32)
    rank_of[rarest_first] = np.arange(n_codes, dtype=np.int32)
    is_shared = codes >= 0
    # no set is empty, so that every slice of reduceat has an element
    n_shared = np.add.reduceat(is_shared, sets.starts[:-1], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(n_shared)])
    ranks = rank_of[codes[is_shared]]
    for start, end in zip(starts[:-1], starts[1:], strict=True):
        ranks[start:end].sort()
    return ranks, starts


class _Meetings:
    """Which sets have a shingle among their rarest: lists of sets by shingle, filled set by set."""

    def __init__(self, prefixes: list[np.ndarray], *, n_shingles: int):
        self.n_shingles = n_shingles
        n_members = np.zeros(n_shingles, dtype=np.int64)
        for prefix in prefixes:
            n_members[prefix] += 1  # no shingle occurs twice in a set
        total = int(n_members.sum())
        self._starts = np.cumsum(n_members) - n_members
        self._ends = self._starts.copy()
        self._members = np.empty(total, dtype=np.int32)
        self._left = np.empty(total, dtype=np.int32)

    def earlier(self, prefix: np.ndarray, left: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The sets added so far that have one of these shingles, as often as they have such.

        left: how many shingles the own set has from each of these on. Returns the sets and, of the
        own and the other set, the smaller number of shingles that are left.
        """
        starts = self._starts[prefix]
        ends = self._ends[prefix]
        places = _places(starts, ends)
        others = self._members[places]
        left_of_own = np.repeat(left, ends - starts)
        most_shared = np.minimum(self._left[places], left_of_own)
        return others, most_shared

    def add(
        self,
        number: int,
        prefix: np.ndarray,
        left: np.ndarray,
    ) -> None:
        """Put a set into the lists of its shingles."""
        ends = self._ends[prefix]
        self._members[ends] = number
        self._left[ends] = left
        self._ends[prefix] += 1


def _places(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """All numbers from each start to before its end, one range behind the other."""
    lengths = ends - starts
    starts_in_result = np.cumsum(lengths) - lengths
    shifts = np.repeat(starts - starts_in_result, lengths)
    return np.arange(lengths.sum()) + shifts


def _count_marked(
    is_marked: np.ndarray,
    values: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
) -> np.ndarray:
    """(n,) how many of values[start:end] are marked, for each start and end; none of the slices is
    empty."""
    places = _places(starts, ends)
    marked = is_marked[values[places]]
    lengths = ends - starts
    starts_in_marked = np.cumsum(lengths) - lengths
    return np.add.reduceat(marked, starts_in_marked, dtype=np.int64)


def duplicate_groups(
    texts: list[str],
    *,
    threshold: float = JACCARD,
    most: float = math.inf,
) -> np.ndarray:
    """(n,) int group of each text: near-duplicates, chained, share a group.

    Where one text has over `most` near-copies, the search stops there and groups that are larger
    stay unfound.
    """
    sets = ShingleSets.of(texts)
    pairs = _near_sets(sets, threshold, most=most)
    edges = np.ones(len(pairs))
    rows = pairs[:, 0]
    columns = pairs[:, 1]
    graph = coo_array((edges, (rows, columns)), shape=(len(sets), len(sets)))
    _, group_of_set = connected_components(graph, directed=False)
    return group_of_set[sets.set_of_text].astype(int)


def split_tables(
    tables: dict[str, pd.DataFrame],
    *,
    valid: float,
    test: float,
    seed: int,
) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Split jobs and resumes so that no test document, nor a near-copy, is in training.

    Jobs are drawn by group of near-duplicates; a group of resumes follows most of its labels;
    labels whose job and resume fell on different sides are dropped and counted. valid, test: shares
    of the jobs.
    Returns the tables with a column split, and notes. Raises DataError if one group holds over 5%
    of the rows, or if the test split is left without an accepted pair, or if the shares leave no
    training. test 1 makes all of it test.
    """
    if test == 1:
        everything = {name: frame.assign(split="test") for name, frame in tables.items()}
        return everything, ["all of it is the test split: there is nothing to train on"]
    if min(valid, test) <= 0 or valid + test >= 1:
        raise DataError(
            f"valid_share {valid} and test_share {test} must be above 0 and leave something "
            f"to train on; or set test_share: 1.0 to test on all of it"
        )
    rng = np.random.default_rng(seed)
    job_group = _groups(tables["jobs"], "jobs")
    resume_group = _groups(tables["resumes"], "resumes")
    share = {"train": 1 - valid - test, "valid": valid, "test": test}
    jobs = _split_jobs(tables["jobs"], job_group, tables["labels"], share, rng)
    split_of_job = jobs.set_index("job_id")["split"]
    labels = tables["labels"].assign(split=tables["labels"]["job_id"].map(split_of_job))
    resumes = _split_resumes(tables["resumes"], resume_group, labels, share, rng)
    split_of_resume = resumes.set_index("resume_id")["split"]
    crossing = labels["split"] != labels["resume_id"].map(split_of_resume)
    labels = labels[~crossing].reset_index(drop=True)
    check_splits(labels)
    n_copied_jobs = len(jobs) - job_group.max() - 1
    n_copied_resumes = len(resumes) - resume_group.max() - 1
    notes = [
        f"{crossing.sum():,} of {len(crossing):,} labels dropped: their job and resume are on different sides",
        f"near-duplicates kept on one side: {n_copied_jobs:,} jobs, {n_copied_resumes:,} resumes",
    ]
    return {**tables, "jobs": jobs, "resumes": resumes, "labels": labels}, notes


def _split_jobs(
    jobs: pd.DataFrame,
    group: np.ndarray,
    labels: pd.DataFrame,
    share: dict[str, float],
    rng: np.random.Generator,
) -> pd.DataFrame:
    """The jobs with a column split, drawn by group of near-duplicates."""
    accepted_labels = labels[labels["label"] == 1]
    is_accepted = jobs["job_id"].isin(accepted_labels["job_id"]).to_numpy()
    split_of_group = _draw_splits(group, is_accepted, share, rng)
    return jobs.assign(split=split_of_group[group])


def _split_resumes(
    resumes: pd.DataFrame,
    group: np.ndarray,
    labels: pd.DataFrame,
    share: dict[str, float],
    rng: np.random.Generator,
) -> pd.DataFrame:
    """The resumes with a column split: a group's is that of most of its labels, drawn by share
    where it has none.

    labels: with the split of their job.
    """
    names = list(share)
    group_of_resume = pd.Series(group, index=resumes["resume_id"])
    votes = labels.assign(group=labels["resume_id"].map(group_of_resume))
    counts = votes.groupby(["group", "split"]).size().unstack(fill_value=0)
    counts = counts.reindex(index=range(group.max() + 1), columns=names, fill_value=0)
    split_of_group = counts.idxmax(axis=1).to_numpy(dtype=object)
    has_no_label = counts.sum(axis=1) == 0
    n_unlabelled = int(has_no_label.sum())
    split_of_group[has_no_label] = rng.choice(names, p=list(share.values()), size=n_unlabelled)
    return resumes.assign(split=split_of_group[group])


def _draw_splits(
    group: np.ndarray,
    accepted: np.ndarray,
    share: dict[str, float],
    rng: np.random.Generator,
) -> np.ndarray:
    """Split of each group of jobs: exact shares, at least one each; groups with accepted pairs are
    drawn apart."""
    splits = np.empty(group.max() + 1, dtype=object)
    has_accepted = np.bincount(group, weights=accepted) > 0
    for members in (np.flatnonzero(has_accepted), np.flatnonzero(~has_accepted)):
        order = rng.permutation(members)
        n_valid = max(1, round(share["valid"] * len(order)))
        n_test = max(1, round(share["test"] * len(order)))
        test = order[:n_test]
        valid = order[n_test : n_test + n_valid]
        splits[order] = "train"
        splits[test] = "test"
        splits[valid] = "valid"
    return splits


def _groups(frame: pd.DataFrame, name: str) -> np.ndarray:
    most = max(LARGEST_COMPONENT * len(frame), 2)
    groups = duplicate_groups(frame["text"].tolist(), most=most)
    size_of_group = np.bincount(groups)
    largest = size_of_group.max()
    if largest > most:
        first_of_largest = int(np.argmax(size_of_group[groups]))
        example = frame.iloc[first_of_largest]["text"][:80]
        raise DataError(
            f"{name}: at least {largest:,} of {len(frame):,} texts are near-copies of each other (such as "
            f"{example!r}); remove boilerplate or duplicates, since they cannot be split fairly"
        )
    return groups


def check_splits(labels: pd.DataFrame) -> None:
    """Raise DataError if the test split has no accepted pair; without some in the others nothing is
    trained (02)."""
    is_test = labels["split"] == "test"
    is_accepted = labels["label"] == 1
    if not (is_test & is_accepted).any():
        raise DataError(
            f"the test split has no accepted pair ({len(labels):,} labels in all); bring more labels, or "
            f"change test_share or seed"
        )


def settle_splits(tables: dict[str, pd.DataFrame]) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Give every document the latest split that names it (train < valid < test); pools and
    preferences are test.

    For data whose labels come with a split. Labels whose job and resume then stand on different
    sides are dropped and counted. Documents that nothing names are training documents. Returns the
    tables and notes.
    """
    named = _rows_with_split(tables)
    named["order"] = named["split"].map(SPLITS.index)
    settled = dict(tables)
    split_of = {}
    for name, key in ID_COLUMNS.items():
        latest = named.groupby(key)["order"].max()
        order = tables[name][key].map(latest).fillna(0).astype(int)
        settled[name] = tables[name].assign(split=[SPLITS[i] for i in order])
        split_of[name] = settled[name].set_index(key)["split"]
    labels = tables["labels"]
    job_stays = labels["job_id"].map(split_of["jobs"]) == labels["split"]
    resume_stays = labels["resume_id"].map(split_of["resumes"]) == labels["split"]
    stays = job_stays & resume_stays
    settled["labels"] = labels[stays].reset_index(drop=True)
    n_dropped = (~stays).sum()
    note = (
        f"{n_dropped:,} of {len(stays):,} labels dropped: a later split holds their job or resume"
    )
    return settled, [note]


def _rows_with_split(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """job_id, resume_id, split: every pair that labels, preferences and pools name."""
    columns = ["job_id", "resume_id", "split"]
    named = [tables["labels"][columns]]
    if "preferences" in tables:
        preferences = tables["preferences"]
        for side in ("resume_a", "resume_b"):
            named.append(preferences.rename(columns={side: "resume_id"})[columns])
    if "pools" in tables:
        pools = tables["pools"]
        ranks_resumes = pools["task"] == "rank_resumes"
        pairs = {
            "job_id": pools["query_id"].where(ranks_resumes, pools["candidate_id"]),
            "split": "test",
            "resume_id": pools["candidate_id"].where(ranks_resumes, pools["query_id"]),
        }
        named.append(pd.DataFrame(pairs))
    return pd.concat(named, ignore_index=True)


def drop_near_duplicates_across(
    tables: dict[str, pd.DataFrame],
) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Drop jobs and resumes whose text is nearly that of a later split's (train < valid < test),
    with their labels.

    Documents that lose all their labels go too. Returns the tables and notes.
    """
    kept = dict(tables)
    notes = []
    for name, key in ID_COLUMNS.items():
        frame = tables[name]
        order = frame["split"].map(SPLITS.index).to_numpy()
        copies = _copies_of_later(frame["text"].tolist(), order)
        dropped = set(frame[key].to_numpy()[copies])
        notes.append(
            f"{len(dropped):,} training or validation {name} dropped: near-duplicates of a later split's"
        )
        for table in ("labels", "preferences", name):
            if table in kept and key in kept[table]:
                is_dropped = kept[table][key].isin(dropped)
                kept[table] = kept[table][~is_dropped]
    for name, key in ID_COLUMNS.items():
        labels_before = set(tables["labels"][key])
        labels_after = set(kept["labels"][key])
        lost_all_labels = kept[name][key].isin(labels_before - labels_after)
        is_test = kept[name]["split"] == "test"
        kept[name] = kept[name][is_test | ~lost_all_labels]
    return {name: kept[name].reset_index(drop=True) for name in tables}, notes


def _copies_of_later(texts: list[str], order: np.ndarray) -> np.ndarray:
    """Positions of the texts that are nearly a text of higher order."""
    if len(set(order)) < 2:
        return np.empty(0, dtype=int)
    sets = ShingleSets.of(texts)
    highest = np.full(len(sets), -1)
    np.maximum.at(highest, sets.set_of_text, order)
    highest_near = highest.copy()
    a, b = _near_sets(sets, JACCARD).T
    np.maximum.at(highest_near, a, highest[b])
    np.maximum.at(highest_near, b, highest[a])
    return np.flatnonzero(order < highest_near[sets.set_of_text])


def find_leaks(tables: dict[str, pd.DataFrame], *, known: Container[str] = ()) -> list[str]:
    """Sentences on everything of the test split that training has seen; an empty list is the only
    good answer.

    Looks for labels outside their documents' split and for near-duplicate texts in training and
    test. known: tables whose texts training may know, such as a catalogue that is searched.
    """
    leaks = []
    labels = tables["labels"]
    for name, key in ID_COLUMNS.items():
        frame = tables[name]
        split_of = frame.set_index(key)["split"]
        crossing = labels[key].map(split_of) != labels["split"]
        if crossing.any():
            leaks.append(f"{crossing.sum():,} labels are in another split than their {name[:-1]}")
        if name in known:
            continue
        is_train_or_test = frame["split"].isin(("train", "test"))
        seen = frame[is_train_or_test].reset_index(drop=True)
        is_test = (seen["split"] == "test").to_numpy()
        training_copy_of = _copies_of_training(seen["text"].tolist(), is_test)
        if training_copy_of:
            first_test = min(training_copy_of)
            positions = [first_test, training_copy_of[first_test]]
            example = seen.iloc[positions][key].tolist()
            leaks.append(
                f"{len(training_copy_of):,} test {name} are near-copies of training {name} "
                f"(such as {example})"
            )
    return leaks


def _copies_of_training(texts: list[str], is_test: np.ndarray) -> dict[int, int]:
    """Position of each test text that is nearly a training text -> position of the first such."""
    sets = ShingleSets.of(texts)
    none = len(texts)
    training_position = np.where(is_test, none, np.arange(len(texts)))
    first = np.full(len(sets), none)
    np.minimum.at(first, sets.set_of_text, training_position)
    first_near = first.copy()
    a, b = _near_sets(sets, JACCARD).T
    np.minimum.at(first_near, a, first[b])
    np.minimum.at(first_near, b, first[a])
    copied = first_near[sets.set_of_text]
    found = np.flatnonzero(is_test & (copied < none))
    return dict(zip(found.tolist(), copied[found].tolist(), strict=True))


def require_no_leaks(tables: dict[str, pd.DataFrame], *, known: Container[str] = ()) -> None:
    """Raise DataError if `find_leaks` finds anything; known as there."""
    if leaks := find_leaks(tables, known=known):
        raise DataError(
            f"the test leaks into training: {'; '.join(leaks)}; split again or drop these rows"
        )


def shuffle_within(
    labels: pd.DataFrame,
    resumes: pd.DataFrame,
    *,
    column: str,
    seed: int,
) -> pd.DataFrame:
    """The control's labels: resumes permuted among the labels whose resume has the same value of
    `column`.

    What is left to learn is which occupation is meant and how documents look; who fits whom is
    gone. column "" permutes among all labels. Pairs that come up twice are kept once.
    """
    if column and column not in resumes:
        raise DataError(
            f"the resumes have no column {column!r} to permute within; set shuffle_within: '' or to one of "
            f"{list(resumes.columns)}"
        )
    rng = np.random.default_rng(seed)
    group = 0
    if column:
        group = labels["resume_id"].map(resumes.set_index("resume_id")[column])
    by_group = labels.assign(group=group).groupby("group", dropna=False)["resume_id"]
    permuted = by_group.transform(lambda ids: rng.permutation(ids.to_numpy()))
    shuffled = labels.assign(resume_id=permuted)
    return shuffled.drop_duplicates(["job_id", "resume_id"], ignore_index=True)


def applicants_as_accepted(labels: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """The arm that sees no decision: as many pairs as were accepted, drawn from all who applied,
    all taken as accepted.

    What it learns comes from who applied where; what training on the labels adds to it comes from
    recruiters' decisions. Rows of labels without their rejections, in the order of `labels`.
    """
    rng = np.random.default_rng(seed)
    n_accepted = int((labels["label"] == 1).sum())
    drawn = rng.permutation(len(labels))[:n_accepted]
    chosen = np.sort(drawn)
    return labels.iloc[chosen].assign(label=1).reset_index(drop=True)


def keep_accepted(
    labels: pd.DataFrame,
    n: int,
    *,
    seed: int,
) -> pd.DataFrame:
    """The labels with n of their accepted pairs, drawn at random, and all rejected ones; n = 0
    keeps all.

    Arms of a comparison get equally many pairs by it. Raises DataError if there are fewer than n.
    """
    if not n:
        return labels
    accepted = np.flatnonzero(labels["label"] == 1)
    if len(accepted) < n:
        raise DataError(
            f"max_pairs is {n:,}, but there are {len(accepted):,} accepted training pairs; the arms would "
            f"differ in size: take a number that all of them reach"
        )
    rng = np.random.default_rng(seed)
    dropped = rng.permutation(accepted)[n:]
    return labels.drop(labels.index[dropped]).reset_index(drop=True)
