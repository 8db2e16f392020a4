"""One smoke run for all tests of notebooks, whichever worker asks for it first."""

import fcntl
import os

import pytest
from whole_runs import CANARY, MATCHLIB, ROOT, run


@pytest.fixture(scope="module")
def names(request):
    """Names of runs, of which "smoke" is everyone's; tests/conftest.py removes their folders."""
    stem = os.environ["MATCHLIB_TEST_RUN"]
    own = f"{stem}-{request.module.__name__}"
    kinds = ("killed", "plain", "own", "bad")
    return {"smoke": f"{stem}-smoke", **{kind: f"{own}-{kind}" for kind in kinds}}


@pytest.fixture(scope="module")
def smoke(names):
    """A finished smoke run, made with an API key in the environment; returns its folder."""
    folder = ROOT / "reports" / names["smoke"]
    with (ROOT / "reports" / f"{names['smoke']}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "index.html").exists():
            command = [*MATCHLIB, "run", "params/smoke.yaml", "--run", names["smoke"]]
            done = run(*command, environment={"OPENAI_API_KEY": CANARY})
            assert done.returncode == 0, done.stdout + done.stderr
            assert CANARY not in done.stdout + done.stderr
    return folder
