"""``insitu evaluate``: a run against the truth, or models against labels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

import click

from insitu.cli.console import Console
from insitu.cli.parameters import debug_option, json_option, number_option
from insitu.errors import CommandError

if TYPE_CHECKING:
    from insitu.evaluate import Scores
    from insitu.evaluate.tracks import TrackScores

POLARITIES = ("auto", "labels", "dark", "bright")


class Options(TypedDict):
    """What the options of `evaluate` hold."""

    truth: str | None
    tracks: bool
    gate_px: float
    min_diameter_px: float
    event_frames: int
    event_distance_px: float
    images: str | None
    labels: str | None
    models: tuple[str, ...]
    out: str | None
    unknown: int | None
    threshold: float
    min_area_px: int
    split: bool
    polarity: Literal["auto", "labels", "dark", "bright"]
    device: str
    overwrite: bool


@click.command(short_help="score a run against the truth, or models on labelled images")
@click.argument("run", metavar="[RUN]", required=False)
@click.option("--truth", metavar="FOLDER", help="Of a run: folder that insitu simulate made, or its truth folder.")
@click.option("--tracks", is_flag=True, help="Also CTC, CHOTA, HOTA, IDF1 (needs traccuracy and TrackEval).")
@number_option("--gate-px", "Farthest a found particle may lie from the true one, or its radius.", "3")
@click.option("--min-diameter-px", type=click.FloatRange(min=0), default=0.0, help="Set smaller true particles aside.")
@click.option("--event-frames", type=click.IntRange(min=0), default=5, show_default=True, help="Tolerance of events.")
@number_option("--event-distance-px", "Farthest a found event may lie from the true one.", "15")
@click.option("--images", metavar="PATH", help="Images to judge models on: a movie, a folder, or a pattern.")
@click.option("--labels", metavar="PATH", help="Their label images, in the same order, or a run folder.")
@click.option("--model", "models", metavar="NAME|FILE", multiple=True, help="Model to judge; repeatable.")
@click.option("-o", "--out", metavar="OUT", help="Folder for tables, figures and a summary.")
@click.option(
    "--unknown", type=click.IntRange(1), metavar="VALUE", help="Label value of pixels that count for nothing."
)
@click.option(
    "--threshold", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="The fixed one, for all."
)
@click.option(
    "--min-area-px", type=click.IntRange(1), default=20, show_default=True, help="Leave smaller found ones out."
)
@click.option("--split", is_flag=True, help="Cut found particles apart that touch.")
@click.option("--polarity", type=click.Choice(POLARITIES), default="auto", show_default=True, help="Of the particles.")
@click.option("--device", metavar="DEVICE", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier evaluation.")
@json_option
@debug_option
def evaluate(*, run: str | None, as_json: bool, **options: Unpack[Options]) -> None:
    """Compare the run folder RUN with the truth of its simulation, or models with label images drawn by hand.

    RUN --truth FOLDER gives precision and recall of particles, links and events. --model NAME --images PATH --labels
    PATH -o OUT gives pixels at all thresholds, particles, sizes and edges: tables, figures, a summary.
    """
    console = Console(as_json=as_json)
    if options["images"] or options["labels"] or options["models"]:
        _images(console, run, options)
    elif run is None:
        raise CommandError("nothing to evaluate", "insitu evaluate RUN --truth FOLDER, or --model, --images, --labels")
    elif options["truth"] is None:
        raise CommandError("a run is compared with the truth of its simulation", "add --truth FOLDER")
    else:
        _run(console, run, options["truth"], options)


def _images(console: Console, run: str | None, options: Options) -> None:
    from insitu.cli.evaluated import Images, score_images
    from insitu.evaluate.masks import MaskOptions

    images, labels = options["images"], options["labels"]
    if run is not None or options["truth"]:
        raise CommandError("a run and labelled images are judged apart", "leave RUN and --truth out, or --images")
    if not images or not labels:
        missing = "--images" if labels else "--labels" if images else "--images and --labels"
        raise CommandError(f"models are judged on labelled images: {missing} is missing", f"add {missing} PATH")
    score_images(
        console,
        Images(
            images=images,
            labels=labels,
            models=options["models"] or ("default",),
            out=options["out"],
            unknown=options["unknown"],
            overwrite=options["overwrite"],
        ),
        MaskOptions(
            fixed=options["threshold"],
            min_area_px=options["min_area_px"],
            split=options["split"],
            polarity=options["polarity"],
            device=options["device"],
        ),
    )


def _run(console: Console, run: str, truth: str, options: Options) -> None:
    """Compare particles, links and events of the run folder RUN with the truth, and print precision and recall."""
    from insitu.evaluate import objects, read_truth, score
    from insitu.evaluate import tracks as whole_tracks
    from insitu.results import open_run

    if options["tracks"]:
        whole_tracks.require_programs()
    opened = open_run(run)
    folder = Path(truth)
    true, true_events = read_truth(folder / "truth" if (folder / "truth").is_dir() else folder)
    found = opened.particles.to_pandas()
    scores = score(
        true,
        found,
        true_events,
        opened.events.to_pandas(),
        gate_px=options["gate_px"],
        min_diameter_px=options["min_diameter_px"],
        event_frames=options["event_frames"],
        event_distance_px=options["event_distance_px"],
    )
    matching = objects.match(true, found, gate_px=options["gate_px"], min_diameter_px=options["min_diameter_px"])
    more = whole_tracks.score(true, found, matching) if options["tracks"] else None
    console.emit("scores", **scores.as_dict(), **({"tracks": more.as_dict()} if more else {}))
    console.result(in_words(scores, more))


def in_words(scores: Scores, tracks: TrackScores | None) -> str:
    """Return the scores as a table: precision, recall, F1 and what they count."""
    o, links = scores.objects, scores.links
    rows = [
        ("", "precision", "recall", "F1", ""),
        ("particles", *_three(o.precision, o.recall, o.f1), f"{o.truth} true, {o.false} false, {o.missed} missed"),
        ("links", *_three(links.precision, links.recall, links.f1), f"{links.truth} true, {links.switches} switches"),
    ]
    for kind, e in scores.events.items():
        about = f"{e.truth} true, {e.found - e.matched} false, {e.truth - e.matched} missed"
        rows.append((kind, *_three(e.precision, e.recall, e.f1), about))
    lines = [f"{a:<14}{b:>9}{c:>9}{d:>9}  {text}".rstrip() for a, b, c, d, text in rows]
    lines.append(f"{'diameter':<14}rms {o.radius_rms_percent:.2f} %, mean {o.radius_bias_percent:+.2f} %")
    lines.append(f"{'whole tracks':<14}{_number(links.whole_tracks)}")
    if tracks:
        named = {"TRA": tracks.tra, "DET": tracks.det, "LNK": tracks.lnk, "CHOTA": tracks.chota}
        named |= {"complete tracks": tracks.complete_tracks, "HOTA": tracks.hota, "IDF1": tracks.idf1}
        lines += [f"{name:<16}{_number(value)}" for name, value in named.items()]
    return "\n".join(lines)


def _three(*values: float) -> tuple[str, str, str]:
    precision, recall, f1 = (_number(v) for v in values)
    return precision, recall, f1


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4f}"
