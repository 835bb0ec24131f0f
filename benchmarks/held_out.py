"""What `resunet-mixed-2` does on sets that it has not seen: ``python -m benchmarks.held_out [OUTLINE …]``.

``benchmarks/weights/resunet-mixed-2-unseen.safetensors`` is the network as it was before it went on to learn from
everything: no gold, no catalyst and none of the tested publications of EMPS are in it, nor in the choice of pieces
(``python -m insitu.train.choosing --weights`` this file). Default settings; the card of the shipped weights says the
rest. Needs the labelled images in ``$INSITU_SAMPLES``. Writes ``benchmarks/results/held_out.md``.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch start their thread pools

import json
import platform
import sys
from pathlib import Path

import torch

from benchmarks.segmentation import samples
from insitu import models
from insitu.models.checkpoint import load_network
from insitu.models.memory import keep_large_blocks
from insitu.models.network import Network
from insitu.models.outlines import OUTLINES
from insitu.train import shipped

NAME = "resunet-mixed-2"
UNSEEN = Path(__file__).parent / "weights" / f"{NAME}-unseen.safetensors"
RESULTS = Path(__file__).parent / "results" / "held_out.md"
BARS = {"gold IoU": 0.955, "gold edge, px": 0.5, "boxes F1": 0.70, "EMPS recall, split": 0.85}


def main() -> None:
    keep_large_blocks()
    torch.set_num_threads(1)
    card = json.loads((models.WEIGHTS_FOLDER / f"{NAME}.json").read_text(encoding="utf-8"))
    module = load_network(UNSEEN, fold=False).module
    rows = []
    for outline in sys.argv[1:] or OUTLINES:
        model = Network(module, NAME, {**card, "outline": outline})
        rows.append(shipped.scored(model, f"outline {outline}, {card['choice']}", samples()))
        print(rows[-1], flush=True)
    kept = next((row for row in rows if card["outline"] in row["name"]), None)
    text = f"# {NAME} on sets that it has not seen\n\n{shipped.table(rows)}\n"
    if kept is not None:
        reached = (kept["gold_iou"], abs(kept["gold_edge_px"]), kept["boxes_f1"], kept["split_recall"])
        text += f"\nWith the outline of the shipped card, `{card['outline']}`:\n\n"
        text += "| | reached | bar |\n| --- | --- | --- |\n"
        for (what, bar), value in zip(BARS.items(), reached, strict=True):
            text += f"| {what} | {value:.4f} | {'≤' if 'edge' in what else '≥'} {bar} |\n"
        each = ", ".join(f"{name} {f1:.2f}" for name, (_, _, f1) in kept["boxes"].items())
        text += f"\nBoxes, F1 by image: {each}.\n"
    text += f"\n{platform.machine()}, torch {torch.__version__}. `python -m benchmarks.held_out`\n"
    RESULTS.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
