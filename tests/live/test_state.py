from __future__ import annotations

import pytest

from insitu.live.state import Pace, Signs, state


def test_before_the_first_frame_it_waits():
    assert state(Signs(4.2)) == ("WAITING", "no frame has come yet, 4 s")
    assert state(Signs(200.0, opened=True)) == ("WAITING", "reading the first frames and loading the model, 3 min")


def test_it_is_live_while_results_come():
    assert state(Signs(0.1, started=True))[0] == "LIVE"
    assert state(Signs(0.1, started=True, lag_frames=0, lag_s=0.0))[0] == "LIVE"


def test_it_lags_a_second_behind_and_until_half_a_second():
    behind = {"quiet_s": 0.1, "started": True, "lag_frames": 50}
    assert state(Signs(**behind, lag_s=0.9))[0] == "LIVE"
    assert state(Signs(**behind, lag_s=1.1))[0] == "LAGGING"
    assert state(Signs(**behind, lag_s=0.9, lagged=True))[0] == "LAGGING"
    assert state(Signs(**behind, lag_s=0.4, lagged=True))[0] == "LIVE"


@pytest.mark.parametrize(
    ("lag", "says"),
    [
        (0, "no new frame from the camera for 4 s"),
        (7, "frames are there, but none was finished for 4 s"),
        (None, "no frame was finished for 4 s"),
    ],
)
def test_a_stall_says_whose_it_is(lag, says):
    assert state(Signs(4.0, started=True, lag_frames=lag, lag_s=9.0)) == ("STALLED", says)


def test_an_end_outlasts_every_other_sign():
    assert state(Signs(99.0, started=True, ended=("DONE", "all"))) == ("DONE", "all")


def test_a_slow_camera_does_not_stall_between_its_frames():
    pace = Pace()
    assert pace.limit_s == 2.0
    for k in range(5):
        pace.result(10.0 * k)
        assert state(Signs(9.9, started=k > 0, limit_s=pace.limit_s))[0] == ("LIVE" if k else "WAITING")
    assert pace.limit_s == 30.0


def test_what_was_slow_long_ago_is_forgotten():
    pace = Pace()
    pace.result(0.0)
    pace.result(50.0)
    for k in range(40):
        pace.result(50.0 + 0.01 * k)
    assert pace.limit_s == 2.0
