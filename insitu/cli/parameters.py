"""Options that several verbs share, and the parameter types that answer a wrong value with the right form."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypedDict

import click

from insitu.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable

    from insitu.settings import Settings

FrameRange = tuple[int, int | None, int]


def frame_range(_context: click.Context, _option: click.Parameter, value: str | None) -> FrameRange | None:
    """Read ``a:b:step`` as Python slices it, without negative numbers: (start, stop or None, step).

    Raises
    ------
    CommandError
        It has another form, or selects no frame.
    """
    if value is None:
        return None
    found = re.fullmatch(r"(\d*):(\d*)(?::(\d*))?", value.strip())
    if found is None:
        raise CommandError(f"--frames {value} is not a:b:step", "write for example --frames 0:2000 or --frames ::10")
    start = int(found[1] or 0)
    stop = int(found[2]) if found[2] else None
    step = int(found[3]) if found[3] else 1
    if step == 0 or (stop is not None and stop <= start):
        raise CommandError(f"--frames {value} selects no frame", "start must lie below stop, and step be 1 or more")
    return start, stop, step


def positive(_context: click.Context, option: click.Parameter, value: str | None) -> float | None:
    """Read a number above zero, or refuse it with the option's name."""
    if value is None:
        return None
    name = option.opts[0]
    example = f"write for example {name} {400 if name in {'--fps', '--camera'} else 40 if name == '--dose' else 0.2}"
    try:
        number = float(value)
    except ValueError:
        raise CommandError(f"{name} {value} is not a number", example) from None
    if not 0 < number < float("inf"):
        raise CommandError(f"{name} {value} is not above zero", example)
    return number


def number_option(name: str, text: str, default: str | None = None) -> Callable[[Any], Any]:
    """Return an option that takes a number above zero."""
    return click.option(name, metavar="NUMBER", callback=positive, default=default, help=text)


def debug_option(command: Any) -> Any:  # noqa: ANN401 - a click decorator
    """Add ``--debug``, which `failures.guarded` reads from the command line itself."""
    return click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")(command)


def json_option(command: Any) -> Any:  # noqa: ANN401 - a click decorator
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout.")(command)


def quiet_option(command: Any) -> Any:  # noqa: ANN401 - a click decorator
    """Add ``--quiet``."""
    return click.option("--quiet", is_flag=True, help="Nothing on stderr but errors.")(command)


def settings_options(command: Any) -> Any:  # noqa: ANN401 - a click decorator
    """Add the options from which `chosen` makes the settings of a run."""
    options: list[Callable[[Any], Any]] = [
        click.option("--preset", metavar="NAME", help="Start from a preset (insitu config show --presets)."),
        click.option("--config", metavar="FILE", help="Settings in TOML, laid over the preset."),
        click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Change one setting; repeatable."),
        click.option("--model", metavar="NAME|FILE", help="Model to segment with (insitu models list)."),
        number_option("--nm-per-px", "Pixel size in nm, where the file does not know it."),
        number_option("--fps", "Frames per second, where the file does not know it."),
        click.option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N."),
        click.option("--on-bad", type=click.Choice(["skip", "stop"]), help="What to do with an unusable frame."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


class Choices(TypedDict):
    """What the options of `settings_options` hold."""

    preset: str | None
    config: str | None
    overrides: tuple[str, ...]
    model: str | None
    nm_per_px: float | None
    fps: float | None
    device: str | None
    on_bad: str | None


def chosen(choices: Choices) -> Settings:
    """Return the settings that the options of `settings_options` ask for."""
    from insitu.settings import load

    own = {
        "segment.model": (choices["model"], "--model"),
        "calibration.nm_per_px": (choices["nm_per_px"], "--nm-per-px"),
        "calibration.fps": (choices["fps"], "--fps"),
        "segment.device": (choices["device"], "--device"),
        "read.on_bad": (choices["on_bad"], "--on-bad"),
    }
    given = {key: pair for key, pair in own.items() if pair[0] is not None}
    return load(preset=choices["preset"], config=choices["config"], overrides=choices["overrides"], given=given)
