"""Chromium driven over its DevTools protocol: real clicks, keys and files, at any width."""

import base64
import contextlib
import functools
import http.server
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

from browser import CHROMIUM


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server on this machine that hands out a folder's files."""
    handler = functools.partial(_Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


class Page:
    """A tab. `errors` holds what it wrote on the console, `requests` every address it asked for."""

    def __init__(self, address: str):
        import websocket

        self.socket = websocket.create_connection(address, suppress_origin=True, timeout=60)
        self.count, self.errors, self.requests = 0, [], []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **parameters):
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == self.count:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            self._note(message)

    def _note(self, message: dict) -> None:
        what, p = message.get("method"), message.get("params", {})
        if what == "Runtime.exceptionThrown":
            self.errors.append(p["exceptionDetails"]["text"])
        elif what == "Runtime.consoleAPICalled" and p["type"] in ("error", "assert"):
            self.errors.append(str([a.get("value") for a in p["args"]]))
        elif what == "Log.entryAdded" and p["entry"]["level"] == "error":
            self.errors.append(f"{p['entry']['text']} {p['entry'].get('url', '')}")
        elif what == "Network.requestWillBeSent":
            self.requests.append(p["request"]["url"])

    def js(self, expression: str):
        """What an expression, or a promise, gives."""
        found = self(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, expression: str, seconds: float = 60):
        """Wait until an expression is true; its value."""
        end = time.monotonic() + seconds
        while not (value := self.js(expression)):
            assert time.monotonic() < end, f"{expression} is still {value!r}; {self.errors}"
            time.sleep(0.05)
        return value

    def size(self, width: int, height: int = 900, dark: bool = False) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self("Emulation.setDeviceMetricsOverride", **metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", features=[scheme])

    def mouse(self, *places: tuple[float, float]) -> None:
        """Press at the first place, move over the others, release at the last."""
        button = {"button": "left", "clickCount": 1}
        kinds = ["mousePressed", *["mouseMoved"] * (len(places) - 1), "mouseReleased"]
        for kind, (x, y) in zip(kinds, [*places, places[-1]], strict=True):
            self("Input.dispatchMouseEvent", type=kind, x=x, y=y, buttons=1, **button)

    def touch(self, x: float, y: float) -> None:
        self("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def key(self, name: str, *, shift: bool = False) -> None:
        text = {"text": "\r"} if name == "Enter" else {}
        codes = {"Enter": 13, "Tab": 9, "Backspace": 8, " ": 32, "ArrowRight": 39, "ArrowDown": 40}
        more = {"windowsVirtualKeyCode": codes.get(name, 0), "modifiers": 8 * shift, **text}
        self("Input.dispatchKeyEvent", type="keyDown", key=name, **more)
        self("Input.dispatchKeyEvent", type="keyUp", key=name)

    def upload(self, selector: str, file: Path) -> None:
        root = self("DOM.getDocument")["root"]["nodeId"]
        node = self("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self("DOM.setFileInputFiles", files=[str(file)], nodeId=node)

    def drop(self, place: tuple[float, float], file: Path) -> None:
        """Drag a file over a place and let it go there."""
        data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self("Input.dispatchDragEvent", type=kind, x=place[0], y=place[1], data=data)

    def downloads(self, folder: Path) -> None:
        """What the page saves goes into a folder."""
        self("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    def picture(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self("Page.captureScreenshot")["data"]))


@contextlib.contextmanager
def opened(
    folder: Path, address: str, *, arguments: tuple[str, ...] = ("--disable-gpu",)
) -> Iterator[Page]:
    """A page in a headless Chromium that reaches this machine only."""
    command = [
        *(CHROMIUM, "--headless", "--no-sandbox", "--no-first-run", *arguments),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        *("--remote-debugging-port=0", f"--user-data-dir={folder / 'profile'}"),
        *("--hide-scrollbars", "--force-color-profile=srgb", "about:blank"),
    ]
    environment = {**os.environ, "HOME": str(folder)}
    log = (folder / "chromium.log").open("wb")
    process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        port = folder / "profile" / "DevToolsActivePort"
        for _ in range(600):
            if port.is_file() and port.read_text().strip():
                break
            time.sleep(0.05)
        with urlopen(f"http://127.0.0.1:{port.read_text().split()[0]}/json") as answer:
            tab = next(t for t in json.load(answer) if t["type"] == "page")
        page = Page(tab["webSocketDebuggerUrl"])
        with contextlib.closing(page.socket):
            page("Page.navigate", url=address)
            page.until("document.readyState === 'complete' && location.protocol !== 'about:'")
            yield page
    finally:
        process.terminate()
        process.wait(30)
        log.close()
