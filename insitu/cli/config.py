"""``insitu config``: show the resolved settings, explain one, check a file."""

from __future__ import annotations

import json
from typing import Unpack

import click

from insitu.cli.parameters import Choices, chosen, debug_option, json_option, settings_options
from insitu.cli.verbs import Verb


@click.group(cls=Verb)
def config() -> None:
    """Show, explain and check settings."""


@config.command(short_help="Print the settings of a run, and where each comes from.")
@settings_options
@click.option("--changed", is_flag=True, help="Only what differs from base.")
@click.option("--explained", is_flag=True, help="With meaning and allowed values, as a file to edit.")
@click.option("--presets", "list_presets", is_flag=True, help="List the presets.")
@json_option
@debug_option
def show(
    *,
    changed: bool,
    explained: bool,
    list_presets: bool,
    as_json: bool,
    **options: Unpack[Choices],
) -> None:
    """Print the settings that a run with the same options would use, and where each value comes from."""
    from insitu.settings import base_toml, presets

    if list_presets:
        found = presets()
        click.echo(json.dumps(found) if as_json else "\n".join(f"{n:<16} {about}" for n, about in found.items()))
        return
    settings = chosen(options)
    keys = settings.changed() if changed else dict(settings.items())
    if as_json:
        shown = {key: {"value": value, "origin": settings.origin(key)} for key, value in keys.items()}
        click.echo(json.dumps(shown))
    elif changed:
        from insitu.settings.catalogue import to_toml

        click.echo("\n".join(f"{k} = {to_toml(v)}  # {settings.origin(k)}" for k, v in keys.items()) or "# as base")
    elif explained and not settings.origins:
        click.echo(base_toml(), nl=False)
    else:
        click.echo(settings.to_toml(explained=explained), nl=False)


@config.command(short_help="Say what a setting means, and what is allowed.")
@click.argument("key")
@debug_option
def explain(key: str) -> None:
    """Say what the setting KEY, or every setting of a stage, means, its default and what is allowed."""
    from insitu.settings import catalogue, find
    from insitu.settings.catalogue import to_toml

    settings = [s for s in catalogue().values() if s.stage == key] or [find(key)]
    for setting in settings:
        default = to_toml(setting.default)
        click.echo(setting.key)
        click.echo(f"  {setting.doc.text}")
        click.echo(f"  allowed   {setting.allowed}")
        click.echo(f"  default   {default}")
        click.echo(f"  change    --set {setting.key}={setting.doc.example or default}")


@config.command(short_help="Check a settings file, and print what it changes.")
@click.argument("file")
@debug_option
def check(file: str) -> None:
    """Check the settings FILE and print what it changes."""
    from insitu.settings import read_file
    from insitu.settings.catalogue import to_toml

    settings = read_file(file)
    changed = settings.changed()
    click.echo(f"{file} is valid; {len(changed)} of {len(settings.items())} settings differ from base")
    for key, value in changed.items():
        click.echo(f"  {key} = {to_toml(value)}  # {settings.origin(key)}")
