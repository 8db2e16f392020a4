"""Headless Chromium over its devtools protocol: what a page became, how wide it is, how it looks."""

import base64
import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import websocket

_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --disable-dev-shm-usage --disable-extensions"
    " --remote-debugging-port=0 --remote-allow-origins=*"
)
START_SECONDS = 20


def find_chromium() -> str:
    """The path of an installed Chromium or Chrome; RuntimeError if there is none."""
    if found := shutil.which("chromium") or shutil.which("google-chrome"):
        return found
    raise RuntimeError(
        "no chromium or google-chrome on the PATH, with which pages are tested; install one, e.g. by "
        "apt-get install chromium"
    )


class Browser:
    """One headless browser with one tab and a fresh profile; close it when done."""

    def __init__(self, profile: Path):
        self._log = (profile.parent / f"{profile.name}.log").open("w+")
        self._process = subprocess.Popen(
            [find_chromium(), *_FLAGS.split(), f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=self._log,
        )
        address = self._devtools_address()
        self._socket = websocket.create_connection(address, timeout=START_SECONDS)
        self._count = 0
        self._session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        self.requested = []
        self.dialogs = []
        self.call("Page.enable")
        self.call("Network.enable")

    def call(self, method: str, **params) -> dict:
        """Send one command and wait for its answer, noting what is reported meanwhile."""
        number = self._send(method, params)
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def open(
        self, page: Path, *, width: int = 1400, dark: bool = False, settle_seconds: float = 0.5
    ) -> None:
        """Load a file and give its scripts, if any got through, time to run."""
        scheme = "dark" if dark else "light"
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        # going to the page one is on counts as a reload, which restores what was ticked
        self.call("Page.navigate", url="about:blank")
        while self.evaluate("location.href") != "about:blank":
            time.sleep(0.05)
        self.requested, self.dialogs = [], []
        self.call("Page.navigate", url=page.as_uri())
        while self.evaluate("document.readyState") != "complete":
            time.sleep(0.05)
        time.sleep(settle_seconds)
        self.evaluate("0")  # collects the requests reported while we slept

    def evaluate(self, expression: str) -> object:
        """The value of an expression in the page; devtools may evaluate where the page's policy may not."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def becomes(self, expression: str, *, within_seconds: float = 2) -> bool:
        """Whether an expression turns true before the time is over; a style may arrive a frame later."""
        deadline = time.monotonic() + within_seconds
        while not self.evaluate(expression):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def screenshot(self, path: Path, *, height: int | None = None) -> None:
        """Save a png of the whole page, or of its top."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {
            "x": 0,
            "y": 0,
            "width": size["width"],
            "height": height or size["height"],
            "scale": 1,
        }
        shot = self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        """End the browser."""
        self._socket.close()
        self._process.terminate()
        self._process.wait(timeout=10)
        self._log.close()

    def _send(self, method: str, params: dict) -> int:
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        return self._count

    def _receive(self) -> dict:
        message = json.loads(self._socket.recv())
        if message.get("method") == "Network.requestWillBeSent":
            self.requested.append(message["params"]["request"]["url"])
        elif message.get("method") == "Network.webSocketCreated":
            self.requested.append(message["params"]["url"])
        elif message.get("method") == "Page.javascriptDialogOpening":
            self.dialogs.append(message["params"]["message"])
            self._send("Page.handleJavaScriptDialog", {"accept": True})
        return message

    def _devtools_address(self) -> str:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self._log.seek(0)
            found = re.search(r"DevTools listening on (ws://\S+)", self._log.read())
            if found:
                return found[1]
            time.sleep(0.05)
        self._process.kill()
        raise RuntimeError(f"Chromium did not start within {START_SECONDS} s; see {self._log.name}")
