"""matchlib embed, then matchlib rank --vectors: the list of the documents themselves; what changed is embedded alone."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from matchlib.cli import app
from matchlib.data.schema import DataError
from matchlib.ranking import embed_command, stored
from matchlib.ranking.rank import open_ranker
from matchlib.retrieval.models import EncoderError


@pytest.fixture
def place(tmp_path, monkeypatch, small_tables, tiny_model_folder):
    """A folder with jobs.csv and resumes/ of the market's test texts, and the two commands."""
    monkeypatch.setenv("MATCHLIB_CACHE", str(tmp_path / "cache"))
    tables = {name: small_tables[name].query("split == 'test'") for name in ("jobs", "resumes")}
    tables["jobs"].head(6).to_csv(tmp_path / "jobs.csv", index=False)
    (tmp_path / "resumes").mkdir()
    for row in tables["resumes"].head(24).itertuples():
        (tmp_path / "resumes" / f"{row.resume_id}.txt").write_text(row.text)
    model = ["--model", str(tiny_model_folder)]

    def embed(*options, fails=False):
        command = ["embed", str(tmp_path / "resumes"), *model, "--out", str(tmp_path / "vectors")]
        result = CliRunner().invoke(app, [*command, *map(str, options)])
        assert bool(result.exit_code) == fails, result.output
        return result

    def rank(*options, out="ranked.csv", fails=False):
        command = [
            "rank",
            *model,
            "--jobs",
            str(tmp_path / "jobs.csv"),
            "--out",
            str(tmp_path / out),
        ]
        result = CliRunner().invoke(app, [*command, *map(str, options)])
        assert bool(result.exit_code) == fails, result.output
        return result

    return tmp_path, embed, rank


def read(path):
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    return frame.assign(score=frame["score"].astype(float))


def digests(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*.*"))
        if path.suffix in (".npy", ".parquet")
    }


def test_a_sharded_list_is_the_list_of_the_documents_themselves(place):
    folder, embed, rank = place
    assert "00002: 8 documents, 8 encoded" in embed("--documents-per-shard", 8).output
    result = rank("--vectors", folder / "vectors", "--top", 5)
    assert "24 resumes in 3 shards; 0 were left out" in result.output
    rank("--resumes", folder / "resumes", "--top", 5, out="in_memory.csv")
    sharded, in_memory = read(folder / "ranked.csv"), read(folder / "in_memory.csv")
    np.testing.assert_allclose(sharded["score"], in_memory["score"], atol=1e-3)
    pair = ["job_id", "resume_id"]
    both = sharded.merge(in_memory, on=pair, suffixes=("", "_in_memory"))
    assert len(both) >= 0.9 * len(sharded)  # neighbours closer than the rounding may change places
    reasons = [
        "matched_skills",
        "denied_skills",
        "not_stated_skills",
        "required_years",
        "resume_years",
        "place",
    ]
    for column in reasons:
        assert (both[column] == both[f"{column}_in_memory"]).all()


def test_rules_hold_in_a_sharded_list_as_in_that_of_the_documents(place, monkeypatch):
    folder, embed, rank = place
    embed("--documents-per-shard", 8)
    options = ["--top", 2, "--require", "seniority", "--no-explain"]
    output = rank("--vectors", folder / "vectors", *options).output
    rank("--resumes", folder / "resumes", *options, out="in_memory.csv")
    sharded, in_memory = read(folder / "ranked.csv"), read(folder / "in_memory.csv")
    assert (sharded["job_id"] == in_memory["job_id"]).all()
    np.testing.assert_allclose(sharded["score"], in_memory["score"], atol=1e-3)
    unruled = ["--top", 2, "--no-explain"]
    rank("--vectors", folder / "vectors", *unruled, out="unruled.csv")
    assert not read(folder / "unruled.csv")["resume_id"].equals(sharded["resume_id"])
    assert " of 24 resumes were read to see whether they meet seniority" in output
    assert "no more of their" not in output
    monkeypatch.setattr(stored, "LOOKED_AT", 2)
    output = rank("--vectors", folder / "vectors", *options).output
    few = read(folder / "ranked.csv")
    assert (
        len(few) < len(sharded) and "fewer than 2 rows: no more of their best 2 resumes" in output
    )
    kept = few.merge(sharded, on=["job_id", "resume_id"])
    assert len(kept) == len(few)


def test_jobs_of_a_table_are_ranked_for_resumes(place, tiny_model_folder):
    folder, _, _ = place
    job_vectors, model = folder / "job_vectors", ["--model", str(tiny_model_folder)]
    embed = ["embed", str(folder / "jobs.csv"), *model, "--kind", "job", "--out", str(job_vectors)]
    result = CliRunner().invoke(app, [*embed, "--documents-per-shard", "4"])
    assert result.exit_code == 0, result.output
    rank = ["rank", *model, "--direction", "jobs", "--resumes", str(folder / "resumes")]
    lists = []
    for candidates in (["--vectors", str(job_vectors)], ["--jobs", str(folder / "jobs.csv")]):
        out = folder / f"{len(lists)}.csv"
        result = CliRunner().invoke(app, [*rank, *candidates, "--top", "6", "--out", str(out)])
        assert result.exit_code == 0, result.output
        lists.append(read(out).sort_values(["resume_id", "job_id"], ignore_index=True))
    np.testing.assert_allclose(lists[0]["score"], lists[1]["score"], atol=1e-3)
    same = ["resume_id", "job_id", "not_stated_skills", "nearest"]
    pd.testing.assert_frame_equal(lists[0][same], lists[1][same])


def test_jobs_apart_make_what_one_call_makes(place):
    folder, embed, _ = place
    embed("--documents-per-shard", 4)
    whole = digests(folder / "vectors")
    shutil.rmtree(folder / "vectors")
    for job in (3, 1, 2):
        embed("--documents-per-shard", 4, "--shard", f"{job}/3")
    assert digests(folder / "vectors") == whole and len(whole) == 6 * 2 + 1
    assert isinstance(embed("--shard", "0/3", fails=True).exception, DataError)


def test_one_changed_file_embeds_one_document_of_one_shard(place):
    folder, embed, rank = place
    embed("--documents-per-shard", 4)
    changed = sorted((folder / "resumes").iterdir())[9]
    changed.write_text("Cook in Leeds, eight years of grilling.")
    output = embed().output
    assert output.count("unchanged") == 5 and "00002: 4 documents, 1 encoded, 3 kept" in output
    (folder / "resumes" / "0-new.txt").write_text("Nurse in York.")
    output = embed().output
    assert output.count("unchanged") == 6 and "00006: 1 documents, 1 encoded" in output
    changed.write_text("Cook in Hull.")
    assert "1 of the" in rank("--vectors", folder / "vectors", "--top", 25).output
    changed.unlink()
    result = rank("--vectors", folder / "vectors", "--top", 25, fails=True)
    assert "no longer where they were embedded from" in str(result.exception)
    rank("--vectors", folder / "vectors", "--top", 25, "--no-explain")


def test_a_killed_run_goes_on_and_ends_at_the_same_files(place, monkeypatch):
    folder, embed, _ = place
    embed("--documents-per-shard", 4)
    undisturbed = digests(folder / "vectors")
    for strike in range(5):
        shutil.rmtree(folder / "vectors")
        calls = []

        def killed(*args, strike=strike, calls=calls, real=embed_command.embed_one, **kwargs):
            calls.append(args[1])
            if len(calls) > strike:
                raise KeyboardInterrupt
            return real(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(embed_command, "embed_one", killed)
            embed("--documents-per-shard", 4, fails=True)
        output = embed().output
        assert output.count("unchanged") == strike
        assert digests(folder / "vectors") == undisturbed


def test_an_unreadable_document_is_named_and_the_rest_goes_on(place):
    folder, embed, rank = place
    (folder / "resumes" / "broken.pdf").write_bytes(b"%PDF")
    output = embed("--documents-per-shard", 8).output
    assert (
        "broken.pdf: not a PDF" in output
        and "00000: 7 documents, 7 encoded, 0 kept, 1 left out" in output
    )
    assert embed("--strict", fails=True).exit_code == 2


def test_a_shard_of_unreadable_documents_alone_is_empty_and_counted(place):
    folder, embed, rank = place
    embed("--documents-per-shard", 8)
    (folder / "resumes" / "zz.pdf").write_bytes(b"%PDF")
    assert "00003: 0 documents, 0 encoded, 0 kept, 1 left out" in embed().output
    output = rank("--vectors", folder / "vectors", "--no-explain").output
    assert "24 resumes in 4 shards; 1 were left out" in output


def test_vectors_that_cannot_be_ranked_are_refused_with_the_remedy(place, tiny_model_folder):
    folder, embed, rank = place
    embed("--documents-per-shard", 8)
    vectors = ["--vectors", folder / "vectors"]

    def why(*options):
        return str(rank(*vectors, *options, fails=True).exception)

    assert "takes the place of --resumes" in why("--resumes", folder / "resumes")
    assert "--vectors are ranked for --resumes" not in why("--direction", "jobs")
    result = rank(*vectors, "--resume-prompt", "query: ", fails=True)
    assert isinstance(result.exception, EncoderError) and "prompt 'query: '" in str(
        result.exception
    )
    result = embed("--prompt", "query: ", fails=True)
    assert isinstance(result.exception, EncoderError) and "name another --out" in str(
        result.exception
    )
    (folder / "vectors" / "00001" / "vectors.npy").write_bytes(b"")
    assert "1 of 3 shards cannot be used: 00001 has a torn vectors.npy" in why()
    assert "both needed" in str(rank(fails=True).exception)
    result = embed("--out", folder / "resumes" / "vectors", fails=True)
    assert "lies in the folder of the documents" in str(result.exception)


def test_a_disk_without_room_is_told_before_anything_is_encoded(place, monkeypatch):
    folder, embed, _ = place
    monkeypatch.setattr(
        embed_command.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10})
    )
    result = embed(fails=True)
    assert "free some space and run this again" in str(result.exception)
    assert not (folder / "vectors" / "00000").exists()


def test_a_node_without_the_model_says_so_and_makes_no_shard(place):
    folder, embed, _ = place
    problem = embed("--model", folder / "nowhere", fails=True).exception
    assert isinstance(problem, EncoderError) and "check the name and the network" in str(problem)
    assert [path.name for path in (folder / "vectors").iterdir()] == ["plan.parquet"]
    assert "24 encoded" in embed().output


def test_a_notebook_is_told_what_is_wrong_with_a_folder_of_vectors(place, tiny_model_folder):
    folder, embed, _ = place
    embed("--documents-per-shard", 8)
    encoder = open_ranker(str(tiny_model_folder)).encoder
    plan, vectors = stored.open_stored(folder / "vectors", encoder, "resumes")
    assert len(vectors) == 24 and len(stored.read_again(plan, vectors.documents_at([3, 5]))) == 2
    with pytest.raises(DataError, match="holds resumes, and vectors of jobs are needed"):
        stored.open_stored(folder / "vectors", encoder, "jobs")
    with pytest.raises(EncoderError, match="name the model that made them, or embed .* again"):
        stored.open_stored(folder / "vectors", replace(encoder, resume_prompt="q: "), "resumes")
    torn = folder / "vectors" / "00002" / "ids.parquet"
    torn.write_bytes(torn.read_bytes()[:-1])
    with pytest.raises(DataError, match="00002 has a torn ids.parquet; run matchlib embed again"):
        stored.open_stored(folder / "vectors", encoder, "resumes")


def make_parts(folder, *arguments):
    command = [sys.executable, "-m", "snakemake", "-s", Path("shards.smk").resolve()]
    return subprocess.run(
        list(map(str, [*command, "--cores", "2", *arguments])),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_parts_as_jobs_of_snakemake_make_what_one_call_makes(place, tiny_model_folder):
    folder, embed, _ = place
    embed("--documents-per-shard", 4)
    whole = digests(folder / "vectors")
    shutil.rmtree(folder / "vectors")
    settings = {
        "documents": folder / "resumes",
        "model": tiny_model_folder,
        "out": folder / "vectors",
        "documents_per_shard": 4,
        "parts": 2,
    }
    done = make_parts(folder, "--config", *(f"{name}={value}" for name, value in settings.items()))
    assert done.returncode == 0, done.stderr
    assert digests(folder / "vectors") == whole
    notes = (folder / "vectors" / "parts" / "2-of-2.txt").read_text()
    assert "00001: 4 documents, 4 encoded" in notes and "00000" not in notes


def test_jobs_read_a_table_s_columns_as_one_call_does(place, tiny_model_folder):
    folder, _, _ = place
    table = folder / "people.csv"
    people = pd.DataFrame({"number": ["7", "8"], "title": ["Cook", "Clerk"], "body": ["é", "ü"]})
    people.to_csv(table, index=False, encoding="latin-1")
    command = ["embed", table, "--model", tiny_model_folder, "--out", folder / "vectors"]
    command += ["--id", "number", "--text", "title", "--text", "body", "--prompt", "query: "]
    result = CliRunner().invoke(app, [*map(str, command), "--encoding", "latin-1"])
    assert result.exit_code == 0, result.output
    whole = digests(folder / "vectors")
    shutil.rmtree(folder / "vectors")
    settings = {
        "documents": str(table),
        "model": str(tiny_model_folder),
        "out": str(folder / "vectors"),
        "id": "number",
        "text": ["title", "body"],
        "prompt": "query: ",
        "encoding": "latin-1",
    }
    (folder / "people.yaml").write_text(yaml.safe_dump(settings))
    done = make_parts(folder, "--configfile", "people.yaml")
    assert done.returncode == 0, done.stderr
    assert digests(folder / "vectors") == whole


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["documents=resumes/"], "shards.smk needs model, out: --config documents=resumes/"),
        (["documents=a", "model=b", "out=c", "prompt=query: "], "write it in a file, --configfile"),
    ],
)
def test_settings_that_jobs_cannot_use_are_told(tmp_path, settings, told):
    done = make_parts(tmp_path, "--config", *settings)
    assert done.returncode != 0 and told in done.stdout + done.stderr
