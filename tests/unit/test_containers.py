"""Images and Kubernetes' manifests, neither of which can be built or run here: what can be read of them holds."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "profiles" / "kubernetes"


def copied_by_docker():
    """What the Dockerfile copies, below the repository."""
    sources = []
    for line in re.findall(r"^COPY (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE):
        *names, place = line.split()
        # a folder is copied by its content, so that it needs its own name again
        assert place == "./" or names == [place]
        sources += names
    return sources


def copied_by_apptainer():
    section = re.search(r"^%files\n(.*?)\n\n", (ROOT / "apptainer.def").read_text(), re.M | re.S)
    sources = []
    for line in section[1].splitlines():
        source, place = line.split()
        assert place == f"/matchlib/{source}"
        sources.append(source)
    return sources


def test_both_images_hold_the_same_and_all_of_it_is_there():
    assert sorted(copied_by_docker()) == sorted(copied_by_apptainer())
    listed = (ROOT / ".dockerignore").read_text().splitlines()
    for source in copied_by_docker():
        assert (ROOT / source).exists(), source
        assert f"!{source}" in listed, source


def test_both_images_install_torch_of_the_lock_first_from_an_index_that_may_be_named():
    docker, apptainer = (ROOT / "Dockerfile").read_text(), (ROOT / "apptainer.def").read_text()
    assert "\nARG TORCH_INDEX=\n" in docker and "\n    torch_index=\n" in apptainer
    assert 'index="{{ torch_index }}"\n' in apptainer
    torch = """--no-deps "$(grep '^torch==' requirements.lock)\""""
    for text, name in ((docker, "TORCH_INDEX"), (apptainer, "index")):
        named = f'${{{name}:+--index-url "${name}"}} {torch}'
        assert text.index(named) < text.index(" -r requirements.lock")
    assert re.search("^torch==", (ROOT / "requirements.lock").read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    "index, expected", [("", "--no-deps|"), ("x y", "--index-url|x y|--no-deps|")]
)
def test_an_empty_index_is_pips_own(index, expected):
    words = re.search(r"pip install (.* --no-deps) ", (ROOT / "Dockerfile").read_text())[1]
    command = ["sh", "-c", f'printf "%s|" {words}']
    done = subprocess.run(command, env={"TORCH_INDEX": index}, capture_output=True, text=True)
    assert done.stdout == expected


def test_what_an_image_holds_is_enough_to_plan_every_run(tmp_path):
    for source in copied_by_docker():
        place = tmp_path / source
        place.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        copy(ROOT / source, place)
    code = (
        "from pathlib import Path; from matchlib.pipeline import plan_run, read_params, find_root;"
        "files = sorted(Path('params').glob('*.yaml')); assert files and find_root() == Path.cwd();"
        "[plan_run(read_params(file), source=file.name) for file in files];"
        "assert Path('reports/reference/ledger.csv').exists()"
    )
    environment = {"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def manifests():
    found = yaml.safe_load_all((KUBERNETES / "run.yaml").read_text())
    return {manifest["kind"]: manifest for manifest in found}


def test_kubernetes_manifests_and_profile_name_one_image_and_one_place_of_one_volume(manifests):
    profile = yaml.safe_load((KUBERNETES / "config.yaml").read_text())
    claim, place = profile["kubernetes-volume-persistent-volumes"][0].split(":")
    assert manifests["PersistentVolumeClaim"]["metadata"]["name"] == claim
    assert profile["precommand"] == f"cd {place}"
    pod = manifests["Job"]["spec"]["template"]["spec"]
    (volume,) = pod["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim
    (container,), (fill,) = pod["containers"], pod["initContainers"]
    assert container["image"] == fill["image"] == profile["container-image"]
    assert container["volumeMounts"] == [{"name": volume["name"], "mountPath": place}]
    assert (
        container["workingDir"] == place
        and f"WORKDIR {place}\n" in (ROOT / "Dockerfile").read_text()
    )
    account = manifests["ServiceAccount"]["metadata"]["name"]
    assert pod["serviceAccountName"] == account == manifests["RoleBinding"]["subjects"][0]["name"]


def test_the_profiles_executor_is_found_where_the_job_says(manifests):
    profile = yaml.safe_load((KUBERNETES / "config.yaml").read_text())
    module = "snakemake_executor_plugin_" + profile["executor"].replace("-", "_")
    (path,) = manifests["Job"]["spec"]["template"]["spec"]["containers"][0]["env"]
    folder = ROOT / Path(path["value"]).relative_to("/matchlib")
    assert path["name"] == "PYTHONPATH" and (folder / module / "__init__.py").exists()
