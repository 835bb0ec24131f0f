"""Two engines and one folder: the second is told who works there and touches nothing."""

from __future__ import annotations

import time

from benchmarks.soak.world import digest, run, write_movie


def test_the_second_engine_is_refused_and_the_first_not_disturbed(engines, tmp_path):
    movie = write_movie(tmp_path / "movie", frames=60)
    assert engines.call(run(movie, tmp_path / "whole"))[0] == 5
    watched = ("--until-idle", "8", "--no-live")
    from benchmarks.soak.world import Engines

    with Engines() as others:
        others.start(run(movie, tmp_path / "out", *watched, verb="watch"))
        deadline = time.monotonic() + 60
        while not (tmp_path / "out" / "commits.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        for more in ((), ("--overwrite",)):
            arguments = [a for a in run(movie, tmp_path / "out", *more) if not (more and a == "--resume")]
            code, said = engines.call(arguments)
            assert code == 2, said
            assert f"another engine is working in '{tmp_path / 'out'}' (process {others.pid})" in said
        code, said = others.wait()
        assert code == 5, said
    assert digest(tmp_path / "out") == digest(tmp_path / "whole")


def test_the_lock_of_an_engine_that_was_killed_is_taken_over_with_a_message(engines, tmp_path):
    movie = write_movie(tmp_path / "movie", frames=60)
    engines.start(run(movie, tmp_path / "out", unit=2))
    deadline = time.monotonic() + 60
    while not (tmp_path / "out" / "commits.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.001)
    killed = engines.pid
    engines.kill()
    assert engines.wait()[0] == -9
    assert (tmp_path / "out" / "lock").exists()
    code, said = engines.call(run(movie, tmp_path / "out", unit=2))
    assert code == 5, said
    assert f"took over the lock of process {killed}, which has ended" in said
