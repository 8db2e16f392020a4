"""Vectors in shards: the same as in memory, made again alone where torn, and refused where they do not fit."""

import errno
import json
import os
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from matchlib.data.schema import DataError
from matchlib.learning.mining import dense_rows, runner_ups, sampled_runner_ups
from matchlib.retrieval import shards
from matchlib.retrieval.models import EncoderError
from matchlib.retrieval.search import search_dense
from matchlib.retrieval.shards import (
    ShardedVectors,
    VectorSource,
    VectorsWithout,
    embed_shard,
    shard_name,
)

SOURCE = VectorSource("a model", "key", "", "", "resumes")
DIM = 16


def encode(texts):
    """Unit vectors that depend on the text alone."""
    seeds = [int.from_bytes(text.encode()[-8:].rjust(8), "big") for text in texts]
    vectors = np.stack([np.random.default_rng(seed).standard_normal(DIM) for seed in seeds])
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def documents(first, n):
    numbers = range(first, first + n)
    return pd.DataFrame(
        {
            "id": [f"r{number}" for number in numbers],
            "text": [f"resume {number}" for number in numbers],
            "file": "resumes.csv",
            "line": list(numbers),
        }
    )


def make(folder, number, frame, *, source=SOURCE, encode=encode):
    return embed_shard(
        folder / shard_name(number),
        frame,
        source=source,
        encode=encode,
        input_hash=str(pd.util.hash_pandas_object(frame).sum()),
    )


@pytest.fixture
def folder(tmp_path):
    """Four shards of 300, 0, 500 and 1 documents."""
    for number, (first, n) in enumerate([(0, 300), (300, 0), (300, 500), (800, 1)]):
        make(tmp_path, number, documents(first, n))
    return tmp_path


@pytest.fixture
def matrix():
    """What the folder holds, in memory."""
    return encode(list(documents(0, 801)["text"]))


def test_the_best_of_all_shards_are_the_best_of_the_matrix(folder, matrix, monkeypatch):
    monkeypatch.setattr(shards, "BLOCK", 70)
    vectors = ShardedVectors.open(folder, 4)
    assert vectors.shape == (801, DIM)
    queries = encode([f"job {number}" for number in range(20)])
    hits = vectors.top_k(queries, 100)
    stored = matrix.astype(np.float16).astype(np.float32)
    exact = search_dense(queries, stored, depth=100)
    np.testing.assert_array_equal(hits.positions, exact.positions)
    np.testing.assert_allclose(hits.scores, exact.scores, atol=1e-6)
    # against float32: the scores of any rank differ by the rounding alone
    np.testing.assert_allclose(
        hits.scores, search_dense(queries, matrix, depth=100).scores, atol=1e-3
    )
    assert vectors.top_k(queries, 2_000).positions.shape == (20, 801)


def test_rows_and_documents_are_found_by_position(folder, matrix):
    vectors = ShardedVectors.open(folder, 4)
    positions = np.array([800, 0, 300, 299, 300])
    np.testing.assert_allclose(vectors[positions], matrix[positions], atol=1e-3)
    assert vectors[positions].dtype == np.float32
    assert vectors.documents_at(positions)["id"].tolist() == ["r800", "r0", "r300", "r299", "r300"]


def test_documents_are_found_by_id_and_by_text_and_left_out(folder, matrix):
    vectors = ShardedVectors.open(folder, 4)
    found = vectors.find(["r3", "r800", "nobody"], [shards.text_hash("resume 400")])
    assert found["id"].tolist() == ["r3", "r400", "r800"]
    assert found["position"].tolist() == [3, 400, 800]
    assert vectors.find([], []).empty
    excluded = np.array([0, 3, 4, 400, 800])
    others = VectorsWithout(vectors, excluded)
    kept = np.delete(matrix, excluded, axis=0)
    numbers = np.arange(len(others))
    np.testing.assert_allclose(others[numbers], kept, atol=1e-3)
    np.testing.assert_array_equal(others.numbers(others.positions(numbers)), numbers)
    assert others.numbers(np.array([2, 3, 5])).tolist() == [1, 2]


def test_each_listed_document_is_there_once(folder):
    vectors = ShardedVectors.open(folder, 4)
    documents, rows = vectors.listed(np.array([[800, 5], [5, -1]]))
    assert documents["id"].tolist() == ["r5", "r800"] and rows.tolist() == [[1, 0], [0, -1]]
    documents, rows = vectors.listed(np.array([[-1]]))
    assert documents.empty and rows.tolist() == [[-1]]


def test_mined_bands_are_those_of_the_matrix_and_near_the_exact_ones(folder, matrix):
    vectors = ShardedVectors.open(folder, 4)
    queries = encode([f"job {number}" for number in range(50)])
    masks = [np.array([number, 500 + number]) for number in range(50)]
    how = {"low": 0.03, "high": 0.04, "n": 3, "masks": masks}
    stored = matrix.astype(np.float16).astype(np.float32)
    sampled = sampled_runner_ups(queries, vectors, **how, sample=801, rng=np.random.default_rng(1))
    in_memory = sampled_runner_ups(queries, stored, **how, sample=801, rng=np.random.default_rng(1))
    pd.testing.assert_frame_equal(sampled, in_memory)
    # a sample of everything is the band itself
    exact = runner_ups(
        dense_rows(queries, stored), **how | {"n": 100}, rng=np.random.default_rng(1)
    )
    of_exact = set(zip(exact["query"], exact["candidate"], strict=True))
    assert set(zip(sampled["query"], sampled["candidate"], strict=True)) <= of_exact
    small = sampled_runner_ups(queries, vectors, **how, sample=400, rng=np.random.default_rng(1))
    ranks = np.array(
        [
            (stored @ queries[q] > s).mean()
            for q, s in zip(small["query"], small["score"], strict=True)
        ]
    )
    assert abs(ranks.mean() - 0.035) < 0.01


def test_only_new_texts_are_encoded(folder):
    seen = []

    def noting(texts):
        seen.extend(texts)
        return encode(texts)

    before = np.array(shards.open_shard(folder / "00000").vectors())
    changed = documents(0, 305)
    changed.loc[7, "text"] = "another resume 7"
    made = make(folder, 0, changed, encode=noting)
    assert seen == ["another resume 7", *[f"resume {number}" for number in range(300, 305)]]
    assert (made.documents, made.encoded, made.reused) == (305, 6, 299)
    after = made.vectors()
    np.testing.assert_array_equal(np.delete(after[:300], 7, 0), np.delete(before, 7, 0))


class Killed(BaseException):
    """What a kill looks like from inside: no handler of errors sees it."""


def killed_before(step, monkeypatch, call):
    """Run a call that is killed before its step-th rename or removal; whether it was."""
    n_steps = 0

    def counted(real):
        def strike(*args, **kwargs):
            nonlocal n_steps
            n_steps += 1
            if n_steps == step:
                raise Killed
            return real(*args, **kwargs)

        return strike

    with monkeypatch.context() as patch:
        for name in ("replace", "unlink"):
            patch.setattr(shards.Path, name, counted(getattr(shards.Path, name)))
        try:
            call()
        except Killed:
            return True
    return False


def test_a_kill_at_any_write_leaves_the_old_shard_or_an_unfinished_one(folder, monkeypatch):
    frame = documents(1_000, 40)
    undisturbed = make(folder / "other", 0, frame)
    left = []
    step = 1
    while killed_before(step, monkeypatch, lambda: make(folder, 0, frame)):
        step += 1
        try:
            left.append(shards.open_shard(folder / "00000").documents)
        except shards.TornShardError:
            left.append("unfinished")
        assert make(folder, 0, frame).files == undisturbed.files
        names = sorted(path.name for path in (folder / "00000").iterdir())
        assert names == ["ids.parquet", "shard.json", "vectors.npy"]
        make(folder, 0, documents(0, 300))
    assert left == [300, "unfinished", "unfinished", "unfinished"]


def write_some(path, *_, **__):
    """Write a part of a file, and find the disk full."""
    getattr(path, "write", getattr(path, "write_bytes", None))(b"a part")
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("step", ["_save", "_save_ids", "_write_manifest"])
def test_a_full_disk_leaves_nothing_beside_and_says_what_to_do(folder, monkeypatch, step):
    with monkeypatch.context() as patch:
        if step == "_write_manifest":
            patch.setattr(shards.Path, "write_text", write_some)
        else:
            patch.setattr(shards, step, write_some)
        with pytest.raises(DataError, match="00000/.*the disk is full .*finished shards are kept"):
            make(folder, 0, documents(0, 20))
    assert not list(folder.rglob("*.part"))
    if step == "_write_manifest":  # the vectors are in place, and no reader takes them for a shard
        with pytest.raises(DataError, match="00000 is not finished"):
            ShardedVectors.open(folder, 4)
    else:
        assert shards.open_shard(folder / "00000").documents == 300
    assert make(folder, 0, documents(0, 20)).documents == 20


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 128 KB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(place)]
    if os.geteuid() or shutil.which("mount") is None or subprocess.run(mount).returncode:
        pytest.skip("only root can mount a small disk, and not in every container")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("n", [2_000, 4_000])
def test_a_disk_that_is_really_full_keeps_finished_shards(small_disk, n):
    """At 2,000 documents the ids find no room, at 4,000 the vectors do not."""
    make(small_disk, 0, documents(0, 300))
    with pytest.raises(DataError, match="00001/.*the disk is full .*finished shards are kept"):
        make(small_disk, 1, documents(300, n))
    assert len(ShardedVectors.open(small_disk, 1)) == 300
    assert not list(small_disk.rglob("*.part"))
    assert make(small_disk, 1, documents(300, 20)).documents == 20


@pytest.mark.parametrize("name", ["vectors.npy", "ids.parquet", "shard.json"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_torn_shards_are_named_and_made_again_alone(folder, name, damage):
    path = folder / "00002" / name
    whole = path.read_bytes()
    broken = {"cut": whole[: len(whole) // 2], "flipped": whole[:-9] + b"\x00\xff" + whole[-7:]}
    path.unlink() if damage == "gone" else path.write_bytes(broken[damage])
    if name == "shard.json" and damage == "flipped":
        path.write_bytes(whole.replace(b'"bytes"', b'"bites"'))
    with pytest.raises(
        DataError, match="1 of 4 shards cannot be used: 00002 .*run matchlib embed again"
    ):
        ShardedVectors.open(folder, 4)
    if damage == "cut":  # sizes alone find this too
        with pytest.raises(DataError, match="00002"):
            ShardedVectors.open(folder, 4, check_hashes=False)
    notes = []
    assert shards.finished_shard(folder / "00002", SOURCE, notes.append) is None
    assert len(notes) == 1 and "00002" in notes[0]
    assert make(folder, 2, documents(300, 500)).encoded == 500
    assert len(ShardedVectors.open(folder, 4)) == 801


def test_unfinished_shards_are_counted(folder):
    with pytest.raises(
        DataError, match="6 of 10 shards cannot be used: 00004 is not finished; .*; and 1 more"
    ):
        ShardedVectors.open(folder, 10)


def test_two_encoders_in_one_folder_are_refused(folder):
    other = replace(SOURCE, model="another", key="other")
    with pytest.raises(EncoderError, match="shard 00000 was made by a model .* not by another"):
        make(folder, 0, documents(0, 300), source=other)
    make(folder, 4, documents(900, 3), source=other)
    with pytest.raises(
        EncoderError, match=r"of 2 encoders: 4 by a model .*; 1 by another .*, first 00004"
    ):
        ShardedVectors.open(folder, 5)
    # the same weights in another folder are the same encoder
    make(folder, 5, documents(950, 3), source=replace(SOURCE, model="elsewhere"))
    with pytest.raises(EncoderError, match="query|queries"):
        ShardedVectors.open(folder, 4).top_k(np.ones((1, 3), dtype=np.float32), 1)


def test_ids_that_stand_twice_are_named_with_their_places(folder):
    make(folder, 3, documents(310, 2))
    with pytest.raises(
        DataError, match=r"2 documents have an id .* 'r310' \(resumes.csv, line 310 and"
    ):
        ShardedVectors.open(folder, 4)


def test_vectors_that_are_not_finite_are_not_kept(tmp_path):
    with pytest.raises(EncoderError, match="not finite"):
        make(tmp_path, 0, documents(0, 3), encode=lambda texts: np.full((len(texts), DIM), np.nan))
    assert not (tmp_path / "00000" / "shard.json").exists()


def test_a_corpus_without_a_document_is_refused(tmp_path):
    make(tmp_path, 0, documents(0, 0))
    assert json.loads((tmp_path / "00000" / "shard.json").read_text())["documents"] == 0
    with pytest.raises(DataError, match="not one of 1 shards holds a document"):
        ShardedVectors.open(tmp_path, 1)
