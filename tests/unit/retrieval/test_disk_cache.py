"""Caches that a kill, a full disk or a hand has damaged: made anew, or one sentence that names MATCHLIB_CACHE."""

import json
import multiprocessing
import os
import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from matchlib.data.schema import DataError
from matchlib.language.llm import Answer, AnswerCache
from matchlib.retrieval import disk_cache
from matchlib.retrieval.encoder import EmbeddingCache
from matchlib.retrieval.models import EncoderError


def lengths(texts):
    """An encoder: each text's vector is its length and 1."""
    return np.array([[len(text), 1] for text in texts], dtype=np.float32)


def execute(path, *statement):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(*statement)


@pytest.fixture
def path(tmp_path):
    """An embedding cache of 300 texts."""
    path = tmp_path / "cache" / "c.sqlite"
    EmbeddingCache(path).fetch([str(i) for i in range(300)], lengths)
    return path


def overwrite(path, start, end):
    content = bytearray(path.read_bytes())
    content[start:end] = b"\x5a" * (end - start)
    path.write_bytes(content)


def with_journal(path):
    """A damaged file with the journal of a killed write beside it, which sqlite would play into the next file."""
    overwrite(path, 0, 100)
    path.with_name("c.sqlite-journal").write_bytes(b"\xd9\xd5\x05\xf9 \xa1c\xd7" + bytes(504))


def another_table(path):
    path.unlink()
    execute(path, "CREATE TABLE vectors (id INTEGER, words TEXT, more TEXT)")


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.write_bytes(b"not a database, " * 100),
        lambda path: path.write_bytes(path.read_bytes()[:1_000]),
        lambda path: path.write_bytes(path.read_bytes()[:8_192]),
        lambda path: overwrite(path, 0, 100),
        lambda path: overwrite(path, 4_096, 12_288),
        with_journal,
        another_table,
    ],
)
def test_a_damaged_database_is_set_aside_and_made_anew(path, harm, caplog):
    """It was a traceback at every later run."""
    harm(path)
    damaged = path.read_bytes()
    texts = ["7", "123", "a new text"]
    for _ in range(2):
        assert EmbeddingCache(path).fetch(texts, lengths).tolist() == [[1, 1], [3, 1], [10, 1]]
    assert path.with_name("c.sqlite.damaged").read_bytes() == damaged
    assert len(caplog.messages) == 1
    assert "c.sqlite.damaged, and what it held is made again" in caplog.messages[0]


def test_an_empty_file_is_an_empty_cache(path, caplog):
    path.write_bytes(b"")
    assert EmbeddingCache(path).fetch(["ab"], lengths).tolist() == [[2, 1]]
    assert not caplog.messages


def test_what_was_encoded_when_the_damage_shows_is_not_encoded_again(path, monkeypatch):
    asked = []

    def encode(texts):
        asked.append(texts)
        if len(asked) == 2:
            path.write_bytes(b"another program wrote here" * 1_000)
        return lengths(texts)

    texts = [f"new {i}" for i in range(6)]
    found = EmbeddingCache(path).fetch(texts, encode, at_once=2)
    assert found.tolist() == lengths(texts).tolist()
    assert asked == [texts[:2], texts[2:4], texts[4:]]


@pytest.mark.parametrize(
    "blob", [b"", b"\0" * 7, b"\0" * 12, None, "text", np.array([np.nan, 1], "f4").tobytes()]
)
@pytest.mark.parametrize(
    "version", [0, 2]
)  # databases of earlier versions do not say their dimensions
def test_a_damaged_row_is_encoded_again(path, caplog, blob, version):
    execute(path, f"PRAGMA user_version = {version}")
    execute(path, "UPDATE vectors SET vector = ? WHERE rowid IN (3, 4)", (blob,))
    texts = [str(i) for i in range(300)]
    for _ in range(2):
        assert EmbeddingCache(path).fetch(texts, lengths).tolist() == lengths(texts).tolist()
    assert [message.split(" held ")[1] for message in caplog.messages] == [
        "2 damaged vectors, which are made again"
    ]


def test_a_service_with_another_model_behind_its_name_is_told(path):
    with pytest.raises(
        EncoderError, match="gives vectors of 3 numbers, but gave 2 when .*c.sqlite was written"
    ):
        EmbeddingCache(path).fetch(
            ["7", "new"], lambda texts: np.ones((len(texts), 3), dtype=np.float32)
        )


@pytest.mark.parametrize("folder", ["", "deeper"])
def test_a_file_in_the_folders_place_names_the_variable(tmp_path, folder):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(
        DataError,
        match="the cache folder .*cache.* cannot be made .*MATCHLIB_CACHE to another folder",
    ):
        EmbeddingCache(tmp_path / "cache" / folder / "c.sqlite").fetch(["a"], lengths)


def test_a_folder_in_the_files_place_names_the_variable(tmp_path):
    (tmp_path / "c.sqlite").mkdir()
    with pytest.raises(DataError, match="c.sqlite cannot be written .*MATCHLIB_CACHE"):
        EmbeddingCache(tmp_path / "c.sqlite").fetch(["a"], lengths)


def test_a_database_that_is_read_only_names_the_variable(path):
    """Through sqlite's own switch, since root may write everywhere."""

    def action(connection):
        connection.execute("PRAGMA query_only = 1")
        connection.execute("DELETE FROM vectors")

    with pytest.raises(
        DataError, match="c.sqlite cannot be written .attempt to write a readonly.*MATCHLIB_CACHE"
    ):
        disk_cache.use_cache(path, EmbeddingCache.CREATE, action)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_names_the_variable(tmp_path):
    (tmp_path / "cache").mkdir(mode=0o500)
    with pytest.raises(DataError, match="MATCHLIB_CACHE"):
        EmbeddingCache(tmp_path / "cache" / "c.sqlite").fetch(["a"], lengths)


def test_a_full_disk_is_told_with_what_is_free(path):
    def action(connection):
        connection.execute("PRAGMA max_page_count = 1")
        with connection:
            connection.execute("INSERT INTO vectors VALUES (?, ?)", (b"key", bytes(1_000_000)))

    with pytest.raises(
        DataError, match=r"c.sqlite cannot be written: database or disk is full \([\d,]+ MB free"
    ):
        disk_cache.use_cache(path, EmbeddingCache.CREATE, action)


def test_a_locked_database_says_so_after_the_wait(path, monkeypatch):
    monkeypatch.setattr(disk_cache, "LOCK_SECONDS", 0.1)
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(
            DataError, match="c.sqlite has been locked by another process for 0.1 s; wait for it or"
        ):
            EmbeddingCache(path).fetch(["a"], lengths)
    assert EmbeddingCache(path).fetch(["a"], lengths).tolist() == [[1, 1]]


def fetch_after(path, barrier):
    barrier.wait(timeout=60)
    texts = [str(i) for i in range(50)]
    assert EmbeddingCache(path).fetch(texts, lengths).tolist() == lengths(texts).tolist()


def test_two_processes_that_find_the_damage_at_once_both_go_on(path):
    path.write_bytes(b"not a database, " * 100)
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    workers = [context.Process(target=fetch_after, args=(path, barrier)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert [worker.exitcode for worker in workers] == [0, 0]


# ---- answers of language models ------------------------------------------------------------------------


@pytest.fixture
def answers(tmp_path):
    cache = AnswerCache(tmp_path / "answers.sqlite")
    for key in "abc":
        cache.write(key, Answer(f"answer {key}"))
    return cache


def test_damaged_answers_are_asked_again(answers, caplog):
    execute(answers.path, "UPDATE answers SET answer = ? WHERE key = 'a'", ('{"text": "ans',))
    execute(
        answers.path, "UPDATE answers SET answer = ? WHERE key = 'b'", (json.dumps({"words": 3}),)
    )
    execute(answers.path, "UPDATE answers SET answer = NULL WHERE key = 'c'")
    assert answers.read(["a", "b", "c"]) == {}
    assert caplog.messages == [
        f"the cache {answers.path} held 3 damaged answers, which are asked again"
    ]
    answers.write("a", Answer("again"))
    assert answers.read(["a", "b"]) == {"a": Answer("again")}


@pytest.mark.parametrize("write_first", [True, False])
def test_a_damaged_database_of_answers_is_set_aside(answers, write_first, caplog):
    answers.path.write_bytes(b"<html>a page</html>" * 100)
    if not write_first:
        assert answers.read(["a"]) == {}
    answers.write("a", Answer("new"))
    assert answers.read(["a", "b"]) == {"a": Answer("new")}
    assert answers.path.with_name("answers.sqlite.damaged").exists() and len(caplog.messages) == 1


def test_answers_on_a_full_disk_are_one_sentence(answers, monkeypatch):
    def full(path, create, action):
        failure = sqlite3.OperationalError("database or disk is full")
        failure.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise disk_cache._translated(failure, path)

    monkeypatch.setattr("matchlib.language.llm.use_cache", full)
    with pytest.raises(
        DataError,
        match="answers.sqlite cannot be written: database or disk is full.*MATCHLIB_CACHE",
    ):
        answers.write("d", Answer("x"))


def test_a_damaged_file_that_cannot_be_moved_is_told(path, monkeypatch):
    path.write_bytes(b"not a database, " * 100)

    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(disk_cache.os, "replace", refuse)
    with pytest.raises(
        DataError, match="is damaged .* and cannot be moved aside .Permission denied.; remove it"
    ):
        EmbeddingCache(path).fetch(["a"], lengths)
    shutil.rmtree(path.parent)
