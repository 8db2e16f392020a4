"""The Kubernetes profile without a cluster: a stand-in for Kubernetes' API on this machine takes the jobs
that Snakemake's plugin creates and runs each pod's command as a process, in an empty folder; one pod is killed.
The run's figures are compared with those of the same run without it.

  pip install 'matchlib[kubernetes]'; python benchmarks/kubernetes_stand_in.py [params]

It shows that profiles/kubernetes starts what it should, that pods find the repository by the volume's place
alone, and that a lost pod is tried again. It does not show images, volumes, rights or scheduling.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PLUGIN = "snakemake_executor_plugin_kubernetes"
PLACE = "/matchlib"
"""Where pods mount the volume; here the repository itself is in its place."""


class StandIn(BaseHTTPRequestHandler):
    """The part of Kubernetes' API that the plugin asks for. jobs: name -> process."""

    jobs: dict[str, subprocess.Popen] = {}
    created: list[dict] = []
    folder = Path()

    def log_message(self, *_):
        """Say nothing."""

    def reply(self, content, status=200):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/jobs"):
            self.created.append(body)
            name = body["metadata"]["name"]
            self.jobs[name] = start_pod(body, self.folder / name)
        self.reply(body, 201)

    def do_GET(self):
        found = re.search(r"snakejob-[\w-]+", self.path)
        name = found[0] if found else ""
        code = self.jobs[name].poll()
        if self.path.split("?")[0].endswith("/log"):
            self.reply((self.folder / name / "log").read_text())
        elif "/jobs/" in self.path:
            counts = {} if code is None else {"failed" if code else "succeeded": 1}
            self.reply({"metadata": {"name": name}, "spec": job_spec(), "status": counts})
        else:
            state = {"running": {}} if code is None else {"terminated": {"exitCode": abs(code)}}
            container = {"name": "snakemake", "state": state, "ready": True, "restartCount": 0}
            container |= {"image": "", "imageID": ""}
            pod = {"metadata": {"name": name}, "status": {"containerStatuses": [container]}}
            self.reply({"items": [pod]})

    def do_DELETE(self):
        self.reply({"status": "Success"})


def job_spec():
    return {"template": {"spec": {"containers": [{"name": "snakemake"}]}}}


def start_pod(job, folder):
    """Run the command of a job's container; its working folder is empty, as in a pod."""
    spec = job["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    if mounts.get(str(ROOT)) != "matchlib":
        raise ValueError(f"the volume is not mounted at {ROOT}, but {mounts}")
    folder.mkdir()
    with (folder / "log").open("w") as log:
        return subprocess.Popen(
            [*container["command"], *container["args"]],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def write_profile(folder):
    """profiles/kubernetes, of a volume that lies where this repository is."""
    text = (ROOT / "profiles/kubernetes/config.yaml").read_text(encoding="utf-8")
    changed = text.replace(f":{PLACE}", f":{ROOT}").replace(f"cd {PLACE}", f"cd {ROOT}")
    changed = changed.replace("jobs: 100", "jobs: 2\nseconds-between-status-checks: 2")
    (folder / "profile").mkdir()
    (folder / "profile/config.yaml").write_text(changed, encoding="utf-8")
    return folder / "profile"


def write_kubeconfig(path, port):
    named = {"name": "stand-in"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "stand-in",
        "clusters": [named | {"cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [named | {"user": {"token": "none"}}],
        "contexts": [named | {"context": {"cluster": "stand-in", "user": "stand-in"}}],
    }
    path.write_text(yaml.safe_dump(config))


def run(params, name, *options):
    shutil.rmtree(ROOT / "reports" / name, ignore_errors=True)
    command = [sys.executable, "-m", "matchlib.cli", "run", params, "--run", name, *options]
    with (ROOT / "reports" / f"{name}.log").open("w") as log:
        return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)


def kill_a_pod():
    """Kill the first pod, some seconds after it has started."""
    while not StandIn.jobs:
        time.sleep(0.2)
    time.sleep(4)
    os.killpg(next(iter(StandIn.jobs.values())).pid, signal.SIGKILL)


def figures(name):
    found = {}
    for file in sorted((ROOT / "reports" / name).glob("*/manifest.json")):
        metrics = json.loads(file.read_text(encoding="utf-8"))["metrics"]
        found[file.parent.name] = {key: str(value) for key, value in metrics.items()}  # NaN is NaN
    return found


def main(params="params/smoke.yaml"):
    if find_spec(PLUGIN) is None:
        print(f"skipped: {PLUGIN} is missing; pip install 'matchlib[kubernetes]'")
        return 1
    os.environ["OMP_NUM_THREADS"] = "1"
    plugins = f"{ROOT / 'profiles/kubernetes'}:{os.environ.get('PYTHONPATH', '')}"
    os.environ["PYTHONPATH"] = plugins
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        StandIn.folder = folder
        server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        write_kubeconfig(folder / "kubeconfig", server.server_port)
        os.environ["KUBECONFIG"] = str(folder / "kubeconfig")
        process = run(params, "pods", "--profile", write_profile(folder), "--cores", "1")
        threading.Thread(target=kill_a_pod, daemon=True).start()
        code = process.wait()
        server.shutdown()
    alone = run(params, "pods-alone", "--cores", "1").wait()
    found = figures("pods")
    is_same = code == alone == 0 and found == figures("pods-alone")
    print(
        f"{len(StandIn.created)} pods for {len(found)} stages, one of them killed; exit {code}; figures as without "
        f"them: {is_same}"
    )
    return int(not is_same)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
