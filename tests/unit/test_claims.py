"""What the sweeps' claims say of themselves: when they were written, which null world they have, what they compare."""

from pathlib import Path

import pandas as pd
import pytest
import yaml

from matchlib.retrieval.verdicts import KINDS, NDCG_MARGIN, STATUSES

ROOT = Path(__file__).parents[2]
SWEEPS = [
    path
    for path in sorted((ROOT / "params" / "sweeps").glob("*.yaml"))
    if "claims" in yaml.safe_load(path.read_text()).get("12_ledger", {})
]


def _worlds_and_seeds(raw):
    """What the sweep of the judged stages goes over; tables that worlds share have an entry before."""
    (over,) = [entry["over"] for entry in raw["sweep"] if len(entry["over"]) == 2]
    return over


def claims_of(path):
    """(claim with the ledger's measure filled in, names of the sweep's worlds)."""
    raw = yaml.safe_load(path.read_text())
    worlds = set(_worlds_and_seeds(raw)[0])
    measure = raw["12_ledger"].get("measure", "nDCG@10")
    return [
        claim | {"measure": claim.get("measure", measure)} for claim in raw["12_ledger"]["claims"]
    ], worlds


def test_there_are_claims():
    assert {path.stem for path in SWEEPS} == {
        "bias",
        "decisions",
        "girl_claims",
        "hrtasks_claims",
        "hrtasks_fresh",
        "hyre_lm_claims",
        "knn_claims",
        "rankpo_claims",
        "rum_claims",
        "talent_claims",
    }


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_claim_says_when_it_was_written_and_where_it_must_vanish(path):
    claims, worlds = claims_of(path)
    for claim in claims:
        assert claim["status"] in STATUSES and pd.Timestamp(claim["since"]), claim["claim"]
        assert claim["null_world"] in worlds | {"none"}, claim["claim"]
        assert claim["world"] in worlds and claim.get("baseline_world", claim["world"]) in worlds, (
            claim["claim"]
        )
        assert claim.get("kind", "above") in KINDS
        assert "nDCG" in claim["measure"] or claim["margin"] > 0, claim["claim"]


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_six_seeds_and_none_that_chose_a_setting(path):
    """Seed 1 chose RUM's band and every demo's settings; it judges none of them."""
    raw = yaml.safe_load(path.read_text())
    seeds = set(_worlds_and_seeds(raw)[1])
    assert len(seeds) == 6 and 1 not in seeds


def test_the_reference_ledger_holds_what_the_sweeps_claim():
    ledger = pd.read_csv(ROOT / "reports" / "reference" / "ledger.csv")
    assert set(ledger["status"]) <= set(STATUSES) and ledger["null_world"].notna().all()
    assert (ledger["seeds"] >= 6).all() and (ledger["margin"] > 0).all()
    assert (
        ledger["low"].le(ledger["estimate"] + 1e-9).all()
        and ledger["high"].ge(ledger["estimate"] - 1e-9).all()
    )
    for path in SWEEPS:
        told = ledger[ledger["sweep"] == f"sweeps/{path.name}"]
        claims, _ = claims_of(path)
        if len(told):
            assert set(told["claim"]) == {claim["claim"] for claim in claims}, path.name
            margins = told.set_index("claim")["margin"].to_dict()
            assert all(
                margins[claim["claim"]] == claim.get("margin", NDCG_MARGIN) for claim in claims
            )
