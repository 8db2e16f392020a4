"""The manifest of a stage: what it must hold, and what is filled in."""

import json

import pytest

from matchlib.manifest import read_manifest

LEAST = {"stage": "a", "parameters": {}, "inputs": {}, "files": {}}


def written(folder, manifest):
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_what_is_unsaid_is_filled_in(tmp_path):
    manifest = read_manifest(written(tmp_path / "demo" / "a", LEAST | {"seconds": 3}))
    assert manifest["run"] == "demo" and manifest["seconds"] == 3 and manifest["metrics"] == {}


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ([1], "expected an object, got list"),
        ({key: LEAST[key] for key in ("parameters", "inputs", "files")}, "names no stage"),
        ({"stage": "a", "parameters": {}, "inputs": {}}, "files should be an object"),
        (LEAST | {"metrics": [1]}, "metrics should be an object"),
        (LEAST | {"files": {"a.csv": {"bytes": 1}}}, "a.csv has no bytes and sha256"),
    ],
)
def test_what_is_no_manifest_of_a_stage_says_why(tmp_path, manifest, message):
    with pytest.raises(ValueError, match=rf"manifest\.json: {message}.*; rerun the stage"):
        read_manifest(written(tmp_path / "a", manifest))


def test_a_folder_without_one_is_not_finished(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_manifest(tmp_path)
