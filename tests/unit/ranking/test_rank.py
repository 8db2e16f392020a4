"""matchlib rank: from files to a list with reasons, both ways, with constraints, and what happens to bad files."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from matchlib.analysis.score_parts import PART_COLUMNS
from matchlib.cli import app
from matchlib.data.schema import DataError
from matchlib.extraction.facts import use_graph
from matchlib.learning.card import set_audit
from matchlib.outputs import check_outputs
from matchlib.ranking.rank import open_ranker, rank_documents, require, write_ranking, write_trec
from matchlib.retrieval.encoder import Encoder
from matchlib.retrieval.models import EncoderError
from matchlib.retrieval.trec import read_run


@pytest.fixture
def place(tmp_path, monkeypatch, small_tables, tiny_model_folder):
    """A folder with jobs.csv and resumes/ of the market's test texts, and a command to rank them."""
    monkeypatch.setenv("MATCHLIB_CACHE", str(tmp_path / "cache"))
    for name in ("jobs", "resumes"):
        frame = small_tables[name].query("split == 'test'").head(8)
        if name == "jobs":
            frame.to_csv(tmp_path / "jobs.csv", index=False)
            continue
        (tmp_path / "resumes").mkdir()
        for row in frame.itertuples():
            (tmp_path / "resumes" / f"{row.resume_id}.txt").write_text(row.text)

    def command(*options, resumes="resumes"):
        return CliRunner().invoke(
            app,
            [
                "rank",
                "--model",
                str(tiny_model_folder),
                "--jobs",
                str(tmp_path / "jobs.csv"),
                "--resumes",
                str(tmp_path / resumes),
                "--out",
                str(tmp_path / "ranked.csv"),
                *map(str, options),
            ],
        )

    return tmp_path, command


def read(folder):
    return pd.read_csv(folder / "ranked.csv", dtype=str, keep_default_na=False)


def test_both_directions_with_reasons_and_as_trec(place):
    folder, command = place
    result = command("--top", 3, "--trec", folder / "run.txt")
    assert result.exit_code == 0, result.output
    assert "bias audit: unaudited" in result.output
    frame = read(folder)
    assert list(frame) == [
        "job_id",
        "rank",
        "resume_id",
        "score",
        "matched_skills",
        "denied_skills",
        "not_stated_skills",
        "required_years",
        "resume_years",
        "place",
        "resume_not_read",
        "evidence",
        "nearest",
    ]
    assert frame.groupby("job_id")["rank"].apply(list).tolist() == [["1", "2", "3"]] * 8
    assert (frame["resume_years"] != "").all() and (frame["nearest"] != "").all()
    run = read_run(folder / "run.txt")
    assert set(run["query_id"]) == set(frame["job_id"])
    pd.testing.assert_series_equal(
        run.sort_values(["query_id", "rank"])["candidate_id"].reset_index(drop=True),
        frame["resume_id"],
        check_names=False,
    )
    assert command("--top", 2, "--direction", "jobs", "--no-explain").exit_code == 0
    other = read(folder)
    assert list(other) == ["resume_id", "rank", "job_id", "score"]
    assert other["resume_id"].nunique() == 8 and len(other) == 16
    assert command("--direction", "both").exit_code == 1
    assert not list(folder.glob("*.part"))


def test_parts_of_the_score_are_columns_that_add_up(place):
    folder, command = place
    assert command("--top", 1, "--score-parts").exit_code == 0
    frame = read(folder)
    assert tuple(frame)[-3:] == PART_COLUMNS
    for _, row in frame.iterrows():
        parts = [float(part.rsplit(": ", 1)[1]) for part in row["requirement_parts"].split(" | ")]
        assert sum(parts) == pytest.approx(float(row["score"]), abs=0.003)  # each has three digits
    refused = command("--score-parts", "--no-explain")
    assert refused.exit_code == 1 and "leave --no-explain out" in str(refused.exception)


def test_a_bad_file_is_named_and_strict_says_2(place):
    folder, command = place
    (folder / "resumes" / "broken.pdf").write_bytes(b"%PDF")
    lenient, strict = command("--no-explain"), command("--no-explain", "--strict")
    assert (lenient.exit_code, strict.exit_code) == (0, 2)
    assert "broken.pdf: not a PDF" in lenient.output
    assert read(folder)["resume_id"].nunique() == 8
    (folder / "resumes" / "broken.pdf").unlink()
    assert command("--no-explain", "--strict").exit_code == 0


def test_texts_that_are_not_read_to_their_end_are_counted(place):
    folder, command = place
    (folder / "long").mkdir()
    for name, ending in {"a": "python", "b": "java", "c": "python"}.items():
        (folder / "long" / f"{name}.txt").write_text(
            f"{'Cook in Leeds. ' * (200 if name < 'c' else 1)}{ending}"
        )
    result = command(resumes="long")
    assert result.exit_code == 0, result.output
    assert "2 of 3 resumes are longer than the model reads" in result.output
    assert (
        "1 of these resumes differ from another one only after that, and get the same scores"
        in result.output
    )
    scores = read(folder).pivot(index="job_id", columns="resume_id", values="score")
    assert (scores["a"] == scores["b"]).all() and (scores["a"] != scores["c"]).all()


def test_constraints_hold_for_every_row(place, small_tables):
    folder, command = place
    result = command("--require", "place", "--no-explain", "--top", 8)
    assert result.exit_code == 0, result.output
    assert "city of 8 resumes was read from the texts: found in 100%" in result.output
    truth = {
        row[key]: row
        for name, key in (("jobs", "job_id"), ("resumes", "resume_id"))
        for row in small_tables[name].to_dict("records")
    }
    rows = [(truth[row.job_id], truth[row.resume_id]) for row in read(folder).itertuples()]
    assert len(rows) < 64
    assert all(
        job["city"] == resume["city"] or "yes" in (job["remote"], resume["remote"])
        for job, resume in rows
    )


def test_constraints_that_texts_cannot_tell_are_refused(small_tables):
    jobs, resumes = (small_tables[name].head(5) for name in ("jobs", "resumes"))
    with pytest.raises(DataError, match="rule 'age' is not one of"):
        require(["age"], jobs, resumes)
    with pytest.raises(DataError, match="needs a column 'degree'"):
        require(["degree"], jobs, resumes.drop(columns="degree"))
    with pytest.raises(DataError, match="no city was found in any text of the resumes"):
        require(["place"], jobs, resumes[["resume_id"]].assign(text="nowhere man"))
    assert require([], jobs, resumes)[0] is None


def test_constraints_do_not_mind_case_and_name_what_they_do_not_know():
    jobs = pd.DataFrame(
        {
            "job_id": ["a", "b"],
            "city": ["London", "Hull"],
            "remote": ["No", "TRUE"],
            "text": "",
            "seniority": ["Senior", "Wizard"],
        }
    )
    resumes = pd.DataFrame(
        {"resume_id": ["x", "y"], "city": [" london", "Leeds"], "seniority": "senior", "text": ""}
    )
    rule, tables, notes = require(["place", "seniority"], jobs, resumes.assign(remote="no"))
    assert rule.holds(**tables).tolist() == [[True, False], [False, False]]
    assert notes == [
        "1 jobs have a seniority that is not one of junior, middle, senior, lead (e.g. 'wizard'); they never fit",
        "1 of 2 jobs have a city that none of the resumes has (e.g. 'hull'); a city has to be spelled alike in both",
        "1 of 2 resumes have a city that none of the jobs has (e.g. 'leeds'); a city has to be spelled alike in both",
    ]
    told = require(["place"], jobs, resumes.assign(remote=["1", "Hybrid"]))
    assert told[0].holds(**told[1]).tolist() == [[True, False], [True, True]]
    assert told[2][:1] == [
        "1 resumes have a remote that is not one of yes, no (e.g. 'hybrid'); they count as no"
    ]
    anywhere = require(["place"], jobs, resumes.assign(city="Remote", remote="no"))
    assert anywhere[1]["resumes"]["city"].tolist() == [
        "remote",
        "remote",
    ]  # a city stays what it was called
    silent = resumes.assign(text=["I work from home.", "I cook."])
    assert require(["place"], jobs, silent)[2][:1] == [
        "remote of 2 resumes was read from the texts: 50% say so"
    ]


def test_what_is_not_stated_is_left_out_and_counted_or_kept():
    jobs = pd.DataFrame(
        {"job_id": ["a", "b"], "city": ["Leeds", ""], "remote": "no", "text": "A job."}
    )
    resumes = pd.DataFrame(
        {"resume_id": ["x", "y", "z"], "city": ["Leeds", "Hull", ""], "remote": "no", "text": "Me."}
    )
    rule, tables, notes = require(["place"], jobs, resumes)
    assert rule.holds(**tables).tolist() == [[True, False, False], [False, False, False]]
    told = "found in 0%; the others are left out (--keep-not-stated keeps them)"
    assert [note.partition(": ")[2] for note in notes[:2]] == [told, told]
    rule, tables, notes = require(["place"], jobs, resumes, keep_not_stated=True)
    assert rule.holds(**tables).tolist() == [[True, False, True], [True, True, True]]
    assert notes[0].endswith("found in 0%; the others are kept")


def test_reasons_by_skills_of_ones_own(place):
    folder, command = place
    skills = folder / "skills_en.csv"
    skills.write_text("conceptUri,preferredLabel,altLabels\nx/1,be experienced,experience\n")
    try:
        result = command("--top", 1, "--skills-file", skills)
        assert result.exit_code == 0 and "1 skills of skills_en.csv" in result.output
        named = set(read(folder)["matched_skills"]) | set(read(folder)["not_stated_skills"])
    finally:
        use_graph(None)
    assert named <= {"", "be experienced"}


def test_nobody_who_meets_the_constraints_leaves_the_header(place, small_tables):
    folder, command = place
    nobody = pd.read_csv(folder / "jobs.csv").assign(city="Nowhere", region="", remote="no")
    nobody.to_csv(folder / "jobs.csv", index=False)
    rows = (
        small_tables["resumes"]
        .query("split == 'test'")
        .head(3)
        .assign(city="Leeds", region="", remote="no")
    )
    rows.to_csv(folder / "resumes.csv", index=False)
    result = command("--require", "place", resumes="resumes.csv")
    assert result.exit_code == 0 and "8 of 8 queries have no candidate" in result.output
    assert read(folder).empty and list(read(folder))[-2:] == ["evidence", "nearest"]


def test_where_nothing_can_be_written_is_said_before_anything_is_read(place, monkeypatch):
    _, command = place

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("matchlib.outputs.tempfile.TemporaryFile", refuse)
    result = command()
    assert result.exit_code == 1 and "cannot be written: Permission denied" in str(result.exception)


def linked(folder):
    (folder / "link.csv").symlink_to(folder / "jobs.csv")
    return "link.csv"


def hard_linked(folder):
    (folder / "hard.csv").hardlink_to(folder / "jobs.csv")
    return "hard.csv"


@pytest.mark.parametrize(
    ("out", "sentence"),
    [
        (lambda _: "jobs.csv", "is what --jobs names"),
        (lambda _: "resumes/../jobs.csv", "is what --jobs names"),
        (linked, "is what --jobs names"),
        (hard_linked, "is what --jobs names"),
        (lambda _: "resumes/ranked.csv", "lies in the folder that --resumes names"),
        (lambda _: "resumes", "is a folder"),
        (lambda _: "none/ranked.csv", "there is no folder"),
        (lambda _: "run.txt", "--out .*run.txt and --trec .*run.txt are one file"),
    ],
)
def test_an_output_never_replaces_an_input_or_another_output(place, out, sentence):
    """--out equal to --jobs replaced the jobs, equal to --trec lost the list."""
    folder, command = place
    before = (folder / "jobs.csv").read_bytes()
    result = command("--out", folder / out(folder), "--trec", folder / "run.txt")
    assert result.exit_code == 1
    assert isinstance(result.exception, DataError) and re.search(sentence, str(result.exception))
    assert (folder / "jobs.csv").read_bytes() == before and not (folder / "run.txt").exists()


def test_a_file_of_the_model_is_not_replaced(tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(DataError, match="lies in the folder that --model names"):
        check_outputs(
            {"--trec": tmp_path / "model" / "config.json"}, {"--model": tmp_path / "model"}
        )


def test_links_pipes_and_devices_are_written_and_not_replaced(tmp_path):
    ranking = pd.DataFrame({"query_id": ["a"], "candidate_id": ["x"], "rank": [1], "score": [0.5]})
    expected = "job_id,rank,resume_id,score\na,1,x,0.500000\n"
    target, link, dangling, pipe = (
        tmp_path / name for name in ("target.csv", "link.csv", "dangling.csv", "pipe")
    )
    target.write_text("old")
    link.symlink_to("target.csv")
    dangling.symlink_to("new.csv")
    for out, written in ((link, target), (dangling, tmp_path / "new.csv")):
        write_ranking(ranking, None, out, task="rank_resumes")
        assert out.is_symlink() and written.read_text() == expected
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_ranking(ranking, None, pipe, task="rank_resumes")
    assert os.read(reader, 1000).decode() == expected and pipe.is_fifo()
    os.close(reader)
    write_trec(ranking, Path("/dev/null"), tag="t")
    assert Path("/dev/null").is_char_device()
    check_outputs({"--out": Path("/dev/stdout"), "--trec": Path("/dev/stdout")}, {"--jobs": target})
    assert not list(tmp_path.glob(".*"))


def test_a_failed_write_leaves_what_was_there(tmp_path):
    (tmp_path / "run.txt").write_text("the last run")
    (tmp_path / "run.txt.part").write_text("a file of the reader's")
    ranking = pd.DataFrame(
        {"query_id": ["a b"], "candidate_id": ["x"], "rank": [1], "score": [0.5]}
    )
    with pytest.raises(DataError, match="space"):
        write_trec(ranking, tmp_path / "run.txt", tag="t")
    write_trec(ranking.assign(query_id="a"), tmp_path / "new.txt", tag="t")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "run.txt": "the last run",
        "run.txt.part": "a file of the reader's",
        "new.txt": "a Q0 x 1 -1 t\n",
    }


def test_a_formula_is_no_formula_in_the_csv(place):
    folder, command = place
    (folder / "resumes" / "=cmd.txt").write_text('=HYPERLINK("http://x")\n"quoted", <b>bold</b>')
    assert command("--top", 9).exit_code == 0
    frame = read(folder)
    assert "'=cmd" in set(frame["resume_id"])
    assert not [
        cell
        for column in frame.drop(columns="score")
        for cell in frame[column]
        if cell.startswith("=")
    ]


def test_a_second_call_encodes_nothing(place, monkeypatch):
    folder, command = place
    assert command().exit_code == 0
    first = read(folder)

    def refuse(*_):
        raise AssertionError("a text was encoded again")

    monkeypatch.setattr("matchlib.retrieval.encoder.embed", refuse)
    assert command().exit_code == 0
    pd.testing.assert_frame_equal(read(folder), first)


def test_scores_are_cosines_and_top_counts_candidates(small_tables, tiny_model_folder):
    jobs, resumes = (small_tables[name].head(6) for name in ("jobs", "resumes"))
    encoder = Encoder(str(tiny_model_folder), None, cache_dir=None)
    ranking = rank_documents(jobs, resumes, encoder, task="rank_jobs", top=2)
    cosines = (
        encoder.encode_resumes(resumes["text"].tolist())
        @ encoder.encode_jobs(jobs["text"].tolist()).T
    )
    assert ranking["score"].to_numpy().reshape(6, 2) == pytest.approx(
        -pd.DataFrame(-cosines).apply(sorted, axis=1, result_type="expand").to_numpy()[:, :2],
        abs=1e-5,
    )
    with pytest.raises(DataError, match="top 0"):
        rank_documents(jobs, resumes, encoder, task="rank_jobs", top=0)


def test_an_encoder_folder_brings_its_prompts(tiny_model_folder, tmp_path):
    from matchlib.learning.training import save_encoder
    from matchlib.retrieval.models import load_model

    save_encoder(
        load_model(tiny_model_folder),
        tmp_path / "encoder",
        prompts={"job": "query: ", "resume": "text: "},
    )
    opened = open_ranker(str(tmp_path / "encoder"))
    assert (opened.encoder.job_prompt, opened.encoder.resume_prompt) == ("query: ", "text: ")
    assert open_ranker(str(tmp_path / "encoder"), job_prompt="").encoder.job_prompt == ""
    (tmp_path / "manifest.json").write_text('{"name": "another tool\'s"}')
    assert open_ranker(str(tmp_path / "encoder")).encoder.job_prompt == "query: "
    (tmp_path / "empty").mkdir()
    with pytest.raises(EncoderError, match="holds no model"):
        open_ranker(str(tmp_path / "empty"))


def test_a_stage_that_trains_no_encoder_is_named(tmp_path):
    (tmp_path / "manifest.json").write_text(
        json.dumps({"stage": "11_leaderboard", "parameters": {}, "files": {}, "inputs": {}})
    )
    with pytest.raises(
        EncoderError, match="trains no encoder; name the folder of a 02_contrastive"
    ):
        open_ranker(str(tmp_path))


@pytest.mark.parametrize("below", ["", "encoder"])
def test_a_stage_brings_how_it_encodes_and_its_audit(tiny_model_folder, tmp_path, below):
    stage, audit = tmp_path / "02_contrastive", tmp_path / "10_bias_analysis"
    shutil.copytree(tiny_model_folder, stage / "encoder")
    parameters = {
        "model_name_or_path": "base",
        "job_prompt": "job: ",
        "resume_prompt": "",
        "device": "",
        "precision": "float32",
        "passages": "mean",
    }
    (stage / "manifest.json").write_text(
        json.dumps({"stage": stage.name, "parameters": parameters, "files": {}, "inputs": {}})
    )
    audit.mkdir()
    (audit / "manifest.json").write_text("{}")
    opened = open_ranker(str(stage / below))
    assert (opened.encoder.job_prompt, opened.encoder.passages, opened.audit) == (
        "job: ",
        "mean",
        "unaudited",
    )
    set_audit(audit / "audit.json", stage / "encoder", {"column": "gender", "flags": 0})
    assert open_ranker(str(stage / below)).audit.startswith("audited: column gender, flags 0")


@pytest.fixture(scope="module")
def role_ranker(tmp_path_factory):
    """A ranker of two roles: one likes the must-haves, the other what stands in the same city."""
    from matchlib.talent.experts import ExpertsConfig
    from matchlib.talent.logs import check_log
    from matchlib.talent.ranker import RankerSettings, fit_ranker

    rng = np.random.default_rng(0)
    n = 2000
    features = pd.DataFrame(rng.random((n, 2)), columns=["must-haves", "same city"])
    role = np.array(["sourcer", "hr_recruiter"])[rng.integers(2, size=n)]
    liking = np.where(role == "sourcer", features["must-haves"], features["same city"])
    frame = pd.DataFrame({"role": role, "clicked": (rng.random(n) < liking).astype(int)})
    log = check_log(frame, features, source="log")
    config = ExpertsConfig(n_experts=2, width=8, tasks=("click",))
    ranker, _ = fit_ranker(log, config, RankerSettings(num_train_epochs=8), seed=1)
    folder = tmp_path_factory.mktemp("talent") / "ranker"
    ranker.save(folder)
    return folder


def test_a_roles_order_is_that_of_what_it_likes(role_ranker):
    from matchlib.ranking.rerank import open_role_ranker, rerank

    jobs = pd.DataFrame(
        {
            "job_id": ["j"],
            "text": ["We are hiring a Welder for our Leeds office.\n## Must have\nPython; SQL"],
        }
    )
    near = "Welder (junior), 3 years in the field, Leeds.\n## Experience\nGardening"
    skilled = "Welder (junior), 3 years in the field, Derby.\n## Experience\nPython; SQL"
    resumes = pd.DataFrame({"resume_id": ["near", "skilled"], "text": [near, skilled]})
    ranking = pd.DataFrame(
        {"query_id": "j", "candidate_id": ["near", "skilled"], "rank": [1, 2], "score": [0.9, 0.1]}
    )
    orders = {}
    for role in ("sourcer", "hr_recruiter"):
        ranker = open_role_ranker(str(role_ranker), role)
        found = rerank(ranking, jobs, resumes, ranker, role=role, task="rank_resumes")
        assert found["rank"].tolist() == [1, 2] and found["score"].between(0, 1).all()
        orders[role] = found["candidate_id"].tolist()
    assert orders == {"sourcer": ["skilled", "near"], "hr_recruiter": ["near", "skilled"]}


def test_a_role_that_the_ranker_does_not_know_is_told_which_there_are(role_ranker, tmp_path):
    from matchlib.ranking.rerank import open_role_ranker

    with pytest.raises(
        DataError, match="--role 'ceo' is not one of the ranker's: hr_recruiter, so"
    ):
        open_role_ranker(str(role_ranker), "ceo")
    with pytest.raises(DataError, match="no ranker.json; name a folder of a stage of 07"):
        open_role_ranker(str(tmp_path), "ceo")
