"""``insitu evaluate``: a run against the truth."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from insitu.cli.console import Console
from insitu.cli.parameters import debug_option, json_option, number_option

if TYPE_CHECKING:
    from insitu.evaluate import Scores
    from insitu.evaluate.tracks import TrackScores


@click.command(short_help="score a run against the truth")
@click.argument("run", metavar="RUN")
@click.option("--truth", metavar="FOLDER", required=True, help="Folder that insitu simulate made, or its truth folder.")
@click.option("--tracks", is_flag=True, help="Also CTC, CHOTA, HOTA, IDF1 (needs traccuracy and TrackEval).")
@number_option("--gate-px", "Farthest a found particle may lie from the true one, or its radius.", "3")
@click.option("--min-diameter-px", type=click.FloatRange(min=0), default=0.0, help="Set smaller true particles aside.")
@click.option("--event-frames", type=click.IntRange(min=0), default=5, show_default=True, help="Tolerance of events.")
@number_option("--event-distance-px", "Farthest a found event may lie from the true one.", "15")
@json_option
@debug_option
def evaluate(
    *,
    run: str,
    truth: str,
    tracks: bool,
    gate_px: float,
    min_diameter_px: float,
    event_frames: int,
    event_distance_px: float,
    as_json: bool,
) -> None:
    """Compare particles, links and events of the run folder RUN with the truth, and print precision and recall."""
    from insitu.evaluate import objects, read_truth, score
    from insitu.evaluate import tracks as whole_tracks
    from insitu.results import open_run

    console = Console(as_json=as_json)
    if tracks:
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
        gate_px=gate_px,
        min_diameter_px=min_diameter_px,
        event_frames=event_frames,
        event_distance_px=event_distance_px,
    )
    matching = objects.match(true, found, gate_px=gate_px, min_diameter_px=min_diameter_px)
    more = whole_tracks.score(true, found, matching) if tracks else None
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
