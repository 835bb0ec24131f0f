"""A real browser without a screen, spoken to in the DevTools protocol."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from contextlib import contextmanager

from websockets.sync.client import connect

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def found() -> str | None:
    """The browser of this machine."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


CODES = {key: {"windowsVirtualKeyCode": n, "code": key} for key, n in (("Tab", 9), ("Enter", 13), ("Escape", 27))}


class Tab:
    """A page of the browser; `log` keeps what it told (method, params)."""

    def __init__(self, socket) -> None:
        self._socket, self._number = socket, 0
        self.log: list[tuple[str, dict]] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self.log.append((answer["method"], answer["params"]))

    def value(self, expression):
        done = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def until(self, expression, timeout_s=30.0):
        """Wait until an expression is true; return it."""
        end = time.monotonic() + timeout_s
        while not (value := self.value(expression)):
            assert time.monotonic() < end, f"never true: {expression}\n{self.value('document.body.innerText')}"
            time.sleep(0.05)
        return value

    def open(self, address):
        self.call("Page.navigate", url=address)
        self.until("document.readyState === 'complete'")

    def key(self, key, text=None):
        for kind in ("keyDown", "keyUp"):
            typed = {"text": text or key} if kind == "keyDown" and len(text or key) == 1 else {}
            code = CODES.get(key, {})
            self.call("Input.dispatchKeyEvent", type=kind, key=key, **code, **typed)

    def shot(self, path, *, jpeg=None):
        what = {"format": "png"} if jpeg is None else {"format": "jpeg", "quality": jpeg}
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", **what)["data"]))

    def asked(self):
        """Addresses that the page had fetched or connected to."""
        sent = [p["request"]["url"] for m, p in self.log if m == "Network.requestWillBeSent"]
        return sent + [p["url"] for m, p in self.log if m == "Network.webSocketCreated"]

    def complaints(self):
        """Errors of scripts, and what a policy forbade."""
        thrown = [p["exceptionDetails"] for m, p in self.log if m == "Runtime.exceptionThrown"]
        return thrown + [
            p["entry"]["text"] for m, p in self.log if m == "Log.entryAdded" and p["entry"]["level"] == "error"
        ]


@contextmanager
def tab(program, folder, width=1280, height=860, *, dark=False):
    """Open a browser with one tab while the block lasts."""
    profile = folder / "profile"
    command = [
        program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-extensions",
        "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--enable-precise-memory-info", "--js-flags=--expose-gc",
        f"--user-data-dir={profile}", f"--window-size={width},{height}", "--remote-debugging-port=0",
        "--remote-allow-origins=*", "about:blank",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            port = _port(profile / "DevToolsActivePort")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=30) as answer:
                target = next(t for t in json.load(answer) if t["type"] == "page")
            with connect(target["webSocketDebuggerUrl"], max_size=None, proxy=None, ping_interval=None) as socket:
                opened = Tab(socket)
                opened.call(
                    "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
                )
                scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
                opened.call("Emulation.setEmulatedMedia", features=[scheme])
                yield opened
        finally:
            process.terminate()


def _port(path):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if path.is_file() and (lines := path.read_text().splitlines()):
            return int(lines[0])
        time.sleep(0.05)
    raise TimeoutError("the browser did not start")
