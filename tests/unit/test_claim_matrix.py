"""claims.yaml against the ledger and the sweeps, and how a claim is compared with a run."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from matchlib import claims
from matchlib.cli import app
from matchlib.pipeline import ParameterError, read_params

ROOT = Path(__file__).parents[2]
ALL = claims.read_claims(ROOT / "claims.yaml")
JUDGED = [claim for claim in ALL if claim.verdict]

ROWS = pd.DataFrame(
    {"system": ["a", "b", "b"], "task": ["x", "x", "y"], "value": [0.5, 0.2, float("nan")]}
)
CLAIM = claims.Claim(
    id="C1",
    paper="p",
    claim="a is above b",
    params="params/demo.yaml",
    figure=claims.Figure("s/t.csv", {"system": "a", "task": "x"}, less={"system": "b"}),
    expected=0.3,
    tolerance=0.01,
    null_world="none",
    minutes=1,
    confirmed="0000000, 2 cores",
)


@pytest.fixture
def run(tmp_path):
    (tmp_path / "s").mkdir()
    ROWS.to_csv(tmp_path / "s" / "t.csv", index=False)
    return tmp_path


def test_there_are_claims_of_every_paper_with_and_without_success():
    assert len(ALL) >= 20
    papers = {claim.paper for claim in ALL}
    assert {"ConFit v2", "RankPO", "GIRL", "talent search", "RJDB"} <= papers
    assert {"holds", "does not", "undecided"} <= {claim.verdict for claim in JUDGED}


@pytest.mark.parametrize("claim", ALL, ids=lambda claim: claim.id)
def test_a_claim_names_a_params_file_that_makes_its_figure(claim):
    raw = read_params(ROOT / claim.params)
    stage = claim.figure.file.split("/")[0]
    assert stage in raw, f"{claim.params} has no section {stage}"
    assert claim.tolerance > 0 and claim.minutes > 0 and claim.null_world


@pytest.mark.parametrize("claim", JUDGED, ids=lambda claim: claim.id)
def test_a_verdict_is_that_of_the_ledger(claim):
    ledger = pd.read_csv(ROOT / "reports" / "reference" / "ledger.csv")
    ledger = ledger[ledger["sweep"] == claim.params.removeprefix("params/")]
    for column, value in claim.figure.row.items():
        ledger = ledger[ledger[column] == value]
    assert len(ledger) == 1
    row = ledger.iloc[0]
    assert row["estimate"] == pytest.approx(claim.expected, abs=6e-5)
    assert row["verdict"] == claim.verdict
    assert claim.interval == pytest.approx([row["low"], row["high"]], abs=6e-5)
    assert claim.confirmed == f"{row['commit']}, {row['hardware']}"


@pytest.mark.parametrize("claim", JUDGED, ids=lambda claim: claim.id)
def test_a_sweep_still_judges_what_is_claimed(claim):
    judged = read_params(ROOT / claim.params)["12_ledger"]["claims"]
    assert claim.figure.row["claim"] in [entry["claim"] for entry in judged]


@pytest.mark.parametrize(
    "change, status",
    [
        ({}, claims.CONFIRMED),
        ({"expected": 0.309}, claims.CONFIRMED),
        ({"expected": 0.32}, claims.CHANGED),
        ({"verdict": "holds"}, claims.CHANGED),
        ({"figure": claims.Figure("s/t.csv", {"system": "b", "task": "y"})}, claims.CHANGED),
        ({"figure": claims.Figure("s/t.csv", {"system": "b"})}, claims.BROKEN),
        ({"figure": claims.Figure("s/t.csv", {"system": "c"})}, claims.BROKEN),
        ({"figure": claims.Figure("s/t.csv", {"nobody": "c"})}, claims.BROKEN),
        ({"figure": claims.Figure("s/u.csv", {"system": "a"})}, claims.BROKEN),
    ],
)
def test_a_figure_is_confirmed_changed_or_broken(run, change, status):
    assert claims.judge(replace(CLAIM, **change), run).status == status


def test_a_verdict_that_is_another_is_a_change(run):
    ROWS.assign(verdict="undecided").to_csv(run / "s" / "t.csv", index=False)
    assert claims.judge(replace(CLAIM, verdict="undecided"), run).status == claims.CONFIRMED
    assert claims.judge(replace(CLAIM, verdict="holds"), run).status == claims.CHANGED


def test_only_what_was_confirmed_is_recorded(tmp_path):
    path = tmp_path / "claims.yaml"
    text = (ROOT / "claims.yaml").read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8")
    outcomes = [
        claims.Outcome(ALL[0], claims.CONFIRMED, ""),
        claims.Outcome(ALL[1], claims.CHANGED, ""),
    ]
    claims.record(outcomes, "abcdef0, 4 cores", path)
    after = claims.read_claims(path)
    assert after[0].confirmed == "abcdef0, 4 cores" and after[1:] == ALL[1:]
    assert path.read_text(encoding="utf-8").count("\n") == text.count("\n")


def test_claims_are_chosen_by_id_or_by_time():
    assert claims.chosen(ALL, ["C2", "C1"], minutes=1) == [ALL[1], ALL[0]]
    assert all(claim.minutes <= 5 for claim in claims.chosen(ALL, [], minutes=5))
    with pytest.raises(ParameterError, match="no claim is called C999; the claims are C1, "):
        claims.chosen(ALL, ["C999"], minutes=5)


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("- id: C1\n", r"entry 1 \(C1\): 'figure'; see Claim"),
        ("- id: C1\n  figure: {file: a}\n", r"entry 1 \(C1\): .*row"),
        ("- id: C1\n  figure: {file: a, row: {}}\n  colour: red\n", r"entry 1 \(C1\): .*colour"),
    ],
)
def test_an_entry_that_is_not_whole_is_named(tmp_path, text, sentence):
    (tmp_path / "claims.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ParameterError, match=sentence):
        claims.read_claims(tmp_path / "claims.yaml")


RENDERED = ROOT / "reports" / "reference" / "demo"
OF_THE_DEMO = [claim for claim in ALL if claim.params == "params/demo.yaml"]


@pytest.mark.parametrize("claim", OF_THE_DEMO, ids=lambda claim: claim.id)
def test_the_rendered_demo_shows_what_is_claimed(claim):
    outcome = claims.judge(claim, RENDERED)
    assert outcome.status == claims.CONFIRMED, outcome.detail
    stage = claim.figure.file.split("/")[0]
    page = (RENDERED / stage / f"{stage}.html").read_text(encoding="utf-8")
    value, _ = replace(claim.figure, less=None).read(RENDERED)
    shown = f"{abs(value):.3f}"
    assert shown in page or shown.removeprefix("0") in page, f"{shown} is not on the page"


def test_two_claims_of_one_sentence_are_listed_with_what_tells_them_apart():
    lines = CliRunner().invoke(app, ["claims"]).stdout.splitlines()
    listed = [line.split("  ", 1)[1].split(". ")[0] for line in lines if line.startswith("C")]
    assert len(listed) == len(ALL) == len(set(listed))
    assert "after Holm's adjustment" in lines[-1]
