from __future__ import annotations

import numpy as np
import pytest

from insitu import figures
from insitu.figures import Trace, Units
from insitu.figures.timelines import window_means

NM = Units("nm", "s", "um2")


def lines(axes):
    return [line for line in axes.lines if len(line.get_xdata()) > 2]


def words(figure):
    import io

    held = io.StringIO()
    figure.savefig(held, format="svg")
    return held.getvalue()


def table(n=30, rate=2.0, start=2.0):
    time = np.linspace(0.5, 10, n)
    radius = (start**3 + rate * (time - time[0])) ** (1 / 3)
    density = 1000 / radius**3
    kinetics = {
        "time_s": time,
        "mean_radius_nm": radius,
        "mean_radius_nm_low": radius - 0.1,
        "mean_radius_nm_high": radius + 0.1,
        "number_density_per_um2": density,
        "number_density_per_um2_low": 0.9 * density,
        "number_density_per_um2_high": 1.1 * density,
    }
    fits = {
        "quantity": ["mean_radius", "mean_radius", "critical_radius"],
        "model": ["n2", "n3", "n3"],
        "n": [2.0, 3.0, 3.0],
        "K": [1.0, rate, 9.0],
        "r0_nm": [start, start, 1.0],
        "decided": [False, True, True],
    }
    return kinetics, fits


def test_kinetics_shows_points_band_and_the_fitted_laws():
    kinetics, fits = table()
    drawn = figures.kinetics(kinetics, fits, NM)
    left, right = drawn.figure.axes
    assert left.get_ylabel() == "mean radius (nm)"
    assert right.get_ylabel() == "particles (1/µm²)"
    assert left.get_xlabel() == "time (s)"
    by_name = {line.get_label(): line for line in left.lines}
    assert {"n = 2", "n = 3"} <= set(by_name)
    law, measured = by_name["n = 3"], left.lines[0]
    at = np.interp(measured.get_xdata(), law.get_xdata(), law.get_ydata())
    assert np.allclose(at, measured.get_ydata(), rtol=1e-3)
    assert by_name["n = 2"].get_color() == "#c9ced4"
    band = left.collections[0].get_datalim(left.transData)
    assert band.y0 == pytest.approx(1.9)
    assert drawn.table["mean_radius_nm"] is kinetics["mean_radius_nm"]


def test_kinetics_without_fits_intervals_or_calibration():
    kinetics, _ = table()
    bare = {k.replace("nm", "px").replace("um2", "mpx").replace("time_s", "time_frame"): v for k, v in kinetics.items()}
    bare["mean_radius_px_low"] = [None] * 30
    bare["mean_radius_px"] = np.where(np.arange(30) == 4, np.nan, bare["mean_radius_px"])
    drawn = figures.kinetics(bare, {}, Units())
    assert drawn.figure.axes[0].get_ylabel() == "mean radius (px)"
    assert drawn.figure.axes[0].get_xlabel() == "frame"
    assert "nan" not in words(drawn.figure).lower()


def test_sensors_stand_below_on_the_movies_time():
    kinetics, fits = table()
    time = np.linspace(-5, 30, 200)
    traces = [Trace("temperature", "°C", time, 20 + time), Trace("gas", "", time, np.where(time > 3, np.nan, 1.0))]
    drawn = figures.kinetics(kinetics, fits, NM, traces)
    top, below, last = drawn.figure.axes[0], drawn.figure.axes[2], drawn.figure.axes[4]
    assert below.get_ylabel() == "temperature\n(°C)"
    assert last.get_ylabel() == "gas"
    assert last.get_xlabel() == "time (s)"
    assert top.get_xlim() == below.get_xlim() == last.get_xlim()
    assert top.get_xlim() == (pytest.approx(0.5 - 0.285), pytest.approx(10.285))
    assert below.lines[0].get_ydata().max() < 31


def test_counts_draws_every_frame_and_a_mean_of_windows():
    time = np.arange(100) * 0.1
    rows = {"frame": np.arange(100), "time_s": time, "n_particles": 100 - np.arange(100), "mean_radius_nm": time + 1}
    rows["mean_radius_nm"] = np.where(np.arange(100) % 10 == 0, np.nan, rows["mean_radius_nm"])
    left, right = figures.counts(rows, NM).figure.axes
    assert len(left.lines[0].get_xdata()) == 100
    assert len(left.lines[1].get_xdata()) == 20
    assert np.isfinite(left.lines[1].get_ydata()).all()
    assert right.get_ylim()[0] == 0


def testwindow_means_keep_every_row():
    time = np.arange(7.0)
    middle, mean = window_means(time, time**2, 3)
    assert middle.tolist() == [1, 3.5, 5.5]
    assert mean[0] == pytest.approx(5 / 3)
    assert window_means(np.zeros(0), np.zeros(0))[0].size == 0


def test_events_count_up_at_their_times():
    drawn = figures.events_so_far({"coalescence": np.array([3.0, 1.0, 1.0]), "lost": np.array([2.0])}, (0.0, 4.0), NM)
    line = drawn.figure.axes[0].lines[0]
    assert line.get_label() == "coalescence (3)"
    assert line.get_xdata().tolist() == [0, 1, 1, 3, 4]
    assert line.get_ydata().tolist() == [0, 1, 2, 3, 3]
    assert drawn.table["time_s"] == [1.0, 1.0, 2.0, 3.0]


def test_sensor_traces_have_a_row_a_value():
    drawn = figures.traces([Trace("T", "K", np.array([0.0, 1.0]), np.array([3.0, np.nan]))], NM)
    assert drawn.table["value"][0] == 3.0
    assert drawn.table["sensor"] == ["T", "T"]
    assert drawn.figure.axes[0].get_ylabel() == "T\n(K)"


def test_runs_are_compared_from_their_own_beginnings():
    a = {"frame": [0, 1, 2], "time_s": [0.0, 1.0, 2.0], "n_particles": [10, 8, 4], "mean_radius_nm": [1.0, 2.0, 3.0]}
    b = a | {"n_particles": [0, 0, 0], "mean_radius_nm": [np.nan] * 3}
    drawn = figures.compared([("_one $x$", a), ("two", b)], NM)
    left, right = drawn.figure.axes
    assert len(left.lines) == len(right.lines) == 1
    assert right.lines[0].get_ydata().tolist() == [1.0, 0.8, 0.4]
    assert "_one $x$" in words(drawn.figure)
    assert len(drawn.table["run"]) == 6
