"""Every event that is safe is told to another program at least once, in order; a bad program harms nothing."""

from __future__ import annotations

import json
import sys
import time

import pytest
from store_cases import ABOUT, SETTINGS, World, info, tracks

from insitu.errors import CommandError
from insitu.hook import EventHook, telling
from insitu.options import StoreOptions
from insitu.results import open_run
from insitu.store.commit import RunFolder

FRAMES = 40


def writer(tmp_path):
    """Return a command that appends what it is told to a file, and the file."""
    script, told = tmp_path / "react.py", tmp_path / "told.jsonl"
    script.write_text(f"import sys; open({str(told)!r}, 'ab').write(sys.stdin.buffer.read())")
    return f"'{sys.executable}' '{script}'", told


def run(out, *, first=0, stop=FRAMES, resume=False, pause=0.0):
    """Write a run with some events, commit by commit."""
    opened = RunFolder.resume if resume else RunFolder.create
    options = StoreOptions(unit_frames=4, fsync=False, labels=False)
    folder, world = opened(info(out, frames=FRAMES), settings_text=SETTINGS, about=ABOUT, options=options), World()
    if resume:
        world.restore(folder.state)
    for k in range(folder.committed, stop):
        folder.add(world.result(k))
        if folder.due:
            folder.commit(world.state())
            time.sleep(pause)
    if stop == FRAMES:
        folder.commit(world.state())
        folder.finish(tracks(), events=world.last_events())
    else:
        folder.close()


def lines(told):
    return [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else []


def test_each_event_is_told_in_order_with_all_its_columns(tmp_path):
    command, told = writer(tmp_path)
    complaints = []
    with telling(command, tmp_path / "run", complaints.append):
        run(tmp_path / "run", pause=0.05)
    stored = open_run(tmp_path / "run").events.to_arrow().to_pylist()
    assert len(stored) > 5
    assert not complaints
    assert [line["event"] for line in lines(told)] == list(range(len(stored)))
    assert set(lines(told)[0]) == {"schema", "run", *stored[0]}
    assert lines(told)[0]["parents"] == stored[0]["parents"]
    assert lines(told)[0]["gap_px"] is None


def test_a_resumed_run_goes_on_where_telling_ended(tmp_path):
    command, told = writer(tmp_path)
    with telling(command, tmp_path / "run", pytest.fail):
        run(tmp_path / "run", stop=20)
    first = len(lines(told))
    assert first == open_run(tmp_path / "run").counts["events"] > 0
    (tmp_path / "run" / "events-told.json").write_text(json.dumps({"next_event": first - 1}))  # killed before the mark
    with telling(command, tmp_path / "run", pytest.fail, resume=True):
        run(tmp_path / "run", resume=True)
    told_again = lines(told)[first]
    assert told_again["event"] == first - 1
    told.write_text("".join(f"{json.dumps(line)}\n" for k, line in enumerate(lines(told)) if k != first))
    assert [line["event"] for line in lines(told)] == list(range(open_run(tmp_path / "run").counts["events"]))


def test_the_events_of_a_run_that_is_replaced_are_not_told(tmp_path):
    command, told = writer(tmp_path)
    run(tmp_path / "run")
    with telling(command, tmp_path / "run", pytest.fail):
        time.sleep(0.3)
    assert not lines(told)


@pytest.mark.parametrize(
    ("code", "says"), [("import sys; sys.exit(3)", "ended with 3"), ("import time; time.sleep(60)", "longer than")]
)
def test_a_command_that_fails_or_hangs_is_told_and_the_next_event_goes_on(code, says, tmp_path):
    (tmp_path / "bad.py").write_text(code)
    complaints = []
    hook = EventHook(f"{sys.executable} {tmp_path / 'bad.py'}", tmp_path / "run", complaints.append, timeout_s=0.5)
    hook.start()
    run(tmp_path / "run", stop=16)
    hook.finish()
    events = open_run(tmp_path / "run").counts["events"]
    assert len(complaints) == events > 0
    assert all(says in complaint for complaint in complaints)


def test_a_command_that_does_not_exist(tmp_path):
    complaints = []
    with telling(str(tmp_path / "nothing"), tmp_path / "run", complaints.append):
        run(tmp_path / "run", stop=16)
    assert "cannot be started" in complaints[0]


@pytest.mark.parametrize("command", ["", "  ", "say 'it"])
def test_wrong_commands(command, tmp_path):
    with pytest.raises(CommandError, match="on-event"):
        EventHook(command, tmp_path, print)
