"""The page in a real browser: what it shows, what it asks for, and what keys do."""

from __future__ import annotations

import base64
import json
import threading
import time
from io import BytesIO

import chromium
import numpy as np
import pytest
from live_cases import PRESSURE, TEMPERATURE, Readings, board_at, event_of, folder_of, image_of, progress_of, result_of
from PIL import Image

from insitu.live.board import Board
from insitu.live.server import LiveServer

WORD = "document.getElementById('word').textContent"
CAPTION = "document.getElementById('caption').textContent"


def text(name):
    return f"document.getElementById('{name}').textContent"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = chromium.found()
    if program is None:
        pytest.skip(f"NO BROWSER: install one of {', '.join(chromium.BROWSERS)} to try the live page as people do")
    with chromium.tab(program, tmp_path_factory.mktemp("browser")) as tab:
        yield tab


@pytest.fixture
def board(tmp_path):
    return board_at(tmp_path / "run", frames=3)


@pytest.fixture
def server(board):
    with LiveServer(board, 0) as running:
        yield running


@pytest.fixture
def tab(browser, server):
    browser.log.clear()
    browser.open("about:blank")
    browser.open(server.address)
    browser.until(f"{CAPTION}.startsWith('frame 2 ')")
    yield browser
    assert browser.complaints() == []
    browser.open("about:blank")


def pixels(tab):
    """What the canvas shows, (h, w, 3)."""
    url = tab.value("document.getElementById('picture').toDataURL('image/png')")
    with Image.open(BytesIO(base64.b64decode(url.partition(",")[2]))) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def test_it_shows_the_frame_the_numbers_and_the_curves(tab):
    assert tab.value(WORD) == "LIVE"
    assert tab.value(CAPTION) == "frame 2 · 0.020 s · 5 particles"
    assert tab.value(text("used")) == "3"
    tab.until(f"{text('value-number')} === '5'")
    diameter = result_of(2).particles.equivalent_diameter_px.mean() * 0.5
    tab.until(f"{text('value-diameter')}.endsWith(' nm')")
    assert float(tab.value(text("value-diameter")).removesuffix(" nm")) == pytest.approx(diameter, rel=0.01)
    tab.until("document.querySelectorAll('figure canvas').length === 5")
    assert tab.value(text("none")) == "no event yet"


def test_the_picture_is_the_frame(tab):
    image, _ = image_of(2)
    shown = pixels(tab)[::3, ::3].mean(axis=2)
    assert np.corrcoef(shown.ravel(), image.astype(float).ravel())[0, 1] > 0.8


def test_the_scale_bar_is_as_long_as_it_says(tab):
    width = tab.value("document.getElementById('bar').firstChild.getBoundingClientRect().width")
    length = float(tab.value("document.getElementById('bar').lastChild.textContent").removesuffix(" nm"))
    box = "document.getElementById('picture').getBoundingClientRect()"
    canvas = tab.value(f"[{box}.width, {box}.height]")
    shown = min(canvas[0], canvas[1] * 128 / 96)
    assert width == pytest.approx(length / 0.5 / 128 * shown, rel=0.02)


def test_no_request_leaves_the_host(tab, server):
    own = f"127.0.0.1:{server.port}/"
    for address in tab.asked():
        assert address.startswith(("data:", "blob:", "about:", f"http://{own}", f"ws://{own}")), address
    assert not any(server.guard.token in address for address in tab.asked() if address.startswith("http"))
    assert (
        tab.value("performance.getEntriesByType('resource').map((e) => e.name).filter((n) => !n.startsWith('data:'))")
        == []
    )


def test_states_follow_the_run(tab, board):
    tab.until(f"{WORD} === 'STALLED'", 20)
    assert tab.value(text("since")).endswith(" s")
    board.on_result(result_of(3))
    board.on_progress(progress_of(4, lag_frames=90, lag_s=4.2))
    tab.until(f"{WORD} === 'LAGGING'")
    assert "90" in tab.value(text("lag"))
    board.on_progress(progress_of(5, lag_frames=0, lag_s=0.0, bad=1, missing=2))
    board.on_result(result_of(4))
    tab.until(f"{WORD} === 'LIVE'")
    assert tab.value("document.getElementById('missing-box').className") == "odd"
    board.end("DONE", "5 of 5 frames used")
    tab.until(f"{WORD} === 'DONE'")
    assert tab.value(text("says")) == "5 of 5 frames used"


def test_when_the_analysis_is_gone_the_page_says_that_it_is_old(browser, tmp_path):
    board = board_at(tmp_path / "run", frames=2)
    with LiveServer(board, 0) as server:
        browser.open(server.address)
        browser.until(f"{WORD} === 'LIVE'")
    browser.until(f"{WORD} === 'NO CONNECTION'", 20)
    assert "old" in browser.value(text("says"))
    with LiveServer(board, server.port):  # and finds it again
        browser.until(f"{WORD} !== 'NO CONNECTION'", 30)
    board.end("DONE", "2 of 2 frames used")
    with LiveServer(board, server.port):
        browser.until(f"{WORD} === 'DONE'", 30)
    browser.until(f"{text('says')}.includes('the last it showed')", 20)
    assert browser.value(WORD) == "DONE"
    browser.open("about:blank")


def test_events_appear_with_their_pictures(tab, board):
    board.on_result(result_of(3, events=[event_of(2), event_of(3, "nucleation")]))
    tab.until("document.querySelectorAll('#events li').length === 2")
    assert tab.value("[...document.querySelectorAll('#events b')].map((b) => b.textContent)") == [
        "nucleation",
        "coalescence",
    ]
    tab.until("[...document.querySelectorAll('#events img')].every((i) => i.naturalWidth > 50)")


def test_a_name_or_note_is_text_never_markup(browser, tmp_path):
    board = Board()
    evil = "<img src=x onerror='document.title=1'>"
    board.begin(evil, folder_of(tmp_path / "run"))
    board.on_result(result_of(0))
    with LiveServer(board, 0) as server:
        browser.open(server.address)
        browser.until(f"{CAPTION}.startsWith('frame 0')")
        board.mark(evil, None)
        browser.until("document.querySelectorAll('#events li').length === 1")
        assert browser.value(text("title")) == evil
        assert browser.value("document.querySelectorAll('#title img, #events img').length") == 0


def test_sensors_have_curves_and_newest_values(tab, board):
    hidden = "document.getElementById('{}').hidden"
    assert tab.value(hidden.format("temperature"))
    assert tab.value(hidden.format("sensors"))
    board.sensors = readings = Readings()
    readings.tell(TEMPERATURE, PRESSURE)
    tab.until(f"!{hidden.format('temperature')} && !{hidden.format('pressure')}")
    tab.until(f"{text('value-temperature')} === '612 °C'")
    assert tab.value("document.querySelector('#pressure span').textContent") == "tank 1 pressure"
    assert tab.value(text("sensors")) == "holder temperature 612 °C · tank 1 pressure 1.5 Torr"
    readings.tell(TEMPERATURE, says="the log <b>is gone</b>")
    tab.until(hidden.format("pressure"))
    assert tab.value(text("sensors")) == "holder temperature 612 °C · the log <b>is gone</b>"


class TestKeys:
    def test_space_pauses_the_view_and_only_the_view(self, tab, board):
        tab.key(" ")
        tab.until("!document.getElementById('frozen').hidden")
        board.on_result(result_of(3))
        board.on_progress(progress_of(4))
        tab.until(f"{text('used')} === '4'")
        assert tab.value(CAPTION).startswith("frame 2 ")
        tab.key(" ")
        tab.until(f"{CAPTION}.startsWith('frame 3 ')")

    def test_o_takes_the_outlines_away(self, tab, board):
        def colour():
            shown = pixels(tab)
            return (shown.max(axis=2) - shown.min(axis=2)).max()

        assert colour() > 60
        tab.key("o")
        end = time.monotonic() + 20
        while colour() > 30:
            assert time.monotonic() < end
            time.sleep(0.1)

    def test_m_marks_the_frame_that_is_shown(self, tab, board, tmp_path):
        tab.key("m")
        tab.until("document.getElementById('dialog').open")
        board.on_result(result_of(3))
        tab.until(f"{CAPTION}.startsWith('frame 3 ')")
        for letter in "os m":  # letters of a note are no shortcuts
            tab.key(letter)
        tab.key("Enter", "\r")
        tab.until(f"{text('told')} === 'marked frame 2'")
        (line,) = (tmp_path / "run" / "marks.jsonl").read_text().splitlines()
        assert (json.loads(line)["frame"], json.loads(line)["note"]) == (2, "os m")
        tab.until("document.querySelector('#events b')?.textContent === 'mark'")

    def test_escape_leaves_no_mark(self, tab, tmp_path):
        tab.key("m")
        tab.until("document.getElementById('dialog').open")
        tab.key("Escape")
        tab.until("!document.getElementById('dialog').open")
        time.sleep(0.3)
        assert not (tmp_path / "run" / "marks.jsonl").exists()

    def test_s_saves_what_is_shown(self, tab, tmp_path):
        tab.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
        tab.key("s")
        tab.until(f"{text('told')}.startsWith('saved ')")
        path, end = tmp_path / "m.tif_frame2.png", time.monotonic() + 20
        while not path.exists():
            assert time.monotonic() < end
            time.sleep(0.05)
        with Image.open(path) as saved:
            assert saved.size == (384, 288 + 34)

    def test_t_turns_dark_and_light(self, tab):
        paper = "getComputedStyle(document.body).backgroundColor"
        assert tab.value(paper) == "rgb(255, 255, 255)"
        tab.key("t")
        tab.until(f"{paper} === 'rgb(20, 23, 26)'")

    def test_tab_reaches_every_button_and_shows_where_it_is(self, tab):
        reached = []
        for _ in range(5):
            tab.key("Tab")
            reached.append(tab.value("document.activeElement.id"))
            assert tab.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        assert reached == ["pause", "outlines", "mark", "snapshot", "theme"]


def test_without_the_token_it_can_be_read_and_not_marked(tab, server):
    tab.open(f"http://127.0.0.1:{server.port}/")
    tab.until(f"{CAPTION}.startsWith('frame 2 ')")
    assert tab.value("document.getElementById('mark').disabled") is True
    tab.key("m")
    assert tab.value("document.getElementById('dialog').open") is False


@pytest.mark.parametrize("width", [500, 900, 1280, 1920])
def test_nothing_sticks_out(tab, width):
    tab.call("Emulation.setDeviceMetricsOverride", width=width, height=860, deviceScaleFactor=1, mobile=False)
    try:
        tab.value("new Promise((done) => setTimeout(done, 300))")
        assert tab.value("document.documentElement.scrollWidth") <= width
    finally:
        tab.call("Emulation.setDeviceMetricsOverride", width=1280, height=860, deviceScaleFactor=1, mobile=False)


def test_a_browser_that_is_busy_is_shown_fewer_pictures_never_later_ones(tab, board):
    """While its thread is blocked the run goes on; what is drawn next is the newest frame."""
    going = threading.Event()

    def run():
        for k in range(3, 400):
            board.on_result(result_of(k))
            if going.wait(0.005):
                return

    camera = threading.Thread(target=run)
    camera.start()
    tab.value("(() => { const end = performance.now() + 800; while (performance.now() < end); })()")
    camera.join()
    going.set()
    tab.until(f"{CAPTION}.startsWith('frame 399 ')", 10)


def test_a_page_that_comes_back_has_the_whole_curve(tab, board, server):
    for k in range(3, 300):
        board.on_result(result_of(k))
    tab.open("about:blank")
    tab.open(server.address)
    tab.until(f"{CAPTION}.startsWith('frame 299 ')")
