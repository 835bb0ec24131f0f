"""Files as they arrive, in any order, and the timeline they settle into, in one. No file is touched here."""

from __future__ import annotations

import bisect
import heapq
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from insitu.read.files import shown
from insitu.read.folder import IMAGE_KINDS, one_kind
from insitu.read.timeline import believable
from insitu.read.watch.order import Order, Place, predicted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from insitu.read.watch.patience import Patience

_ENOUGH_NAMES = 8  # to believe that numbers rise by more than one


class Arrivals:
    """The timeline of a folder that is being filled.

    Attributes
    ----------
    names : list of (str or None)
        The files that are settled, in order; None where a number is missing.
    numbers : list of int
        Their numbers.
    late : list of str
        Files that came after their place was given up; they are in no result.
    remarks : deque of (str, str)
        Where something is odd, and what; whoever wants them takes them away, from any thread.
    """

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._order: Order | None = None
        self._kind = ""
        self._early: list[str] = []
        self._began = 0.0
        self._queue: list[Place] = []
        self._pending: dict[Place, tuple[Place, str]] = {}
        self._last: Place | None = None
        self._gap: tuple[Place, float] | None = None
        self._step_known = False
        self._known: set[str] = set()
        self._in_group = self._in_group_before = 0
        self.names: list[str | None] = []
        self.numbers: list[int] = []
        self.late: list[str] = []
        self.remarks: deque[tuple[str, str]] = deque()

    @property
    def waiting(self) -> int:
        """Files that are there and not settled."""
        return len(self._queue) + len(self._early)

    def go_on(self, names: Sequence[str | None], numbers: Sequence[int]) -> None:
        """Begin after frames that an earlier run has settled."""
        self.names, self.numbers = list(names), list(numbers)
        self._known = {name for name in names if name is not None}

    def arrive(self, name: str, now: float) -> None:
        """Take a new file, seen at `now` (s)."""
        if self._order is not None:
            self._put(name)
            return
        self._began = self._began if self._early else now
        self._early.append(name)

    def next(self, now: float, *, force: bool = False) -> str | None:
        """Return the file whose turn it is; None where it is not there yet or one before it is still waited for.

        Numbers that have been waited for long enough are settled as missing on the way; with `force` all are.
        """
        if self._order is None and not self._learn(now, force=force):
            return None
        if not self._queue:
            return None
        place, name = self._pending[self._queue[0]]
        if self._last is None or self._order is None:
            return name
        if not (self._order.nested or self._step_known or self._know_step(place, now, force=force)):
            return None
        same = self._order.key(place).group == self._order.key(self._last).group
        missing = range(self._order.next_after(self._last), place.number, self._order.step) if same else range(0)
        if same and not missing:
            return name
        if not same and self._in_group >= self._in_group_before > 0:
            return name  # as many as in the group before: nothing is missing at its end
        if not (force or self._waited(place, now)):
            return None
        if len(missing) > believable(len(self.names)):
            self.remarks.append((shown(name), f"numbers jump by {len(missing)}: gaps are not counted"))
            return name
        for number in missing:
            self.names.append(None)
            self.numbers.append(number)
        self._last = Place(place.group, missing[-1]) if missing else self._last
        return name

    def settle(self) -> None:
        """Give the file whose turn it is its place in the timeline."""
        place, name = self._take()
        if self._last is not None and place.group != self._last.group:
            self._in_group_before, self._in_group = self._in_group, 0
        self._in_group += 1
        self._last = place
        self.names.append(name)
        self.numbers.append(place.number)

    def drop(self) -> None:
        """Forget the file whose turn it is: it has vanished."""
        self._take()

    def expected(self) -> str:
        """Return the name of the file that comes next if nothing begins anew; empty where that cannot be told."""
        if self._order is None or self._order.shape is None or self._queue or not self.names:
            return ""
        last = self.names[-1]
        return predicted(last, self._order.column, self._order.step) if last is not None else ""

    def _know_step(self, place: Place, now: float, *, force: bool) -> bool:
        """Find the distance between successive numbers; one above 1 is believed after some frames, or some time."""
        assert self._order is not None
        known = self.numbers + [p.number for p, _ in self._pending.values()]
        self._order.see_step(known)
        patient = self._waited(place, now, times=10.0)
        self._step_known = self._order.step == 1 or len(known) >= _ENOUGH_NAMES or force or patient
        return self._step_known

    def _learn(self, now: float, *, force: bool) -> bool:
        """Find the order once enough names are there: the first frame may not be the first to arrive."""
        if not (self._early or self._known):
            return False
        waited = now - self._began >= self._patience.reorder_s
        if not (force or waited or self._known or len(self._early) >= self._patience.reorder_frames):
            return False
        names, note = one_kind([*self._known, *(n for n in self._early if n not in self._known)])
        order = Order(names)
        self._order, self._kind = order, IMAGE_KINDS[Path(names[0]).suffix.lower()]
        if note:
            self.remarks.append(("", note[0]))
        last = next((n for n in reversed(self.names) if n is not None), None)
        place = None if last is None else order.place(last)
        self._last = None if place is None else Place(place.group, self.numbers[-1])
        for name in names:
            if name not in self._known:
                self._put(name)
        self._early.clear()
        self._known.clear()
        return True

    def _put(self, name: str) -> None:
        """Queue a file, or say why it has no place."""
        order = self._order
        assert order is not None
        place = order.place(name) if IMAGE_KINDS[Path(name).suffix.lower()] == self._kind else None
        if place is None:
            self.remarks.append((shown(name), "not of the kind of the other files, or without a number: not used"))
            return
        before = self._last or (self._pending[self._queue[0]][0] if self._queue else None)
        if before is not None and order.begins_again(before, place, taken=self._is_taken(place, before)):
            order.nest()
            self._pending = {order.key(p): (p, n) for p, n in self._pending.values()}
            self._queue = sorted(self._pending)
        key = order.key(place)
        if key in self._pending:
            other = shown(self._pending[key][1])
            self.remarks.append((shown(name), f"has the same number as '{other}': not used"))
        elif self._last is not None and (key <= order.key(self._last) or self._off_step(place)):
            self.late.append(name)
            self.remarks.append((shown(name), "came late: its place was given up; --resume --from-late takes it in"))
        else:
            self._pending[key] = (place, name)
            heapq.heappush(self._queue, key)

    def _off_step(self, place: Place) -> bool:
        order, last = self._order, self._last
        assert order is not None
        assert last is not None
        return self._step_known and order.step > 1 and bool((place.number - last.number) % order.step)

    def _is_taken(self, place: Place, before: Place) -> bool:
        """Whether a file of another group has the same number (while numbers are thought to count through)."""
        waiting = self._pending.get(Place((), place.number))
        if waiting is not None:
            return waiting[0].group != place.group
        if place.group == before.group:
            return False  # what was settled with this number may be of the same group: a second name for it
        k = bisect.bisect_left(self.numbers, place.number)
        return k < len(self.numbers) and self.numbers[k] == place.number and self.names[k] is not None

    def _take(self) -> tuple[Place, str]:
        self._gap = None
        return self._pending.pop(heapq.heappop(self._queue))

    def _waited(self, place: Place, now: float, times: float = 1.0) -> bool:
        """Whether the numbers before `place` were waited for long enough."""
        if self._gap is None or self._gap[0] != place:
            self._gap = (place, now)
            return False
        return (
            now - self._gap[1] >= times * self._patience.reorder_s or len(self._queue) >= self._patience.reorder_frames
        )
