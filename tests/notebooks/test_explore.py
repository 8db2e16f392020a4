"""Notebook 00 in a kernel: on a tiny run, on files of one's own, and with nothing to look at."""

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

from matchlib.pipeline import notebook_inputs, notebook_parameters
from matchlib.stage import Stage

ROOT = Path(__file__).parents[2]
HARMFUL = '<img src="x" onerror="window.harmed = true"><b class="theirs">Ann</b>'
"""The first line of every resume: a browser that took it for HTML would say so."""
NOTEBOOK = ROOT / "notebooks" / "00_explore.ipynb"


def finish(run, name, write, **changes):
    """A finished stage of the run, whose files `write` makes."""
    notebook = Path("notebooks") / f"{name}.ipynb"
    parameters = notebook_parameters(notebook) | {"out_dir": str(run / name)} | changes
    stage = Stage(name, parameters, inputs=notebook_inputs(notebook))
    write(stage)
    stage.finish({}, headline="made by a test")


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory, small_tables, tiny_model_folder):
    """A run of two stages: tables of a small market, and a random encoder in the place of a trained one."""
    os.chdir(ROOT)
    run = tmp_path_factory.mktemp("runs") / "tiny"

    def write_tables(stage):
        for name in ("jobs", "resumes", "labels"):
            frame = small_tables[name]
            if name == "resumes":
                frame = frame.assign(text=HARMFUL + "\n" + frame["text"])
            stage.write_table(name, frame)

    finish(run, "01_data_rules", write_tables)
    finish(
        run,
        "02_contrastive",
        lambda stage: shutil.copytree(tiny_model_folder, stage.path("encoder")),
        data=str(run / "01_data_rules"),
        mined_stage="",
    )
    return run


def with_parameters(parameters):
    """The notebook with a cell that sets parameters below its own."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    lines = [f"{name} = {value!r}" for name, value in parameters.items()]
    at = next(
        number
        for number, cell in enumerate(notebook.cells)
        if "parameters" in cell.metadata.get("tags", [])
    )
    notebook.cells.insert(at + 1, nbformat.v4.new_code_cell("\n".join(lines)))
    return notebook


def execute(parameters, *extra_cells, cache):
    """The notebook with parameters set below its own, and cells after its last; returns what they print."""
    notebook = with_parameters(parameters)
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


LAB_SETTINGS = {
    # all cells stay in the page, so that what is scrolled to stays where it is
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


class Lab:
    """JupyterLab on a free port, with a token, a folder and settings of its own; close it when done."""

    def __init__(self, folder, environment):
        runtime = folder / "runtime"
        self.token = secrets.token_hex(16)
        self._log = (folder / "lab.log").open("w")
        own = {
            f"JUPYTER_{name}_DIR": str(folder / name.lower())
            for name in ("CONFIG", "DATA", "RUNTIME")
        }
        for name, settings in LAB_SETTINGS.items():
            file = folder / "config/lab/user-settings/@jupyterlab" / f"{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True)
            file.write_text(json.dumps(settings))
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
                *(
                    "--ServerApp.port=0",
                    f"--ServerApp.root_dir={folder}",
                    "--ServerApp.ip=127.0.0.1",
                ),
                *(f"--IdentityProvider.token={self.token}", "--LabApp.expose_app_in_browser=True"),
                *("--LabApp.extension_manager=readonly", "--LabApp.news_url=None"),
            ],
            env=os.environ | own | {"IPYTHONDIR": str(folder / "ipython")} | environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self.port = self._wait_for_port(runtime)

    def _wait_for_port(self, runtime):
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and self._process.poll() is None:
            for told in runtime.glob("jpserver-*.json"):
                with contextlib.suppress(ValueError):  # half written
                    return json.loads(told.read_text())["port"]
            time.sleep(0.1)
        self.close()
        raise RuntimeError(f"JupyterLab did not start; see {self._log.name}")

    def url(self, notebook):
        return f"http://127.0.0.1:{self.port}/lab/tree/{notebook}?token={self.token}"

    def close(self):
        """End the server, which ends its kernels."""
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


@pytest.fixture
def lab(tmp_path):
    """JupyterLab in a folder that looks like the repository's root."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "Snakefile").touch()
    lab = Lab(tmp_path, {"MATCHLIB_CACHE": str(tmp_path / "cache"), "PYTHONPATH": python_path()})
    yield lab
    lab.close()


def python_path():
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


KERNEL_IS_READY = (
    "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status == 'idle'"
)
HEADINGS = "[...document.querySelectorAll('table.lists th')].map(cell => cell.textContent).join()"

IS_IN_VIEW = (
    "(() => { const box = document.querySelector('table.lists').getBoundingClientRect();"
    "return box.height > 100 && box.top >= 0 && box.bottom <= window.innerHeight; })()"
)


def click(browser, label):
    browser.evaluate(
        "[...document.querySelectorAll('button.jupyter-button')]"
        f".find(button => button.textContent == {label!r}).click()"
    )


def choose(browser, menu, option):
    """Choose an option of the menu with that description, as a reader does."""
    browser.evaluate(
        "(() => {"
        "const box = [...document.querySelectorAll('.widget-dropdown')].find("
        f"one => one.querySelector('label').textContent == {menu!r});"
        "const select = box.querySelector('select');"
        "const texts = [...select.options].map(one => one.textContent);"
        f"select.selectedIndex = texts.indexOf({option!r});"
        "select.dispatchEvent(new Event('change', {bubbles: true}));"
        "})()"
    )


def test_jupyterlab_shows_two_lists_and_saves_what_a_reader_clicks(
    lab, browser, tiny_run, tiny_model_folder, tmp_path
):
    judgements = tmp_path / "p.csv"
    parameters = {
        "run": str(tiny_run),
        "encoder": str(tiny_model_folder),
        "judgements": str(judgements),
        "top": 5,
    }
    nbformat.write(with_parameters(parameters), tmp_path / "notebooks" / NOTEBOOK.name)
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        width=1500,
        height=1800,
        deviceScaleFactor=1,
        mobile=False,
    )
    browser.call("Page.navigate", url=lab.url(f"notebooks/{NOTEBOOK.name}"))
    assert browser.becomes(KERNEL_IS_READY, within_seconds=90)
    browser.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells'); 0")
    assert browser.becomes(
        "document.querySelectorAll('table.lists tr').length == 6", within_seconds=90
    )
    assert browser.evaluate(HEADINGS).startswith("rank,bm25,in the other,")
    choose(browser, "second", "02_contrastive")
    assert browser.becomes(f"{HEADINGS}.includes('02_contrastive')", within_seconds=30)
    click(browser, "B fits better")
    assert browser.becomes("document.body.textContent.includes('Saved: r-test')", within_seconds=30)
    assert pd.read_csv(judgements)["preferred"].tolist() == ["b"]
    # what resumes hold is text: their own tags are there to read, and none of them is a tag
    assert browser.evaluate("document.querySelector('.explored pre') != null")
    assert browser.evaluate("document.body.textContent.includes('window.harmed = true')")
    assert browser.evaluate("document.querySelector('.theirs') == null && !window.harmed")
    browser.evaluate("document.querySelector('table.lists').scrollIntoView()")
    assert browser.becomes(IS_IN_VIEW)
    browser.screenshot(tmp_path / "lab.png")
