"""``insitu run --profile``: what each stage cost, how busy its threads were, and which one limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_STAGES = {
    "reader": ("read",),
    "lanes": ("prepare", "segment", "measure"),
    "in order": ("link", "store"),
}
_ADVICE = {
    "reader": "the source is slower than the analysis: copy the movie to a faster disk, or read a format without "
    "compression",
    "lanes": "more cores or a GPU make it faster; so do a smaller model (segment.model), prepare.bin = 2, and, for a "
    "look only, segment.preview = 4",
    "in order": "linking and writing are done frame by frame: a faster disk, store.labels = false, or fewer false "
    "particles (measure.min_area_px) help",
}


class Limit(NamedTuple):
    """The threads that were busiest, the stage that took most of their time, and the share of the run."""

    threads: str
    stage: str
    busy: float


def limit(metrics: Mapping[str, Any]) -> Limit | None:
    """Return what limits a run, from the metrics in its ``run.json``; None where no frame was analysed here."""
    seconds, stages = metrics.get("running_s") or 0.0, metrics.get("stages") or {}
    shares = {
        threads: sum(stages.get(name, {}).get("wall_s", 0.0) for name in names) / (seconds * _width(threads, metrics))
        for threads, names in _STAGES.items()
        if seconds
    }
    if not any(shares.values()):
        return None
    threads = max(shares, key=shares.__getitem__)
    stage = max(_STAGES[threads], key=lambda name: stages.get(name, {}).get("wall_s", 0.0))
    return Limit(threads, stage, shares[threads])


def _width(threads: str, metrics: Mapping[str, Any]) -> int:
    return int(metrics.get("lanes") or 1) if threads == "lanes" else 1


def table(metrics: Mapping[str, Any]) -> list[str]:
    """Return the lines that `--profile` prints."""
    found = limit(metrics)
    frames = metrics.get("frames_analysed") or 0
    if found is None or not frames:
        return ["profile: no frame was analysed"]
    lines = [f"profile: {frames} frames, {metrics['frames_per_s']} frames/s, {metrics['rss_MB']:.0f} MB"]
    for threads, names in _STAGES.items():
        width = _width(threads, metrics)
        for name in names:
            spent = metrics["stages"].get(name, {"wall_s": 0.0, "cpu_s": 0.0})
            share = spent["wall_s"] / (metrics["running_s"] * width)
            where = f"{width} {threads}" if threads == "lanes" else threads
            lines.append(
                f"  {name:8} {1e3 * spent['cpu_s'] / frames:9.2f} ms CPU {1e3 * spent['wall_s'] / frames:9.2f} ms "
                f"a frame · {where}, busy {share:4.0%}"
            )
    lines += [f"  {name}: {depth['mean']} on average" for name, depth in (metrics.get("queues") or {}).items()]
    return [
        *lines,
        f"limits: {found.stage} ({found.threads} busy {found.busy:.0%} of the time); {_ADVICE[found.threads]}",
    ]
