"""``--log``: the log of the sensors beside a run."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from insitu.errors import CommandError, InsituError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from insitu.cli.live import Page
    from insitu.environment import Following, Sensors
    from insitu.settings import Settings
    from insitu.types import Reader


def _offset(_context: click.Context, _option: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise CommandError(f"--log-offset {value} is not a number of seconds", "write for example --log-offset 12.5")
    return number


def log_options(command: Any) -> Any:  # noqa: ANN401 - a click decorator
    """Add ``--log`` and ``--log-offset``."""
    options: list[Callable[[Any], Any]] = [
        click.option("--log", metavar="FILE", help="Log of the sensors (Protochips, DENS, CSV), joined by its times."),
        click.option(
            "--log-offset", metavar="S", callback=_offset, help="Frame 0 began S seconds after the zero of the log."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


class Beside:
    """The log beside a run, or nothing where none is given.

    Parameters
    ----------
    sensors : Sensors, optional
    following : Following, optional
        Where somebody looks on.
    """

    def __init__(self, sensors: Sensors | None = None, following: Following | None = None) -> None:
        self._sensors, self._following = sensors, following

    @property
    def given(self) -> bool:
        """Whether there is a log."""
        return self._sensors is not None

    @property
    def by_offset(self) -> bool:
        """Whether one movie alone can be meant."""
        return self._sensors is not None and self._sensors.offset_s is not None

    def begin(self, reader: Reader, settings: Settings) -> None:
        """Refuse a log that cannot be laid beside the movie; see `insitu.environment.Sensors.check`."""
        if self._sensors is None:
            return
        from insitu.read import calibrated

        given = settings.calibration
        known = calibrated(reader.info, given.nm_per_px, given.fps)
        stamp = reader.header(0).timestamp_utc
        self._sensors.check(timed=known.s_per_frame is not None, first_utc=stamp, source=reader.info.path)
        if self._following is not None:
            self._following.begin(stamp)

    def join(self, out: Path) -> list[str]:
        """Write the readings into a run, whose frames are safe by now; return what a user should know."""
        return [] if self._sensors is None else self._sensors.join(out)

    def join_what_there_is(self, out: Path) -> list[str]:
        """As `join` for a run that was interrupted: an error is a remark, since ``--resume`` joins again."""
        try:
            return self.join(out)
        except InsituError as error:
            return [error.message]


@contextmanager
def beside(log: str | None, offset_s: float | None, page: Page | None, *, growing: bool = False) -> Iterator[Beside]:
    """Read a log while the block lasts, for the page too.

    Raises
    ------
    CommandError
        An offset without a log.
    InputError
        The log is missing or cannot be read.
    """
    if log is None:
        if offset_s is not None:
            raise CommandError("--log-offset is of a log", "name it: --log sensors.csv")
        yield Beside()
        return
    from insitu.environment import Following, sensors_of

    if not log:
        raise CommandError("an empty text is no path", "check the variables of your shell: one of them may be empty")
    sensors = sensors_of(log, offset_s, growing=growing)
    if sensors is None or page is None or not page.shown:
        yield Beside(sensors)
        return
    with Following(sensors) as following:
        page.follow(following)
        yield Beside(sensors, following)
