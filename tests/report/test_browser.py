"""The page in a real browser: what it asks for, and how it looks on paper, in the dark and on a narrow screen."""

from __future__ import annotations

import http.server
import json
import shutil
import subprocess
import threading
from functools import partial

import pytest
from PIL import Image
from report_cases import discs

from insitu.report.page import write_report
from insitu.results import open_run
from insitu.statistics import write

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="module")
def browser():
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"NO BROWSER: install one of {', '.join(BROWSERS)} to see the report as people do")
    return found


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    run = discs(folder, frames=30, shrink=True)
    write(open_run(run).coarsening(), run / "coarsening")
    return write_report(run)


def show(browser, folder, *arguments):
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-extensions"]
    command += [f"--user-data-dir={folder / 'profile'}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


class Counting(http.server.SimpleHTTPRequestHandler):
    """Serves a folder on this machine and keeps what was asked for."""

    asked: list[str]

    def do_GET(self):
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_):
        """Keep quiet."""


def test_the_page_asks_for_nothing_but_itself(browser, page, tmp_path):
    Counting.asked = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Counting, directory=str(page.parent)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    log = tmp_path / "net.json"
    try:
        address = f"http://127.0.0.1:{server.server_address[1]}/report.html"
        done = show(browser, tmp_path, f"--log-net-log={log}", "--enable-logging=stderr", "--dump-dom", address)
    finally:
        server.shutdown()
        server.server_close()
    assert "How far to trust it" in done.stdout
    assert Counting.asked == ["/report.html"]
    assert "Content Security Policy" not in done.stderr
    asked = requests_of(json.loads(log.read_text(encoding="utf-8")), "report.html")
    assert asked == {address}


def requests_of(log, page):
    """Addresses that the page itself had fetched: those that came from its own host, or were set off by it."""
    started = [e["params"] for e in log["events"] if "url" in e.get("params", {}) and "initiator" in e["params"]]
    own = {p["url"] for p in started if "127.0.0.1" in p["url"] or "127.0.0.1" in str(p["initiator"])}
    assert any(page in url for url in own)
    return own


def shot(browser, page, folder, width, height, *arguments):
    path = folder / "shot.png"
    show(browser, folder, f"--window-size={width},{height}", f"--screenshot={path}", *arguments, page.as_uri())
    with Image.open(path) as picture:
        return picture.convert("RGB")


def test_it_is_light_by_day_and_dark_at_night(browser, page, tmp_path):
    light = shot(browser, page, tmp_path, 1000, 700)
    dark = shot(browser, page, tmp_path, 1000, 700, "--blink-settings=preferredColorScheme=0")
    assert light.getpixel((2, 2)) == (255, 255, 255)
    assert max(dark.getpixel((2, 2))) < 60
    assert light.size == dark.size == (1000, 700)


def test_nothing_sticks_out_of_a_narrow_screen(browser, page, tmp_path):
    """A probe at the end of the page writes how wide it wants to be; only this copy may run a script."""
    probe = "<script>document.title = `wide ${document.documentElement.scrollWidth} of ${innerWidth}`</script>"
    text = page.read_text(encoding="utf-8").replace(
        "default-src 'none'", "default-src 'none'; script-src 'unsafe-inline'"
    )
    copy = tmp_path / "probe.html"
    copy.write_text(text.replace("</body>", f"{probe}</body>"), encoding="utf-8")
    for width in (500, 700, 1280):
        dom = show(browser, tmp_path, f"--window-size={width},900", "--dump-dom", copy.as_uri()).stdout
        title = dom.partition("<title>")[2].partition("</title>")[0]
        wide, _, room = title.removeprefix("wide ").partition(" of ")
        assert int(wide) <= int(room), (width, title)


def test_it_prints_on_few_pages(browser, page, tmp_path):
    path = tmp_path / "r.pdf"
    show(browser, tmp_path, f"--print-to-pdf={path}", "--no-pdf-header-footer", page.as_uri())
    pages = path.read_bytes().count(b"/Type /Page\n") or path.read_bytes().count(b"/Type/Page/")
    assert 2 <= pages <= 14
