"""Scores of whole tracks as other programs compute them: traccuracy (CTC, LNK, CHOTA) and TrackEval (HOTA, IDF1).

Both see exactly the positions that `objects.match` counts, and identities only: mergers and splittings are scored as
events, since neither program can score a merger. TRA is dominated by detection; LNK, HOTA and IDF1 by identity.

traccuracy: https://github.com/live-image-tracking-tools/traccuracy. CHOTA: 10.48550/arXiv.2408.11571. HOTA:
10.1007/s11263-020-01375-2. IDF1: 10.1007/978-3-319-48881-3_2. Both programs are optional.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from numpy.typing import NDArray

    from insitu.evaluate.objects import Matching

PROGRAMS = ("traccuracy", "trackeval")
_INSTALL = "pip install 'insitu[evaluate]' && pip install --no-deps 'traccuracy>=0.4.3'"


@dataclass(frozen=True, slots=True)
class TrackScores:
    """Scores of the tracks, all 0…1; HOTA, DetA, AssA and LocA are means over the thresholds 0.05…0.95.

    `complete_tracks` is the share of true tracks without any error, `edge_precision` and `edge_recall` are those of the
    links. `settings` says by which versions, and how positions were compared.
    """

    tra: float
    det: float
    lnk: float
    chota: float
    complete_tracks: float
    edge_precision: float
    edge_recall: float
    hota: float
    det_a: float
    ass_a: float
    loc_a: float
    idf1: float
    id_precision: float
    id_recall: float
    settings: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return the scores as plain values."""
        return asdict(self)


def require_programs() -> None:
    """Refuse to go on where one of the two programs is not installed.

    Raises
    ------
    CommandError
        It names what is missing and how to install it.
    """
    missing = [name for name in PROGRAMS if find_spec(name) is None]
    if missing:
        raise CommandError(f"scores of tracks need {' and '.join(missing)}, which is not installed", _INSTALL)


def score(truth: pd.DataFrame, found: pd.DataFrame, matching: Matching) -> TrackScores:
    """Score the identities (column ``particle``) of two tables over the positions that count.

    Parameters
    ----------
    truth, found : DataFrame
        The tables that were matched; columns ``frame, particle, y, x, equivalent_diameter_px``.
    matching : Matching
        From `insitu.evaluate.objects.match`.

    Raises
    ------
    CommandError
        traccuracy or TrackEval is not installed, or one of the tables has nothing to score.
    """
    require_programs()
    pairs = np.stack([matching.truth, matching.found])[:, matching.counted]
    rows = np.sort(np.append(pairs[0], matching.missed)), np.sort(np.append(pairs[1], matching.false))
    for name, kept in zip(("truth", "run"), rows, strict=True):
        if not len(kept):
            raise CommandError(f"the {name} has no particle that counts", "compare with the truth of this movie")
    sides = _Side.of(truth, rows[0]), _Side.of(found, rows[1])
    places = np.searchsorted(rows[0], pairs[0]), np.searchsorted(rows[1], pairs[1])
    with _silence():
        values = _by_traccuracy(*sides, *places)
        gate = float(matching.settings["gate_px"])
        reach = np.maximum(gate, truth["equivalent_diameter_px"].to_numpy(float)[rows[0]] / 2)
        values |= _by_trackeval(*sides, reach)
    return TrackScores(**values, settings={**matching.settings, **_versions(), "similarity": "1 − distance / 2 gate"})


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """One of the two tables: the rows that count, in order of row."""

    frame: NDArray[np.int64]
    particle: NDArray[np.int64]
    place: NDArray[np.float64]

    @classmethod
    def of(cls, table: pd.DataFrame, rows: NDArray[np.int64]) -> _Side:
        """Take the rows of a table."""
        part = table.iloc[rows]
        numbers = np.unique(part["particle"].to_numpy(), return_inverse=True)[1].astype(np.int64)
        return cls(part["frame"].to_numpy().astype(np.int64), numbers, part[["y", "x"]].to_numpy(float))

    def links(self) -> NDArray[np.int64]:
        """Return (n, 2) earlier and later row of successive positions of each particle."""
        order = np.lexsort((self.frame, self.particle))
        same = self.particle[order][1:] == self.particle[order][:-1]
        return np.column_stack([order[:-1][same], order[1:][same]])


def _by_traccuracy(true: _Side, made: _Side, in_true: NDArray[np.intp], in_made: NDArray[np.intp]) -> dict[str, float]:
    """Let traccuracy score the links; rows `in_true` and `in_made` are the matched pairs."""
    from traccuracy import run_metrics
    from traccuracy.matchers._base import Matcher
    from traccuracy.metrics import BasicMetrics, CHOTAMetric, CompleteTracks, CTCMetrics

    class Given(Matcher):  # type: ignore[misc] # the package has no types
        """The pairs that are known already."""

        _matching_type = "one-to-one"

        def _compute_mapping(self, _gt: Any, _pred: Any) -> list[tuple[int, int]]:  # noqa: ANN401 - its graphs
            return [(a + 1, b + 1) for a, b in zip(in_true.tolist(), in_made.tolist(), strict=True)]

    metrics = [CTCMetrics(), CHOTAMetric(), CompleteTracks(), BasicMetrics()]
    results, _ = run_metrics(_graph(true), _graph(made), Given(), metrics)
    ctc, chota, complete, basic = (r["results"] for r in results)
    return {
        "tra": float(ctc["TRA"]),
        "det": float(ctc["DET"]),
        "lnk": float(ctc["LNK"]),
        "chota": float(chota["CHOTA"]),
        "complete_tracks": float(complete["complete_tracklets"]),
        "edge_precision": float(basic["Edge Precision"]),
        "edge_recall": float(basic["Edge Recall"]),
    }


def _graph(side: _Side) -> Any:  # noqa: ANN401 - the package has no types
    """Return a graph of traccuracy; nodes are the rows, from 1."""
    import networkx as nx
    from traccuracy import TrackingGraph

    graph: Any = nx.DiGraph()
    for k, (frame, (y, x)) in enumerate(zip(side.frame.tolist(), side.place.tolist(), strict=True)):
        graph.add_node(k + 1, t=frame, y=y, x=x)
    graph.add_edges_from((side.links() + 1).tolist())
    return TrackingGraph(graph, frame_key="t", location_keys=("y", "x"), label_key=None)


def _by_trackeval(true: _Side, made: _Side, reach: NDArray[np.float64]) -> dict[str, float]:
    """Let TrackEval score the identities; two positions `reach` px apart have the similarity 0.5 that IDF1 asks for."""
    from trackeval.metrics import HOTA, Identity

    true_ids, made_ids, similarity = [], [], []
    for frame in np.union1d(true.frame, made.frame).tolist():
        a, b = np.flatnonzero(true.frame == frame), np.flatnonzero(made.frame == frame)
        distance = np.linalg.norm(true.place[a][:, None] - made.place[b], axis=2)
        true_ids.append(true.particle[a])
        made_ids.append(made.particle[b])
        similarity.append(np.clip(1 - distance / (2 * reach[a][:, None]), 0, 1))
    data = {
        "num_gt_dets": len(true.frame),
        "num_tracker_dets": len(made.frame),
        "num_gt_ids": int(true.particle.max()) + 1,
        "num_tracker_ids": int(made.particle.max()) + 1,
        "num_timesteps": len(similarity),
        "gt_ids": true_ids,
        "tracker_ids": made_ids,
        "similarity_scores": similarity,
    }
    hota, identity = HOTA().eval_sequence(data), Identity({"PRINT_CONFIG": False}).eval_sequence(data)
    means = {"hota": "HOTA", "det_a": "DetA", "ass_a": "AssA", "loc_a": "LocA"}
    ids = {"idf1": "IDF1", "id_precision": "IDP", "id_recall": "IDR"}
    return {name: float(np.mean(hota[key])) for name, key in means.items()} | {
        name: float(identity[key]) for name, key in ids.items()
    }


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in PROGRAMS}


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the programs' progress bars, remarks and warnings off the streams of the command line."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield
