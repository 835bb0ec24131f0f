"""Tracking of real detections: ``python -m benchmarks.real_tracks [--samples FOLDER]``.

Dividing cells (as mergers when the movie runs backwards), TrackMate's own results, and voids in a heated foil whose
stage drifts. Writes ``benchmarks/results/real_tracks.md``; samples from ``$INSITU_SAMPLES`` or ``../shared/data``.
"""

from __future__ import annotations

import argparse
import json
import os
from itertools import pairwise
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd

from insitu.evaluate.events import score
from insitu.link import OptimalLinker, track_table
from insitu.options import LinkOptions

JUMP_PX = 25.0
JUMPS = 3
REACH_PX = 150.0
AGREE_PX = 5.0


def hela(folder: Path) -> list[str]:
    """Divisions of cells, forwards and backwards, at several search ranges."""
    table = pd.read_csv(folder / "hela_tracks_with_divisions.csv").rename(columns={"t": "frame"})
    last = int(table["frame"].max())
    rows = table.set_index("id")
    daughters = table.dropna(subset=["parent_id"]).groupby("parent_id")
    mothers = [(int(p), int(g["frame"].min())) for p, g in daughters if len(g) > 1]
    truth = pd.DataFrame([(f, rows.loc[p, "y"], rows.loc[p, "x"]) for p, f in mothers], columns=["frame", "y", "x"])
    lines = [
        "## Dividing cells, positions only",
        "",
        f"CTC Fluo-N2DL-HeLa, {last + 1} frames, {len(table)} positions, {len(truth)} divisions with both daughters.",
        "± 1 frame, daughter within 20 px of the mother's last place, memory 0. No edge of the sample is longer than",
        "20 px, so 20 px is its natural search range; with a larger one cells are linked that the sample leaves apart.",
        "The default settings look for drift; what the cells wander is not taken for one.",
        "",
        "| search range px | drift looked for | divisions P / R | backwards, as mergers P / R | largest confidence |",
        "| --- | --- | --- | --- | --- |",
    ]
    for reach, drift in ((16, 100), (18, 100), (20, 100), (20, 0), (22, 100), (25, 100)):
        cells, largest = [], 0.0
        for kind in ("splitting", "coalescence"):
            backwards = kind == "coalescence"
            t, true = table[["frame", "y", "x"]].copy(), truth.assign(kind=kind)
            if backwards:
                t["frame"], true["frame"] = last - t["frame"], last - true["frame"] + 1
            events = track_table(t, search_range_px=reach, memory_frames=0, drift_range_px=drift).events
            s = score(true, events, frames=1, distance_px=20)[kind]
            cells.append(f"{s.precision:.3f} / {s.recall:.3f} ({s.matched} of {s.truth}, {s.found - s.matched} false)")
            largest = max(largest, float(events["confidence"].max()))
        looked = "yes" if drift else "no"
        lines.append(f"| {reach} | {looked} | {' | '.join(cells)} | {largest:.2f} |")
    return lines


def hela_tracks(folder: Path) -> list[str]:
    """Score the identities as traccuracy and TrackEval do, where they are installed."""
    from insitu.errors import CommandError
    from insitu.evaluate import objects, tracks

    table = pd.read_csv(folder / "hela_tracks_with_divisions.csv").rename(
        columns={"t": "frame", "track_id": "particle"}
    )
    truth = table.assign(equivalent_diameter_px=2.0, touches_edge=False)
    linked = track_table(truth.drop(columns="particle"), search_range_px=20, memory_frames=0)
    matching = objects.match(truth, linked.particles, gate_px=0.5)
    try:
        s = tracks.score(truth, linked.particles, matching)
    except CommandError as error:
        return ["", f"Scores of identities: not made here ({error.message})."]
    kept = ("lnk", "chota", "complete_tracks", "edge_precision", "edge_recall", "hota", "idf1")
    values = s.as_dict()
    return [
        "",
        f"Identities at 20 px against the tracks of the sample (traccuracy {s.settings['traccuracy']}, TrackEval",
        f"{s.settings['trackeval']}): {', '.join(f'{name} {values[name]:.4f}' for name in kept)}.",
        "Here a mother lives on as one of her daughters, in the sample she ends: each division is one link more, and",
        "exchanges an identity.",
    ]


def edges_of(particles: pd.DataFrame, events: pd.DataFrame) -> dict[tuple[int, int], str]:
    """Return all links between spots (ids): along tracks, and over mergers and splittings."""
    found: dict[tuple[int, int], str] = {}
    tracks = {p: list(zip(t["frame"], t["id"], strict=True)) for p, t in particles.groupby("particle")}
    for spots in tracks.values():
        found |= {(int(a), int(b)): "link" for (_, a), (_, b) in pairwise(spots)}
    for e in events.itertuples():
        if e.kind not in {"coalescence", "splitting"}:
            continue
        for parent in e.parents:
            for child in e.children:
                if parent == child:
                    continue
                before = [i for f, i in tracks[parent] if f < e.frame]
                after = [i for f, i in tracks[child] if f >= e.frame]
                found[int(before[-1]), int(after[0])] = f"{e.kind} in frame {e.frame} (confidence {e.confidence:.2f})"
    return found


def trackmate(folder: Path) -> list[str]:
    """Compare with TrackMate's LAP tracker on its own detections, difference by difference."""
    lines = [
        "## TrackMate's results",
        "",
        "LAP tracker, 15 px, gaps of one frame; here: search range 15 px, memory 1, positions only. Mergers and",
        "splittings are always looked for here; by TrackMate where it is told to.",
        "",
        "| TrackMate looked for | spots | edges of TrackMate | the same here | missing here | more here |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    remarks: list[str] = []
    for name, told in (
        ("gap_closing", "gaps"),
        ("merging", "gaps, mergers"),
        ("splitting_merging", "gaps, mergers, splittings"),
    ):
        stem = folder / "trackmate_reference" / f"trackmate_tracks_with_{name}"
        spots = pd.read_csv(f"{stem}_spots.csv", index_col=0).rename(columns={"position_x": "x", "position_y": "y"})
        edges = pd.read_csv(f"{stem}_edges.csv", index_col=0)
        theirs = set(zip(edges["spot_source_id"].tolist(), edges["spot_target_id"].tolist(), strict=True))
        found = track_table(spots, search_range_px=15, memory_frames=1)
        ours = edges_of(found.particles, found.events)
        missing, more = sorted(theirs - set(ours)), sorted(set(ours) - theirs)
        same = len(theirs) - len(missing)
        lines.append(f"| {told} | {len(spots)} | {len(theirs)} | {same} | {len(missing)} | {len(more)} |")
        place = spots.set_index("id")
        for a, b in missing + more:
            way = float(np.hypot(*(place.loc[a, ["y", "x"]] - place.loc[b, ["y", "x"]])))
            where = f"frames {place.loc[a, 'frame']:.0f} → {place.loc[b, 'frame']:.0f}, {way:.1f} px"
            remarks.append(f"- {told}: {explained(ours.get((a, b)), told)} — spots {a} → {b}, {where}")
    return [*lines, "", "Every difference:", "", *(remarks or ["- none"])]


def explained(what: str | None, told: str) -> str:
    """Say why an edge is in one of the two only."""
    if what is None:
        return "only TrackMate has this edge; unexplained"
    kind = {"coalescence": "mergers", "splitting": "splittings"}.get(what.split()[0])
    if kind is None:
        return "a link that TrackMate does not make; unexplained"
    return f"{what}, which TrackMate was not told to look for" if kind not in told else f"{what}; unexplained"


def voids(folder: Path) -> list[np.ndarray]:
    """Return (n, 2) positions frame by frame; the lines of the file are in no order, the time stands in the names."""
    text = (folder / "insitu_tem_void_detections_Ni_600C_650C.jsonl").read_text(encoding="utf-8")
    lines = sorted((json.loads(line) for line in text.splitlines()), key=lambda v: v["mask-path"])
    return [np.array(v["positions"], float).reshape(-1, 2) for v in lines]


def registered(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the shift from a to b that most detections agree on, and how many do: exhaustive, then a median."""
    if not len(a) or not len(b):
        return np.zeros(2), 0
    shifts = (b[None] - a[:, None]).reshape(-1, 2)
    shifts = shifts[np.hypot(*shifts.T) <= REACH_PX]
    if not len(shifts):
        return np.zeros(2), 0
    agree = np.linalg.norm(shifts[:, None] - shifts, axis=2) <= AGREE_PX
    # Between equally good ones, the smaller shift.
    best = max(range(len(shifts)), key=lambda k: (int(agree[k].sum()), -float(np.hypot(*shifts[k]))))
    shift = np.median(shifts[agree[best]], axis=0)
    away = np.linalg.norm(a[:, None] + shift - b, axis=2)
    i = np.arange(len(a))
    j = away.argmin(axis=1)
    mutual = (away.argmin(axis=0)[j] == i) & (away[i, j] <= AGREE_PX)
    return (np.median(b[j[mutual]] - a[mutual], axis=0) if mutual.any() else shift), int(mutual.sum())


def linked(frames: list[np.ndarray]) -> tuple[set[tuple[int, int, int]], list[np.ndarray] | None, list[np.ndarray]]:
    """Return links between successive frames (frame, row, row), the drift if the linker tells it, and the ids."""
    linker = OptimalLinker(LinkOptions())
    ids, drift = [], []
    for k, positions in enumerate(frames):
        ids.append(linker.step(k, positions))
        if hasattr(linker, "drift"):
            drift.append(np.array(linker.drift, float))
    links = set()
    for k in range(1, len(ids)):
        _, a, b = np.intersect1d(ids[k - 1], ids[k], return_indices=True)
        links |= {(k, int(i), int(j)) for i, j in zip(a, b, strict=True)}
    return links, drift or None, ids


def void_stream(folder: Path) -> list[str]:
    """Drift against a registration, and three jumps of the stage put in."""
    frames = voids(folder)
    steps = [registered(a, b) for a, b in pairwise(frames)]
    shift = np.array([s for s, _ in steps])
    common = np.array([n for _, n in steps])
    fewest = np.array([min(len(a), len(b)) for a, b in pairwise(frames)])
    sure = (common >= 4) & (2 * common > fewest)
    links, drift, ids = linked(frames)
    _, lengths = np.unique(np.concatenate(ids), return_counts=True)
    size = np.hypot(*shift[sure].T)
    lines = [
        "## Voids in a heated foil (600, then 650 °C), positions only",
        "",
        f"{len(frames)} frames, {sum(map(len, frames))} detections, 0–{max(map(len, frames))} a frame, default options",
        f"(search range {LinkOptions().search_range_px:g} px, memory {LinkOptions().memory_frames}). The lines of the",
        "file are in no order; they are sorted by the time in the names of the frames.",
        "",
        f"- registration of the detections common to two frames (≥ 4, and more than half): {sure.sum()} of {len(sure)}",
        f"  steps; shift median {np.median(size):.2f} px, 99th percentile {np.percentile(size, 99):.1f} px, largest",
        f"  {size.max():.1f} px; {(size > LinkOptions().search_range_px).sum()} steps exceed the search range",
        f"- tracks: {len(lengths)}; longer than 100 frames: {(lengths > 100).sum()}; longest {lengths.max()}",
    ]
    over = [k for k in np.flatnonzero(sure) + 1 if np.hypot(*shift[k - 1]) > LinkOptions().search_range_px]
    kept = [held(frames, links, k, shift[k - 1]) for k in over]
    if kept:
        a, b = np.sum(kept, axis=0)
        lines.append(f"- links over these steps that the registration demands: {a} of {b} made")
    if drift is None:
        lines.append("- drift: the linker of this version does not estimate it; nothing to compare")
    else:
        ours = np.diff(np.array(drift), axis=0)
        error = np.hypot(*(ours - shift)[sure].T)
        within = 100 * (error <= 1).mean()
        lines.append(
            f"- drift of the linker against the registration, step by step: {within:.1f} % within 1 px, median error"
            f" {np.median(error):.2f} px, 95th percentile {np.percentile(error, 95):.2f} px,"
            f" {(error > 5).sum()} steps more than 5 px off"
        )
        lines += [f"  - {doubtful(frames, k, shift[k - 1], ours[k - 1])}" for k in np.flatnonzero(sure)[error > 1] + 1]
    return [*lines, *jumps(frames, links, sure, common, shift)]


def agreeing(a: np.ndarray, b: np.ndarray, shift: np.ndarray) -> int:
    """Return how many detections of both lie within 5 px of each other after the shift, one to one."""
    away = np.linalg.norm(a[:, None] + shift - b, axis=2)
    return int(((away <= AGREE_PX) & (away == away.min(axis=1)[:, None]) & (away == away.min(axis=0))).sum())


def doubtful(frames: list[np.ndarray], k: int, theirs: np.ndarray, ours: np.ndarray) -> str:
    """Word a step in which the two differ: the shifts (y, x), and how many detections agree with each."""
    a, b = frames[k - 1], frames[k]
    off = np.hypot(*(theirs - ours))
    one, other = (f"({s[0]:.1f}, {s[1]:.1f}) px for {agreeing(a, b, s)} detections" for s in (theirs, ours))
    return f"frame {k}, {len(a)} and {len(b)} detections, {off:.1f} px apart: registration {one}, linker {other}"


def held(frames: list[np.ndarray], links: set[tuple[int, int, int]], k: int, shift: np.ndarray) -> tuple[int, int]:
    """Return how many of the pairs are linked that the registered shift from frame k - 1 to k demands, of how many."""
    away = np.linalg.norm(frames[k - 1][:, None] + shift - frames[k], axis=2)
    i, j = np.nonzero((away <= AGREE_PX) & (away == away.min(axis=1)[:, None]) & (away == away.min(axis=0)))
    demanded = {(k, int(a), int(b)) for a, b in zip(i, j, strict=True)}
    return len(demanded & links), len(demanded)


def jumps(frames: list[np.ndarray], links: set, sure: np.ndarray, common: np.ndarray, shift: np.ndarray) -> list[str]:
    """Put three jumps in, where much is common and the stage was calm, and count what is still linked over them."""
    calm = np.flatnonzero(sure & (np.hypot(*shift.T) < 2) & (common >= 8)) + 1
    at = [int(calm[len(calm) * (q + 1) // (JUMPS + 1)]) for q in range(JUMPS)]
    moved, offset = [], np.zeros(2)
    rng = np.random.default_rng(0)
    for k, positions in enumerate(frames):
        if k in at:
            angle = rng.uniform(0, 2 * np.pi)
            offset = offset + JUMP_PX * np.array([np.sin(angle), np.cos(angle)])
        moved.append(positions + offset)
    after, _, _ = linked(moved)
    lines = []
    for k in at:
        before = {e for e in links if e[0] == k}
        lines.append(f"- jump of {JUMP_PX:g} px put in at frame {k}: {len(before & after)} of {len(before)} links held")
    elsewhere = {e for e in links if e[0] not in at}
    lines.append(f"- links elsewhere with the jumps: {len(elsewhere & after)} of {len(elsewhere)} as without")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=Path, default=Path(os.environ.get("INSITU_SAMPLES", "../shared/data")))
    folder = parser.parse_args().samples / "tracking"
    lines = ["# Real detections", "", "Made by `python -m benchmarks.real_tracks`.", ""]
    for part in (hela, hela_tracks, trackmate, void_stream):
        made = part(folder)
        print("\n".join([*made, ""]), flush=True)
        lines += [*made, ""]
    (Path(__file__).parent / "results" / "real_tracks.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
