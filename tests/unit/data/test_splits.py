"""Near-duplicates against brute force, splits that leak nothing, leaks that are found."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from near_copies import near_duplicate_pairs

from matchlib.data import splits
from matchlib.data.schema import DataError
from matchlib.data.words import words as split_into_words


def plain_shingles(text: str) -> set[tuple[str, ...]]:
    """Runs of three words as they are written, without a hash."""
    found = split_into_words(text)
    return {tuple(found[i : i + 3]) for i in range(max(1, len(found) - 2))}


def jaccard(a: str, b: str) -> float:
    first, second = plain_shingles(a), plain_shingles(b)
    return len(first & second) / len(first | second)


def brute_force(texts: list[str], threshold: float) -> list[tuple[int, int]]:
    return [
        (i, j)
        for i in range(len(texts))
        for j in range(i + 1, len(texts))
        if jaccard(texts[i], texts[j]) >= threshold - 1e-9
    ]


few_words = st.lists(st.sampled_from(["a", "b", "c", "!"]), max_size=9).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(st.lists(few_words, max_size=14), st.sampled_from([0.3, 0.5, 0.55, 0.8, 1.0]))
def test_near_duplicates_equal_brute_force_on_very_short_texts(texts, threshold):
    assert near_duplicate_pairs(texts, threshold=threshold) == brute_force(texts, threshold)


@pytest.mark.parametrize("threshold", [0.5, 0.55, 0.8, 0.95])
def test_near_duplicates_equal_brute_force_on_edited_texts(threshold):
    rng = np.random.default_rng(0)
    originals = [
        rng.choice([f"w{i}" for i in range(60)], size=rng.integers(3, 50)) for _ in range(12)
    ]
    texts = []
    for words in originals * 6:
        words = words.copy()
        words[rng.integers(0, len(words), size=rng.integers(0, 4))] = "edited"
        texts.append(" ".join(words))
    found = near_duplicate_pairs(texts, threshold=threshold)
    assert found == brute_force(texts, threshold)
    assert 5 < len(found) < 72 * 71 / 2


def sets_of(*sets: list[int]) -> splits.ShingleSets:
    """Sets of the given numbers, as those of texts are kept."""
    starts = np.cumsum([0, *map(len, sets)])
    return splits.ShingleSets(np.arange(len(sets)), np.concatenate(sets).astype(np.uint64), starts)


def test_a_pair_exactly_at_the_threshold_counts():
    # 14 of 25 shingles shared; .56 * 25 is 14.000000000000002 in floats
    large, small = list(range(25)), list(range(11, 25))
    assert len(small) / len(large) == 0.56
    for sets in (sets_of(large, small), sets_of(small, large)):
        assert splits._near_sets(sets, 0.56).tolist() == [[0, 1]]
        assert splits._near_sets(sets, 0.57).tolist() == []


def test_shingles_ignore_case_and_punctuation_and_hold_short_texts():
    def same(a, b):
        return np.array_equal(splits.shingles(a), splits.shingles(b))

    assert same("We hire: NURSES!", "we hire nurses")
    assert len(splits.shingles("one two three four five")) == 3
    assert len(splits.shingles("one two")) == len(splits.shingles("...")) == 1
    assert not same("one two", "two one") and not same("one two three", "three two one")
    assert len(splits.shingles("one two three one two three one two three")) == 3  # each once


@settings(max_examples=100, deadline=None)
@given(st.lists(few_words, max_size=12))
def test_hashed_shingles_are_as_many_and_as_equal_as_those_in_words(texts):
    """The arithmetic on hashes of words, against the words themselves."""
    in_words = {run: text for text in texts for run in plain_shingles(text)}
    hashed = [set(splits.shingles(text).tolist()) for text in texts]
    assert len(set().union(*hashed)) == len(in_words)
    for i, own in enumerate(hashed):
        for j, other in enumerate(hashed):
            assert len(own & other) == len(plain_shingles(texts[i]) & plain_shingles(texts[j]))


def brute_force_copies_of_later(texts, order, threshold=0.8):
    near = [(i, j) for i, j in brute_force(texts, threshold)]
    return sorted({i if order[i] < order[j] else j for i, j in near if order[i] != order[j]})


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(few_words, st.integers(0, 2)), min_size=1, max_size=14))
def test_copies_across_splits_equal_brute_force(rows):
    texts = [text for text, _ in rows]
    order = np.array([side for _, side in rows])
    assert list(splits._copies_of_later(texts, order)) == brute_force_copies_of_later(texts, order)
    is_test = order == 2
    expected: dict[int, int] = {}
    for i, j in brute_force(texts, 0.8):
        for test, training in ((i, j), (j, i)):
            if is_test[test] and not is_test[training]:
                expected[test] = min(training, expected.get(test, len(texts)))
    assert splits._copies_of_training(texts, is_test) == expected


def test_a_search_that_takes_minutes_says_so_first(caplog, monkeypatch):
    texts = ["a nurse on nights", "python"]
    splits.duplicate_groups(texts)
    assert not caplog.messages
    monkeypatch.setattr(splits, "SECONDS_PER_MILLION_CHARACTERS", 70 * 1e6 / sum(map(len, texts)))
    splits.duplicate_groups(texts)
    assert caplog.messages == [
        "looking for near-copies among 2 texts (0 million characters): about 2 minutes"
    ]


def test_thousands_of_identical_texts_form_one_group():
    texts = ["all the same words here"] * 20_000 + ["another text of its own"]
    groups = splits.duplicate_groups(texts)
    assert len(set(groups[:-1])) == 1 and groups[-1] != groups[0]


def test_boilerplate_is_refused_before_all_its_pairs_are_compared(monkeypatch):
    compared, near_sets = [], splits._near_sets

    def count(*args, **kwargs):
        compared.extend(pairs := near_sets(*args, **kwargs))
        return pairs

    monkeypatch.setattr(splits, "_near_sets", count)
    common = " ".join(f"b{i}" for i in range(60))
    frame = pd.DataFrame({"text": [f"role {i} {common}" for i in range(400)]})
    with pytest.raises(DataError, match=r"jobs: at least 2\d of 400 texts are near-copies"):
        splits._groups(frame, "jobs")
    assert len(compared) < 300  # of 79,800


def test_groups_chain_near_duplicates():
    words = [f"w{i}" for i in range(40)]
    texts = [
        " ".join(words[:-1] + ["x"]),
        "something else entirely is written here",
        " ".join(words),
        " ".join(["y", *words[1:]]),
        " ".join(["y", "z", *words[2:-1], "x"]),
    ]
    groups = splits.duplicate_groups(texts)
    assert groups[0] == groups[2] == groups[3] != groups[1]
    assert jaccard(texts[0], texts[3]) >= 0.8  # and 4, which is nearest to 3, follows it
    assert jaccard(texts[3], texts[4]) >= 0.8 and groups[4] == groups[3]


# ---- splitting -----------------------------------------------------------------------------------------


def words(rng, n: int = 25) -> list[str]:
    return [f"w{i}" for i in rng.integers(0, 3_000, n)]


def tables(seed: int = 0, n_jobs: int = 120, n_resumes: int = 150) -> dict[str, pd.DataFrame]:
    """Random texts; every tenth job and resume is a near-copy of the one before it."""
    rng = np.random.default_rng(seed)

    def texts(n):
        found = []
        for i in range(n):
            found.append([*found[-1][:-1], "copy"] if i % 10 == 9 else words(rng))
        return [" ".join(text) for text in found]

    jobs = pd.DataFrame({"job_id": [f"j{i}" for i in range(n_jobs)], "text": texts(n_jobs)})
    resumes = pd.DataFrame(
        {"resume_id": [f"r{i}" for i in range(n_resumes)], "text": texts(n_resumes)}
    )
    labels = pd.DataFrame(
        {
            "job_id": rng.choice(jobs["job_id"], 400),
            "resume_id": rng.choice(resumes["resume_id"], 400),
        }
    ).drop_duplicates(ignore_index=True)
    return {
        "jobs": jobs,
        "resumes": resumes,
        "labels": labels.assign(
            label=rng.integers(0, 2, len(labels)), split="train", source="file"
        ),
    }


@pytest.mark.parametrize("seed", range(4))
def test_a_split_keeps_near_copies_together_and_leaks_nothing(seed):
    before = tables(seed)
    after, notes = splits.split_tables(before, valid=0.2, test=0.3, seed=seed)
    for name, key in (("jobs", "job_id"), ("resumes", "resume_id")):
        frame = after[name]
        pd.testing.assert_frame_equal(frame.drop(columns="split"), before[name])
        for i in range(9, len(frame), 10):
            assert frame["split"].iloc[i] == frame["split"].iloc[i - 1]
        sides = after["labels"][key].map(frame.set_index(key)["split"])
        assert (sides == after["labels"]["split"]).all()
    assert splits.find_leaks(after) == []
    assert near_duplicate_pairs(
        after["jobs"]["text"].tolist()
    )  # there was something to keep together
    assert notes[1] == "near-duplicates kept on one side: 12 jobs, 15 resumes"


def test_crossing_labels_are_dropped_and_counted_and_the_others_kept():
    before = tables(1)
    after, notes = splits.split_tables(before, valid=0.2, test=0.3, seed=1)
    side = {
        name: after[name].set_index(after[name].columns[0])["split"] for name in ("jobs", "resumes")
    }
    stays = before["labels"]["job_id"].map(side["jobs"]) == before["labels"]["resume_id"].map(
        side["resumes"]
    )
    columns = ["job_id", "resume_id", "label", "source"]
    pd.testing.assert_frame_equal(
        after["labels"][columns], before["labels"][stays][columns].reset_index(drop=True)
    )
    assert notes[0].startswith(f"{(~stays).sum()} of {len(stays)} labels dropped") and 0 < (
        ~stays
    ).sum() < len(stays)


def test_resumes_follow_most_of_their_labels():
    before = tables(2)
    after, _ = splits.split_tables(before, valid=0.2, test=0.3, seed=2)
    votes = before["labels"].assign(
        side=before["labels"]["job_id"].map(after["jobs"].set_index("job_id")["split"])
    )
    alone = after["resumes"].iloc[[i for i in range(len(after["resumes"])) if i % 10 < 8]]
    checked = 0
    for resume in alone.itertuples():
        counts = votes.loc[votes["resume_id"] == resume.resume_id, "side"].value_counts()
        if len(counts):
            assert counts[resume.split] == counts.max()
            checked += 1
    assert checked > 80


def test_shares_seed_and_unlabelled_resumes():
    big = tables(3, 600, 600)
    after, _ = splits.split_tables(big, valid=0.2, test=0.3, seed=3)
    shares = after["jobs"]["split"].value_counts(normalize=True)
    assert shares["valid"] == pytest.approx(0.2, abs=0.06) and shares["test"] == pytest.approx(
        0.3, abs=0.06
    )
    unlabelled = after["resumes"][~after["resumes"]["resume_id"].isin(big["labels"]["resume_id"])]
    assert set(unlabelled["split"]) == {"train", "valid", "test"}
    again, _ = splits.split_tables(big, valid=0.2, test=0.3, seed=3)
    other, _ = splits.split_tables(big, valid=0.2, test=0.3, seed=4)
    assert after["jobs"].equals(again["jobs"]) and not after["jobs"].equals(other["jobs"])


@pytest.mark.parametrize("name", ["jobs", "resumes"])
def test_too_large_a_group_of_near_copies_raises_with_an_example(name):
    before = tables(0)
    n = len(before[name])
    limit = int(0.05 * n)
    for copies, fine in ((limit, True), (limit + 1, False)):
        frame = before[name].copy()
        frame.loc[[i for i in range(n) if i % 10 < 8][:copies], "text"] = (
            "Equal opportunities are dear to our company"
        )
        changed = {**before, name: frame}
        if fine:
            splits.split_tables(changed, valid=0.2, test=0.3, seed=0)
        else:
            with pytest.raises(
                DataError, match=f"^{name}: at least {copies} of {n} texts are .*Equal opport"
            ):
                splits.split_tables(changed, valid=0.2, test=0.3, seed=0)


def test_a_test_split_without_an_accepted_pair_raises():
    before = tables(0)
    before["labels"]["label"] = 0
    with pytest.raises(DataError, match="the test split has no accepted pair .*bring more"):
        splits.split_tables(before, valid=0.2, test=0.3, seed=0)


@pytest.mark.parametrize("valid, test", [(0.5, 0.5), (0.0, 0.2), (0.2, -0.1), (0.9, 0.9)])
def test_impossible_shares_raise(valid, test):
    with pytest.raises(DataError, match=f"valid_share {valid} and test_share {test}"):
        splits.split_tables(tables(0), valid=valid, test=test, seed=0)


# ---- leaks ---------------------------------------------------------------------------------------------


@pytest.fixture
def clean() -> dict[str, pd.DataFrame]:
    after, _ = splits.split_tables(tables(0), valid=0.2, test=0.3, seed=0)
    assert splits.find_leaks(after) == []
    splits.require_no_leaks(after)
    return after


@pytest.mark.parametrize("name", ["jobs", "resumes"])
def test_near_copies_of_training_in_the_test_are_found(clean, name):
    frame = clean[name].copy()
    train, test = (
        frame.index[(frame["split"] == split).to_numpy() & (np.arange(len(frame)) % 10 < 8)]
        for split in ("train", "test")
    )
    frame.loc[test[0], "text"] = frame.loc[train[0], "text"] + " and one more"
    frame.loc[test[1], "text"] = frame.loc[train[0], "text"].upper()
    frame.loc[train[1], "text"] = frame.loc[
        train[0], "text"
    ]  # one test text, two training texts: one leak
    leaks = splits.find_leaks({**clean, name: frame})
    key = name[:-1] + "_id"
    assert leaks == [
        f"2 test {name} are near-copies of training {name} "
        f"(such as {frame.loc[[min(test[:2]), train[0]], key].tolist()})"
    ]
    with pytest.raises(DataError, match="the test leaks into training: 2 test"):
        splits.require_no_leaks({**clean, name: frame})


@pytest.mark.parametrize("name", ["jobs", "resumes"])
def test_near_copies_within_training_are_no_leak(clean, name):
    frame = clean[name].copy()
    train = frame.index[frame["split"] == "train"]
    frame.loc[train[:20], "text"] = "the very same words for all"
    assert splits.find_leaks({**clean, name: frame}) == []


@pytest.mark.parametrize("name, key", [("jobs", "job_id"), ("resumes", "resume_id")])
def test_labels_outside_the_split_of_their_document_are_found(clean, name, key):
    labels = clean["labels"].copy()
    ids = clean[name].loc[clean[name]["split"] == "test", key]
    rows = labels.index[labels["split"] == "train"][:3]
    labels.loc[rows, key] = ids.iloc[:3].tolist()
    assert splits.find_leaks({**clean, "labels": labels}) == [
        f"3 labels are in another split than their {name[:-1]}"
    ]


def test_dropping_across_splits_keeps_the_later_document_and_drops_its_rows():
    rng = np.random.default_rng(0)
    texts = [" ".join(words(rng)) for _ in range(7)]
    texts[1] = texts[4] + " more"  # train, a near-copy of a test job
    texts[3] = texts[4]  # valid, the same
    texts[2] = texts[0]  # both train: stays
    order = ["train"] * 3 + ["valid"] + ["test"] * 3
    before = {
        "jobs": pd.DataFrame(
            {"job_id": [f"j{i}" for i in range(7)], "text": texts, "split": order}
        ),
        "resumes": pd.DataFrame(
            {"resume_id": [f"r{i}" for i in range(7)], "text": "x", "split": order}
        ),
        "labels": pd.DataFrame(
            {"job_id": [f"j{i}" for i in range(7)], "resume_id": [f"r{i}" for i in range(7)]}
        ),
    }
    before["resumes"]["text"] = [" ".join(words(rng)) for _ in range(7)]
    after, notes = splits.drop_near_duplicates_across(before)
    assert notes[0].startswith("2 training or validation jobs dropped") and notes[1].startswith(
        "0 "
    )
    assert after["jobs"]["job_id"].tolist() == ["j0", "j2", "j4", "j5", "j6"]
    for name in ("resumes", "labels"):
        assert after[name]["resume_id"].tolist() == ["r0", "r2", "r4", "r5", "r6"]


# ---- the control ---------------------------------------------------------------------------------------


def occupied(n: int = 300) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One label a job and resume, so that no permuted pair can come up twice."""
    rng = np.random.default_rng(0)
    resumes = pd.DataFrame(
        {"resume_id": [f"r{i}" for i in range(n)], "occupation": rng.choice(list("abcd"), n)}
    )
    return pd.DataFrame(
        {
            "job_id": [f"j{i}" for i in range(n)],
            "resume_id": rng.permutation(resumes["resume_id"]),
            "label": rng.integers(0, 2, n),
        }
    ), resumes


@pytest.mark.parametrize("column", ["occupation", ""])
def test_shuffling_keeps_marginals_and_breaks_pairs(column):
    labels, resumes = occupied()
    shuffled = splits.shuffle_within(labels, resumes, column=column, seed=0)
    assert shuffled["job_id"].tolist() == labels["job_id"].tolist()
    assert shuffled["label"].tolist() == labels["label"].tolist()
    assert sorted(shuffled["resume_id"]) == sorted(labels["resume_id"])
    assert (shuffled["resume_id"] == labels["resume_id"]).mean() < 0.05
    occupation = resumes.set_index("resume_id")["occupation"]
    same = (shuffled["resume_id"].map(occupation) == labels["resume_id"].map(occupation)).mean()
    assert same == 1 if column == "occupation" else same < 0.4


def test_shuffling_within_a_column_that_is_not_there_is_refused():
    with pytest.raises(DataError, match="no column 'no such column'.*set shuffle_within: ''"):
        splits.shuffle_within(*occupied(), column="no such column", seed=0)


def test_small_data_is_split_whatever_the_seed():
    jobs = pd.DataFrame(
        [(f"j{i}", f"advert number {i} of many") for i in range(20)], columns=["job_id", "text"]
    )
    resumes = pd.DataFrame(
        [(f"r{i}", f"person {i} who works") for i in range(50)], columns=["resume_id", "text"]
    )
    labels = pd.DataFrame(
        {
            "job_id": [f"j{i % 20}" for i in range(50)],
            "resume_id": resumes["resume_id"],
            "label": [1] * 20 + [0] * 30,
        }
    )
    tables = {"jobs": jobs, "resumes": resumes, "labels": labels}
    for seed in range(20):
        found, _ = splits.split_tables(tables, valid=0.1, test=0.2, seed=seed)
        assert found["jobs"]["split"].value_counts().to_dict() == {
            "train": 14,
            "test": 4,
            "valid": 2,
        }


def test_shuffling_depends_on_its_seed_alone_and_leaves_its_input():
    labels, resumes = occupied()
    before = labels.copy()
    first = splits.shuffle_within(labels, resumes, column="occupation", seed=1)
    assert first.equals(splits.shuffle_within(labels, resumes, column="occupation", seed=1))
    assert not first.equals(splits.shuffle_within(labels, resumes, column="occupation", seed=2))
    pd.testing.assert_frame_equal(labels, before)


def test_shuffling_keeps_labels_without_a_group_and_each_pair_once():
    labels, resumes = occupied(40)
    resumes.loc[:9, "occupation"] = None
    assert sorted(
        splits.shuffle_within(labels, resumes, column="occupation", seed=0)["resume_id"]
    ) == sorted(labels["resume_id"])
    crowded = pd.DataFrame(
        {"job_id": ["j1"] * 3 + ["j2"] * 3, "resume_id": ["r1", "r2", "r3"] * 2, "label": 1}
    )
    for seed in range(5):
        found = splits.shuffle_within(crowded, resumes, column="", seed=seed)
        assert not found.duplicated(["job_id", "resume_id"]).any() and set(found["resume_id"]) <= {
            "r1",
            "r2",
            "r3",
        }


def applications():
    return pd.DataFrame(
        {
            "job_id": [f"j{i // 5}" for i in range(100)],
            "resume_id": [f"r{i}" for i in range(100)],
            "label": [1, 1, 0, 0, 0] * 20,
            "split": "train",
            "source": "recruiter",
        }
    )


def test_applicants_are_as_many_as_were_accepted_whoever_was():
    labels = applications()
    found = splits.applicants_as_accepted(labels, seed=0)
    assert (
        len(found) == 40
        and (found["label"] == 1).all()
        and not found.duplicated(["job_id", "resume_id"]).any()
    )
    once = labels.set_index("resume_id").loc[found["resume_id"], "label"]
    assert 0.2 < once.mean() < 0.65  # accepted as often as anybody: no decision is in it
    assert found.equals(
        splits.applicants_as_accepted(labels.assign(label=labels["label"][::-1].to_numpy()), seed=0)
    )


def test_accepted_pairs_are_dropped_at_random_and_rejections_stay():
    labels = applications()
    kept = splits.keep_accepted(labels, 25, seed=0)
    assert (kept["label"] == 1).sum() == 25 and (kept["label"] == 0).sum() == 60
    assert not kept.equals(splits.keep_accepted(labels, 25, seed=1))
    assert splits.keep_accepted(labels, 0, seed=0) is labels
    with pytest.raises(DataError, match="max_pairs is 41, but there are 40"):
        splits.keep_accepted(labels, 41, seed=0)
