from __future__ import annotations

import json
import struct
import threading

import pytest
from live_cases import PRESSURE, TEMPERATURE, Clock, Readings, board_at, event_of, progress_of, result_of

from insitu.errors import CommandError
from insitu.live.board import Board, Seen
from insitu.live.message import Messenger


def told(board, seen=None):
    """What a page is told: values, picture."""
    raw = Messenger(board).message(seen or Seen())
    (length,) = struct.unpack(">I", raw[:4])
    return json.loads(raw[4 : 4 + length]), raw[4 + length :]


def test_a_page_before_anything_is_told_that_it_waits():
    values, picture = told(Board())
    assert values["state"] == "WAITING"
    assert values["picture"] is None
    assert picture == b""


def test_a_page_is_told_what_was_found(tmp_path):
    board = board_at(tmp_path / "run", frames=3, clock=Clock())
    values, picture = told(board)
    assert values["state"] == "LIVE"
    assert picture[:2] == b"\xff\xd8"
    assert values["picture"]["frame"] == 2
    assert values["picture"]["particles"] == 5
    assert values["series"]["x"] == [0.0, 0.01, 0.02]
    assert values["series"]["number"] == [5, 5, 5]
    result = result_of(2)
    assert values["series"]["diameter_px"][-1] == pytest.approx(
        result.particles.equivalent_diameter_px.mean(), rel=1e-5
    )
    assert values["series"]["coverage"][-1] == pytest.approx(result.particles.area_px.sum() / (96 * 128), rel=1e-5)
    assert values["nm_per_px"] == 0.5
    assert values["counts"]["used"] == 3
    assert values["disk"] > 0
    assert sum(values["sizes"]["counts"]) == 5


def test_size_statistics_leave_out_what_the_edge_cuts(tmp_path):
    import numpy as np

    board, result = board_at(tmp_path / "run"), result_of(0)
    object.__setattr__(result.particles, "touches_edge", np.array([True, True, False, False, False]))
    board.on_result(result)
    values, _ = told(board)
    assert sum(values["sizes"]["counts"]) == 3
    assert values["series"]["diameter_px"] == [
        pytest.approx(result.particles.equivalent_diameter_px[2:].mean(), rel=1e-5)
    ]


def test_a_picture_is_not_told_twice(tmp_path):
    clock = Clock()
    board, seen = board_at(tmp_path / "run", clock=clock), Seen()
    board.on_result(result_of(0))
    assert told(board, seen)[1]
    assert told(board, seen)[1] == b""
    clock.now += 0.05
    board.on_result(result_of(1))
    assert told(board, seen)[0]["picture"]["frame"] == 1


def test_a_page_that_slept_is_told_the_newest_picture_and_all_of_the_curve(tmp_path):
    clock = Clock()
    board, seen = board_at(tmp_path / "run", clock=clock), Seen()
    for k in range(400):
        clock.now += 0.02
        board.on_result(result_of(k % 40))
        if k == 10:
            told(board, seen)
    values, _ = told(board, seen)
    assert board.taken == 400
    assert values["picture"]["frame"] == 399 % 40
    assert values["series"]["from"] == 0
    assert len(values["series"]["x"]) == 400


def test_a_paused_page_is_told_numbers_without_pictures(tmp_path):
    board, seen = board_at(tmp_path / "run", frames=2), Seen(picture=False)
    values, picture = told(board, seen)
    assert picture == b""
    assert values["counts"]["used"] == 2
    seen.picture = True
    assert told(board, seen)[1]


def test_copying_pixels_takes_a_small_share_of_the_time(tmp_path, monkeypatch):
    from insitu.live import board as module

    clock = Clock()
    board = board_at(tmp_path / "run", clock=clock)

    def slow(result, taken):
        clock.now += 0.001
        return take(result, taken)

    take = module.take
    monkeypatch.setattr(module, "take", slow)
    for k in range(400):  # a camera at 400 frames/s, a second long
        board.on_result(result_of(k % 40))
        clock.now += 0.0025
    assert 40 <= board.taken <= 75
    assert len(board._shots) <= 16
    assert told(board)[0]["series"]["x"][-1] >= 0


def test_an_event_shows_the_picture_nearest_to_it(tmp_path):
    clock = Clock()
    board = board_at(tmp_path / "run", clock=clock)
    for k in range(12):
        clock.now += 0.1
        board.on_result(result_of(k, events=[event_of(3)] if k == 11 else ()))
    (event,) = told(board)[0]["events"]
    assert (event["kind"], event["frame"], event["time_s"]) == ("coalescence", 3, pytest.approx(0.03))
    assert event["picture"]["frame"] == 3
    assert told(board)[0]["series"]["events"] == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]


def test_many_events_at_once_are_all_counted_and_only_some_pictured(tmp_path):
    board = board_at(tmp_path / "run")
    board.on_result(result_of(0, events=[event_of(0, "appearance")] * 500 + [event_of(0, "leaving")] * 3))
    values, _ = told(board)
    assert sum(values["series"]["events"]) == 503
    assert len(values["events"]) <= 48
    assert {e["kind"] for e in values["events"]} == {"appearance"}


def test_an_event_is_told_once(tmp_path):
    board, seen = board_at(tmp_path / "run"), Seen()
    board.on_result(result_of(0, events=[event_of(0)]))
    assert len(told(board, seen)[0]["events"]) == 1
    assert told(board, seen)[0]["events"] == []


def test_unusable_frames_show_as_gaps_not_as_zero(tmp_path):
    board = board_at(tmp_path / "run")
    board.on_result(result_of(0))
    board.on_result(result_of(1, status="bad"))
    values, _ = told(board)
    assert values["series"]["number"] == [5, None]
    assert values["series"]["diameter_px"][1] is None


def test_without_a_time_the_curves_run_over_frames(tmp_path):
    board = board_at(tmp_path / "run")
    for k in (10, 12):
        board.on_result(result_of(k, fps=None))
    values, _ = told(board)
    assert values["timed"] is False
    assert values["series"]["x"] == [10, 12]


def test_a_frame_without_its_time_does_not_go_back(tmp_path):
    board = board_at(tmp_path / "run")
    board.on_result(result_of(5))
    board.on_result(result_of(6, fps=None))
    assert told(board)[0]["series"]["x"] == [0.05, 0.05]


def test_it_stalls_lags_and_ends(tmp_path):
    clock = Clock()
    board = board_at(tmp_path / "run", frames=3, clock=clock)
    clock.now += 5
    assert told(board)[0]["state"] == "STALLED"
    board.on_result(result_of(3))
    board.on_progress(progress_of(4, lag_frames=70, lag_s=3.5))
    values, _ = told(board)
    assert values["state"] == "LAGGING"
    assert values["counts"]["incoming"] == 74
    board.end("DONE", "4 of 4 frames used")
    assert told(board)[0]["says"] == "4 of 4 frames used"


def test_the_next_movie_begins_anew_on_every_page(tmp_path):
    board, seen = board_at(tmp_path / "a", frames=3), Seen()
    told(board, seen)
    board.end("DONE", "")
    board.begin("n.tif", tmp_path / "b")
    values, picture = told(board, seen)
    assert values["state"] == "WAITING"
    assert values["series"]["x"] == []
    assert picture == b""
    board.on_result(result_of(0))
    assert told(board, seen)[0]["picture"]["frame"] == 0


def test_what_fails_for_the_page_never_reaches_the_run(tmp_path):
    board = board_at(tmp_path / "run", frames=1)
    board.on_result(None)
    board.on_result(result_of(1))
    board.on_progress(progress_of(2))
    values, _ = told(board)
    assert "stopped following" in values["says"]
    assert "the run goes on" in values["says"]


def test_a_run_folder_that_is_broken_or_gone_does_not_break_the_page(tmp_path):
    board = board_at(tmp_path / "run", frames=1)
    (tmp_path / "run" / "run.json").write_text("{")
    assert told(board)[0].get("nm_per_px") is None
    (tmp_path / "run" / "run.json").unlink()
    (tmp_path / "run").rmdir()
    assert told(board)[0]["disk"] > 0


def test_pages_may_look_while_the_run_goes_on(tmp_path):
    board = board_at(tmp_path / "run")
    messenger, failed, going = Messenger(board), [], threading.Event()

    def look():
        seen = Seen()
        while not going.is_set():
            try:
                messenger.message(seen)
            except Exception as error:
                failed.append(error)

    pages = [threading.Thread(target=look) for _ in range(3)]
    for page in pages:
        page.start()
    for k in range(150):
        board.on_result(result_of(k, events=[event_of(max(0, k - 8))] if k % 5 == 0 else ()))
        board.on_progress(progress_of(k + 1))
    going.set()
    for page in pages:
        page.join()
    assert failed == []
    assert board.broken == ""


class TestMarks:
    def test_a_mark_is_a_line_in_the_run_folder_and_an_event_on_the_page(self, tmp_path):
        board = board_at(tmp_path / "run", frames=4)
        mark = board.mark("valve\nopened \x1b[31m", 2)
        assert (mark["frame"], mark["time_s"], mark["note"]) == (2, 0.02, "valve opened [31m")
        board.mark("now", None)
        lines = [json.loads(line) for line in (tmp_path / "run" / "marks.jsonl").read_text().splitlines()]
        assert [(m["frame"], m["note"]) for m in lines] == [(2, "valve opened [31m"), (3, "now")]
        assert [e["kind"] for e in told(board)[0]["events"]] == ["mark", "mark"]

    @pytest.mark.parametrize("frame", [4, -1])
    def test_a_frame_that_was_not_shown_cannot_be_marked(self, tmp_path, frame):
        board = board_at(tmp_path / "run", frames=4)
        with pytest.raises(CommandError):
            board.mark("", frame)
        assert not (tmp_path / "run" / "marks.jsonl").exists()

    def test_nothing_can_be_marked_before_the_first_frame(self, tmp_path):
        with pytest.raises(CommandError):
            board_at(tmp_path / "run").mark("early", None)

    def test_a_mark_is_not_written_through_a_link(self, tmp_path):
        board = board_at(tmp_path / "run", frames=1)
        (tmp_path / "run" / "marks.jsonl").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(OSError, match="symbolic"):
            board.mark("x", None)
        assert not (tmp_path / "elsewhere").exists()

    def test_a_long_note_is_cut(self, tmp_path):
        assert len(board_at(tmp_path / "run", frames=1).mark("x" * 900, None)["note"]) == 500


def test_readings_of_sensors_are_told_once_and_again_to_a_page_of_the_next_movie(tmp_path):
    board, seen = board_at(tmp_path / "run", frames=2), Seen()
    assert "sensors" not in board.news(seen).facts
    board.sensors = readings = Readings()
    readings.tell(TEMPERATURE)
    assert board.news(seen).facts["sensors"] == (TEMPERATURE,)
    assert "sensors" not in board.news(seen).facts
    readings.tell(TEMPERATURE, PRESSURE, says="the log is gone")
    facts = board.news(seen).facts
    assert (facts["sensors"], facts["sensors_say"]) == ((TEMPERATURE, PRESSURE), "the log is gone")
    board.begin("next", tmp_path / "next")
    assert board.news(seen).facts["sensors"] == (TEMPERATURE, PRESSURE)
