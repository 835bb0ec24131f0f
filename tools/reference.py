"""Reference pages written from the code: every command, every setting, every table of the statistics.

python -m tools.reference FOLDER    # the documentation site does this before each build
"""

from __future__ import annotations

import sys
from importlib import import_module
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING

import click

from insitu.cli.verbs import VERBS
from insitu.coarsening import columns as statistics
from insitu.settings.catalogue import catalogue, to_toml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from insitu.settings.catalogue import Setting

_COMMANDS = """# Commands

stdout carries results, stderr progress and errors; `--json` prints one object a line. Exit codes: 0 done · 1 a bug ·
2 wrong command or setting · 3 input unreadable · 4 calibration missing where it is needed, or implausible · 5 done, but
some frames were bad or missing · 6 disk or memory exhausted · 130, 143 interrupted, results valid so far.
"""
_SETTINGS = """# Settings

A setting is changed with `--set key=value`, in a TOML file given with `--config`, or in Python with
`settings={"key": value}`. The settings of a run are kept in its `settings.toml`, which `--config` takes.
"""
_STATISTICS = """# Tables of the statistics

`insitu coarsening RUN` writes these, each as parquet and csv. Names carry the unit: `{length}` is nm in a calibrated
run, otherwise px; `{time}` s or frame; `{area}` um2 (µm²) or mpx (10⁶ px²). A value that cannot be computed is absent
and told in `summary.json` under `not_computed`.
"""


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every verb, and every verb of a verb, by its full name."""
    for name, (target, _) in VERBS.items():
        module, _, attribute = target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        yield name, command
        if isinstance(command, click.Group):
            for inner, member in command.commands.items():
                yield f"{name} {inner}", member


def commands_page() -> str:
    """Return the page of all commands."""
    return "\n".join([_COMMANDS, *(_command(name, command) for name, command in commands())])


def _command(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=f"insitu {name}")
    usage = " ".join([f"insitu {name}", *command.collect_usage_pieces(context)])
    lines = [
        f"## insitu {name}",
        "",
        f"    {usage}",
        "",
        _prose(cleandoc(command.help or command.short_help or "")),
        "",
    ]
    options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
    if options:
        lines += ["| option | meaning |", "| --- | --- |"]
        lines += [f"| `{_spelled(option, context)}` | {_cell(_meaning(option))} |" for option in options]
    return "\n".join(lines) + "\n"


def _spelled(option: click.Option, context: click.Context) -> str:
    names = ", ".join(sorted(option.opts, key=len))
    value = "" if option.is_flag else f" {option.make_metavar(context)}"
    return f"{names}{value}".replace("|", "\\|")


def _meaning(option: click.Option) -> str:
    shown = option.show_default and option.default is not None
    return (option.help or "") + (f" [default: {option.default}]" if shown else "")


def settings_page() -> str:
    """Return the page of all settings, a section a stage."""
    parts = [_SETTINGS]
    stage = ""
    for setting in catalogue().values():
        if setting.stage != stage:
            stage = setting.stage
            parts.append(f"\n## {stage}\n\n| setting | default | allowed | meaning |\n| --- | --- | --- | --- |")
        parts.append(_setting(setting))
    return "\n".join(parts) + "\n"


def _setting(setting: Setting) -> str:
    cells = (f"`{setting.key}`", f"`{to_toml(setting.default)}`", setting.allowed, setting.doc.text)
    return f"| {' | '.join(_cell(c) for c in cells)} |"


def statistics_page() -> str:
    """Return the page of the tables that the statistics write."""
    parts = [_STATISTICS]
    for name, table in statistics.TABLES.items():
        parts += [f"\n## {name}\n", "| column | type | unit | meaning |", "| --- | --- | --- | --- |"]
        for c in table:
            meaning = _cell(c.meaning) + (" (may be empty)" if c.nullable else "")
            parts.append(f"| `{c.name}` | {c.dtype} | {_cell(c.unit) or '–'} | {meaning} |")
    return "\n".join(parts) + "\n"


def _cell(text: str) -> str:
    """Return a text that stays in its cell."""
    return (
        " ".join(text.split()).replace("|", "\\|")
        if "`" in text
        else _prose(" ".join(text.split())).replace("|", "\\|")
    )


def _prose(text: str) -> str:
    """Return a text whose signs mean nothing to Markdown."""
    return text.replace("*", "\\*").replace("<", "&lt;").replace("\b\n", "").rstrip()


PAGES = {"commands.md": commands_page, "settings.md": settings_page, "statistics_tables.md": statistics_page}


def write(folder: Path) -> None:
    """Write all pages into `folder`; what is the same already is left alone, so that it need not be built again."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        path, text = folder / name, page()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
