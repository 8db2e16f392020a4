"""Notebook 00 in a kernel: on a tiny run, on files of one's own, and with nothing to look at."""

import json
import os
import shutil
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

from matchlib import stage as stage_module
from matchlib.pipeline import notebook_inputs, notebook_parameters
from matchlib.stage import Stage

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "00_explore.ipynb"


def finish(run, name, write, **changes):
    """A finished stage of the run, whose files `write` makes."""
    notebook = Path("notebooks") / f"{name}.ipynb"
    parameters = notebook_parameters(notebook) | {"out_dir": str(run / name)} | changes
    stage = Stage(name, parameters, inputs=notebook_inputs(notebook))
    write(stage)
    stage.finish({}, headline="made by a test")
    stage_module._OPEN.clear()


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory, small_tables, tiny_model_folder):
    """A run of two stages: tables of a small market, and a random encoder in the place of a trained one."""
    os.chdir(ROOT)
    run = tmp_path_factory.mktemp("runs") / "tiny"

    def write_tables(stage):
        for name in ("jobs", "resumes", "labels"):
            stage.write_table(name, small_tables[name])

    finish(run, "01_data_rules", write_tables)
    finish(
        run,
        "02_contrastive",
        lambda stage: shutil.copytree(tiny_model_folder, stage.path("encoder")),
        data=str(run / "01_data_rules"),
        mined_stage="",
    )
    return run


def execute(parameters, *extra_cells, cache):
    """The notebook with parameters set below its own, and cells after its last; returns what they print."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    lines = [f"{name} = {value!r}" for name, value in parameters.items()]
    at = next(
        number
        for number, cell in enumerate(notebook.cells)
        if "parameters" in cell.metadata.get("tags", [])
    )
    notebook.cells.insert(at + 1, nbformat.v4.new_code_cell("\n".join(lines)))
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in extra_cells]
    client = NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(ROOT / "notebooks")}},  # where JupyterLab starts one
    )
    client.execute(env=os.environ | {"MATCHLIB_CACHE": str(cache)})
    printed = [
        "".join(output.get("text", "") for output in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
    return notebook, printed


CHOOSE_AND_JUDGE = """
explorer.first.value, explorer.second.value = "bm25", "02_contrastive"
explorer.buttons["a"].click()
explorer.buttons["b"].click()
print(explorer.message.value)
"""
TELL = """
import json
told = {
    "systems": list(collection.systems),
    "lists": explorer.lists.value,
    "moves": explorer.moves.value,
    "pairs": [shown.value for shown in explorer.pairs.values()],
    "query": explorer.query.value,
    "chosen": [explorer.a.value, explorer.b.value],
}
print(json.dumps(told))
"""
FOR_A_RESUME = """
explorer.task.value = "rank_jobs"
print(explorer.query.value, explorer.buttons["a"].disabled, explorer.moves.value)
explorer.find.value = "no such word"
print(explorer.message.value, explorer.query.value)
"""


def test_a_run_is_compared_and_judged_and_05_reads_the_table(
    tiny_run, tiny_model_folder, small_tables, tmp_path
):
    from matchlib.language.judge import read_sets

    judgements = tmp_path / "p.csv"
    parameters = {
        "run": str(tiny_run),
        "encoder": str(tiny_model_folder),
        "judgements": str(judgements),
        "top": 5,
    }
    notebook, printed = execute(
        parameters, CHOOSE_AND_JUDGE, TELL, FOR_A_RESUME, cache=tmp_path / "cache"
    )
    assert "12 jobs and 24 resumes, the test of" in "".join(printed)
    assert "in place of an earlier one of the same pair" in printed[-3]
    told = json.loads(printed[-2])
    assert told["systems"] == ["bm25", str(tiny_model_folder), "02_contrastive"]
    assert told["lists"].count("<tr>") == 6 and "candidates are in both lists" in told["moves"]
    assert told["query"].startswith("j-test") and told["chosen"][0] in told["lists"]
    assert all("matched skills" in shown and "<pre>" in shown for shown in told["pairs"])
    (row,) = pd.read_csv(judgements).to_dict("records")
    assert [row["job_id"], row["resume_a"], row["resume_b"]] == [told["query"], *told["chosen"]]
    assert (row["preferred"], row["annotator"]) == ("b", "reader")
    (of_test,) = read_sets(judgements, small_tables)
    assert of_test.split == "test" and of_test.preferences["preferred"].tolist() == ["b"]
    query, is_disabled = printed[-1].split()[:2]
    assert query.startswith("r-test") and is_disabled == "True"
    assert "Nothing holds 'no such word'. None" in printed[-1]
    shown = [
        output.data
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "data" in output
    ]
    assert any("application/vnd.jupyter.widget-view+json" in data for data in shown)


def test_files_of_ones_own_are_ranked_without_a_run(tiny_model_folder, tmp_path):
    (tmp_path / "resumes").mkdir()
    (tmp_path / "resumes" / "ann.txt").write_text("I drive forklifts where a < b & c > d.")
    (tmp_path / "resumes" / "bo.txt").write_text("I teach mathematics at a school in Leeds.")
    (tmp_path / "jobs.csv").write_text("job_id,text\nj1,A forklift driver\nj2,A teacher\n")
    parameters = {
        "run": str(tmp_path / "no_run"),
        "jobs": str(tmp_path / "jobs.csv"),
        "resumes": str(tmp_path / "resumes"),
        "encoder": str(tiny_model_folder),
        "judgements": str(tmp_path / "p.csv"),
    }
    _, printed = execute(parameters, TELL, cache=tmp_path / "cache")
    assert "no_run is no run, so bm25 and" in "".join(printed)
    assert "p.csv holds no judgement yet" in "".join(printed)
    told = json.loads(printed[-1])
    assert told["query"] == "j1" and set(told["chosen"]) == {"ann", "bo"}
    assert any("where a &lt; b &amp; c &gt; d" in shown for shown in told["pairs"])


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"run": "reports/no_such_run"}, "there is nothing to look at: .* in the parameters cell"),
        (
            {"run": ""},
            "no run is named, and jobs and resumes name no files; .*set jobs and resumes",
        ),
        ({"jobs": "jobs.csv"}, "jobs is 'jobs.csv', resumes is ''; name both"),
    ],
)
def test_with_nothing_to_look_at_a_sentence_says_what_to_do(parameters, sentence):
    from matchlib.data.schema import DataError
    from matchlib.explore.collection import open_collection

    given = {"run": "", "jobs": "", "resumes": "", "encoder": "all-MiniLM-L6-v2"} | parameters
    with pytest.raises(DataError, match=sentence):
        open_collection(**given)
