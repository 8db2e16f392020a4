"""Splits that keep test jobs, test resumes and their near-copies out of training."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from matchlib.data.schema import SPLITS, DataError
from matchlib.data.words import words

JACCARD = 0.8
LARGEST_COMPONENT = 0.05


def shingles(text: str, *, size: int = 3) -> frozenset[int]:
    """Hashes of a text's runs of `size` words (characters, where a script has no spaces); a shorter text is one."""
    found = words(text)
    runs = [" ".join(found[i:i + size]) for i in range(max(1, len(found) - size + 1))]
    return frozenset(int.from_bytes(hashlib.blake2b(run.encode(), digest_size=8).digest()) for run in runs)


def near_duplicate_pairs(texts: list[str], *, threshold: float = JACCARD) -> list[tuple[int, int]]:
    """All pairs i < j of texts whose 3-word shingles have a Jaccard similarity of at least `threshold`.

    Exact: two sets that similar must share one of their rarest shingles (prefix filter; Chaudhuri, Ganti,
    Kaushik, ICDE 2006), so only texts that meet there are compared.
    """
    members = _by_shingles(texts)
    groups = list(members.values())
    pairs = [pair for group in groups for pair in combinations(group, 2)]
    for a, b in _near_sets(list(members), threshold):
        pairs += [(min(i, j), max(i, j)) for i in groups[a] for j in groups[b]]
    return sorted(pairs)


def _by_shingles(texts: list[str]) -> dict[frozenset[int], list[int]]:
    """Shingles -> positions of the texts that have just these: 10,000 identical texts are then compared once."""
    members: dict[frozenset[int], list[int]] = defaultdict(list)
    for i, text in enumerate(texts):
        members[shingles(text)].append(i)
    return dict(members)


def _near_sets(sets: list[frozenset[int]], threshold: float, *, most: float = math.inf) -> list[tuple[int, int]]:
    """All pairs of different sets whose Jaccard similarity is at least `threshold`.

    It stops once one set has over `most` neighbours: boilerplate, whose pairs would be quadratic.
    """
    frequency = Counter(shingle for found in sets for shingle in found)
    meeting: dict[int, list[int]] = defaultdict(list)
    pairs = []
    for i, found in enumerate(sets):
        rarest = sorted(found, key=lambda s: (frequency[s], s))
        prefix = rarest[:len(found) - math.ceil(threshold * len(found) - 1e-9) + 1]
        before = len(pairs)
        for j in {j for shingle in prefix for j in meeting[shingle]}:
            shared = len(found & sets[j])
            if shared >= threshold * (len(found) + len(sets[j]) - shared) - 1e-9:
                pairs.append((j, i))
        if len(pairs) - before > most:
            break
        for shingle in prefix:
            meeting[shingle].append(i)
    return pairs


def duplicate_groups(texts: list[str], *, threshold: float = JACCARD, most: float = math.inf) -> np.ndarray:
    """(n,) int group of each text: near-duplicates, chained, share a group.

    Where one text has over `most` near-copies, the search stops there and groups that are larger stay unfound.
    """
    members = _by_shingles(texts)
    pairs = np.array(_near_sets(list(members), threshold, most=most), dtype=int).reshape(-1, 2)
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(members), len(members)))
    groups = np.empty(len(texts), dtype=int)
    for positions, group in zip(members.values(), connected_components(graph, directed=False)[1], strict=True):
        groups[positions] = group
    return groups


def split_tables(tables: dict[str, pd.DataFrame], *, valid: float, test: float,
                 seed: int) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Split jobs and resumes so that no test document, nor a near-copy, is in training.

    Jobs are drawn by group of near-duplicates; a group of resumes follows most of its labels; labels whose job
    and resume fell on different sides are dropped and counted. valid, test: shares of the jobs.
    Returns the tables with a column split, and notes. Raises DataError if one group holds over 5% of the rows, or
    if the test split is left without an accepted pair, or if the shares leave no training. test 1 makes all of it test.
    """
    if test == 1:
        everything = {name: frame.assign(split="test") for name, frame in tables.items()}
        return everything, ["all of it is the test split: there is nothing to train on"]
    if min(valid, test) <= 0 or valid + test >= 1:
        raise DataError(f"valid_share {valid} and test_share {test} must be above 0 and leave something "
                        f"to train on; or set test_share: 1.0 to test on all of it")
    rng = np.random.default_rng(seed)
    jobs, resumes, labels = tables["jobs"], tables["resumes"], tables["labels"]
    job_group, resume_group = (_groups(frame, name) for frame, name in ((jobs, "jobs"), (resumes, "resumes")))
    share = {"train": 1 - valid - test, "valid": valid, "test": test}
    accepted = jobs["job_id"].isin(labels.loc[labels["label"] == 1, "job_id"]).to_numpy()
    jobs = jobs.assign(split=_draw_splits(job_group, accepted, share, rng)[job_group])
    votes = labels.assign(split=labels["job_id"].map(jobs.set_index("job_id")["split"]),
                          group=labels["resume_id"].map(pd.Series(resume_group, index=resumes["resume_id"])))
    counts = votes.groupby(["group", "split"]).size().unstack(fill_value=0)
    counts = counts.reindex(index=range(resume_group.max() + 1), columns=list(share), fill_value=0)
    unseen = counts.sum(axis=1) == 0
    side = counts.idxmax(axis=1).to_numpy(dtype=object)
    side[unseen] = rng.choice(list(share), p=list(share.values()), size=int(unseen.sum()))
    resumes = resumes.assign(split=side[resume_group])
    crossing = (votes["split"] != votes["resume_id"].map(resumes.set_index("resume_id")["split"])).to_numpy()
    labels = labels.assign(split=votes["split"])[~crossing].reset_index(drop=True)
    check_splits(labels)
    notes = [f"{crossing.sum():,} of {len(crossing):,} labels dropped: their job and resume are on different sides",
             f"near-duplicates kept on one side: {len(jobs) - job_group.max() - 1:,} jobs, "
             f"{len(resumes) - resume_group.max() - 1:,} resumes"]
    return {**tables, "jobs": jobs, "resumes": resumes, "labels": labels}, notes


def _draw_splits(group: np.ndarray, accepted: np.ndarray, share: dict[str, float],
                 rng: np.random.Generator) -> np.ndarray:
    """Split of each group of jobs: exact shares, at least one each; groups with accepted pairs are drawn apart."""
    splits = np.empty(group.max() + 1, dtype=object)
    has_accepted = np.bincount(group, weights=accepted) > 0
    for members in (np.flatnonzero(has_accepted), np.flatnonzero(~has_accepted)):
        order = rng.permutation(members)
        n_valid, n_test = (max(1, round(share[name] * len(order))) for name in ("valid", "test"))
        splits[order] = "train"
        splits[order[:n_test]], splits[order[n_test:n_test + n_valid]] = "test", "valid"
    return splits


def _groups(frame: pd.DataFrame, name: str) -> np.ndarray:
    most = max(LARGEST_COMPONENT * len(frame), 2)
    groups = duplicate_groups(frame["text"].tolist(), most=most)
    largest = np.bincount(groups).max()
    if largest > most:
        example = frame.iloc[int(np.argmax(np.bincount(groups)[groups]))]["text"][:80]
        raise DataError(f"{name}: at least {largest:,} of {len(frame):,} texts are near-copies of each other (such as "
                        f"{example!r}); remove boilerplate or duplicates, since they cannot be split fairly")
    return groups


def check_splits(labels: pd.DataFrame) -> None:
    """Raise DataError if the test split has no accepted pair; without some in the others nothing is trained (02)."""
    if not ((labels["split"] == "test") & (labels["label"] == 1)).any():
        raise DataError(f"the test split has no accepted pair ({len(labels):,} labels in all); bring more labels, or "
                        f"change test_share or seed")


def settle_splits(tables: dict[str, pd.DataFrame]) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Give every document the latest split that names it (train < valid < test); pools and preferences are test.

    For data whose labels come with a split. Labels whose job and resume then stand on different sides are dropped
    and counted. Documents that nothing names are training documents. Returns the tables and notes.
    """
    named = [tables["labels"][["job_id", "resume_id", "split"]]]
    if "preferences" in tables:
        named += [tables["preferences"].rename(columns={side: "resume_id"})[["job_id", "resume_id", "split"]]
                  for side in ("resume_a", "resume_b")]
    if "pools" in tables:
        pools = tables["pools"].assign(split="test")
        jobs_ask = pools["task"] == "rank_resumes"
        named += [pd.DataFrame({"job_id": pools["query_id"].where(jobs_ask, pools["candidate_id"]), "split": "test",
                                "resume_id": pools["candidate_id"].where(jobs_ask, pools["query_id"])})]
    rows = pd.concat(named, ignore_index=True).assign(order=lambda r: r["split"].map(SPLITS.index))
    settled = dict(tables)
    for name, key in (("jobs", "job_id"), ("resumes", "resume_id")):
        latest = tables[name][key].map(rows.groupby(key)["order"].max()).fillna(0).astype(int)
        settled[name] = tables[name].assign(split=[SPLITS[i] for i in latest])
    labels = tables["labels"]
    sides = [labels[key].map(settled[name].set_index(key)["split"]) for name, key in
             (("jobs", "job_id"), ("resumes", "resume_id"))]
    stays = ((sides[0] == labels["split"]) & (sides[1] == labels["split"])).to_numpy()
    settled["labels"] = labels[stays].reset_index(drop=True)
    return settled, [f"{(~stays).sum():,} of {len(stays):,} labels dropped: a later split holds their job or resume"]


def drop_near_duplicates_across(tables: dict[str, pd.DataFrame]) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Drop jobs and resumes whose text is nearly that of a later split's (train < valid < test), with their labels.

    Documents that lose all their labels go too. Returns the tables and notes.
    """
    kept, notes = dict(tables), []
    for name, key in (("jobs", "job_id"), ("resumes", "resume_id")):
        order = tables[name]["split"].map(SPLITS.index).to_numpy()
        earlier = _copies_of_later(tables[name]["text"].tolist(), order)
        lost = set(tables[name][key].to_numpy()[earlier])
        notes.append(f"{len(lost):,} training or validation {name} dropped: near-duplicates of a later split's")
        for table in ("labels", "preferences"):
            if table in kept and key in kept[table]:
                kept[table] = kept[table][~kept[table][key].isin(lost)]
        kept[name] = kept[name][~kept[name][key].isin(lost)]
    for name, key in (("jobs", "job_id"), ("resumes", "resume_id")):
        bare = set(tables["labels"][key]) - set(kept["labels"][key])
        needed = kept[name]["split"].eq("test") | ~kept[name][key].isin(bare)
        kept[name] = kept[name][needed]
    return {name: kept[name].reset_index(drop=True) for name in tables}, notes


def _copies_of_later(texts: list[str], order: np.ndarray) -> list[int]:
    """Positions of the texts that are nearly a text of higher order."""
    if len(set(order)) < 2:
        return []
    members = _by_shingles(texts)
    groups = list(members.values())
    earlier: set[int] = set()
    for alike in [*groups, *(groups[a] + groups[b] for a, b in _near_sets(list(members), JACCARD))]:
        last = order[alike].max()
        earlier |= {i for i in alike if order[i] < last}
    return sorted(earlier)


def find_leaks(tables: dict[str, pd.DataFrame]) -> list[str]:
    """Sentences on everything of the test split that training has seen; an empty list is the only good answer.

    Looks for labels outside their documents' split and for near-duplicate texts in training and test.
    """
    leaks = []
    for name, key in (("jobs", "job_id"), ("resumes", "resume_id")):
        frame = tables[name]
        side = tables["labels"][key].map(frame.set_index(key)["split"])
        crossing = int((side != tables["labels"]["split"]).sum())
        if crossing:
            leaks.append(f"{crossing:,} labels are in another split than their {name[:-1]}")
        pair = frame[frame["split"].isin(("train", "test"))].reset_index(drop=True)
        is_test = (pair["split"] == "test").to_numpy()
        if near := _copies_of_training(pair["text"].tolist(), is_test):
            first = pair.iloc[list(min(near.items()))][key].tolist()
            leaks.append(f"{len(near):,} test {name} are near-copies of training {name} (such as {first})")
    return leaks


def _copies_of_training(texts: list[str], is_test: np.ndarray) -> dict[int, int]:
    """Position of each test text that is nearly a training text -> position of one such."""
    members = _by_shingles(texts)
    groups = list(members.values())
    copies: dict[int, int] = {}
    for alike in [*groups, *(groups[a] + groups[b] for a, b in _near_sets(list(members), JACCARD))]:
        training = [i for i in alike if not is_test[i]]
        if training:
            copies |= {i: training[0] for i in alike if is_test[i]}
    return copies


def require_no_leaks(tables: dict[str, pd.DataFrame]) -> None:
    """Raise DataError if `find_leaks` finds anything."""
    if leaks := find_leaks(tables):
        raise DataError(f"the test leaks into training: {'; '.join(leaks)}; split again or drop these rows")


def shuffle_within(labels: pd.DataFrame, resumes: pd.DataFrame, *, column: str, seed: int) -> pd.DataFrame:
    """The control's labels: resumes permuted among the labels whose resume has the same value of `column`.

    What is left to learn is which occupation is meant and how documents look; who fits whom is gone. column ""
    permutes among all labels. Pairs that come up twice are kept once.
    """
    if column and column not in resumes:
        raise DataError(f"the resumes have no column {column!r} to permute within; set shuffle_within: '' or to one of "
                        f"{list(resumes.columns)}")
    rng = np.random.default_rng(seed)
    group = labels["resume_id"].map(resumes.set_index("resume_id")[column]) if column else 0
    by_group = labels.assign(group=group).groupby("group", dropna=False)["resume_id"]
    shuffled = labels.assign(resume_id=by_group.transform(lambda ids: rng.permutation(ids.to_numpy())))
    return shuffled.drop_duplicates(["job_id", "resume_id"], ignore_index=True)


def applicants_as_accepted(labels: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """The arm that sees no decision: as many pairs as were accepted, drawn from all who applied, all taken as accepted.

    What it learns comes from who applied where; what training on the labels adds to it comes from recruiters'
    decisions. Rows of labels without their rejections, in the order of `labels`.
    """
    n_accepted = int((labels["label"] == 1).sum())
    chosen = np.sort(np.random.default_rng(seed).permutation(len(labels))[:n_accepted])
    return labels.iloc[chosen].assign(label=1).reset_index(drop=True)


def keep_accepted(labels: pd.DataFrame, n: int, *, seed: int) -> pd.DataFrame:
    """The labels with n of their accepted pairs, drawn at random, and all rejected ones; n = 0 keeps all.

    Arms of a comparison get equally many pairs by it. Raises DataError if there are fewer than n.
    """
    if not n:
        return labels
    accepted = np.flatnonzero(labels["label"] == 1)
    if len(accepted) < n:
        raise DataError(f"max_pairs is {n:,}, but there are {len(accepted):,} accepted training pairs; the arms would "
                        f"differ in size: take a number that all of them reach")
    dropped = np.random.default_rng(seed).permutation(accepted)[n:]
    return labels.drop(labels.index[dropped]).reset_index(drop=True)
