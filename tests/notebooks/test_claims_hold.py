"""Claims that take less than five minutes are verified each time."""

import shutil

import pytest
from whole_runs import MATCHLIB, ROOT, run

from matchlib import claims

SHORT = claims.chosen(claims.read_claims(ROOT / "claims.yaml"), [], minutes=5)


@pytest.fixture
def no_folder_left():
    folders = {ROOT / "reports" / claim.params.split("/")[-1][: -len(".yaml")] for claim in SHORT}
    new = [folder for folder in folders if not folder.exists()]
    yield
    for folder in new:
        shutil.rmtree(folder, ignore_errors=True)


def test_the_short_claims_hold(no_folder_left):
    done = run(*MATCHLIB, "claims", "verify", "--minutes", "5")
    told = [line for line in done.stdout.splitlines() if line.startswith("C")]
    assert len(told) == len(SHORT) >= 4
    assert done.returncode == 0 and all(" confirmed: " in line for line in told), told
