"""What ``insitu evaluate --images`` does: models on labelled images."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from insitu.cli.console import Tally
from insitu.errors import CommandError

if TYPE_CHECKING:
    from insitu.cli.console import Console
    from insitu.evaluate.masks import MaskOptions


@dataclass(frozen=True, slots=True)
class Images:
    """What the options of `evaluate` say about labelled images."""

    images: str
    labels: str
    models: tuple[str, ...]
    out: str | None
    unknown: int | None
    overwrite: bool


def score_images(console: Console, asked: Images, options: MaskOptions) -> None:
    """Score models, write the folder of the evaluation, and print the most important numbers.

    Raises
    ------
    CommandError
        Two models of one name, labels that do not fit, or a folder that is in use.
    InputError
        Something cannot be read.
    """
    from dataclasses import replace

    from insitu import models
    from insitu.evaluate import writing
    from insitu.evaluate.images import Pairs
    from insitu.evaluate.masks import score_models
    from insitu.segment import resolve_device

    options = replace(options, device=resolve_device(options.device))
    names = [Path(m).stem if m.endswith(".safetensors") else m for m in asked.models]
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise CommandError(f"the model '{twice}' is given twice", "give each --model once, files by different names")
    loaded = [(name, models.load(m, options.device)) for name, m in zip(names, asked.models, strict=True)]
    pairs = Pairs(asked.images, asked.labels, asked.unknown)
    folder = Path(asked.out) if asked.out else None
    if folder:
        writing.make_room(folder, overwrite=asked.overwrite)
    scores = score_models(pairs, loaded, options, Tally(console, "evaluate", len(pairs), "images"))
    scores.notes[:0] = pairs.notes
    made_from = {
        "images": asked.images,
        "labels": asked.labels,
        "unknown": asked.unknown,
        "models": {name: {"name": model.name, "sha256": _sha(model)} for name, model in loaded},
        "options": asdict(options),
    }
    for note in scores.notes:
        console.note(f"note: {note}")
    if folder:
        writing.write(scores, folder, made_from)
    console.emit("scores", **writing.as_json(scores, made_from))
    console.result(f"{scores.n_images} images, threshold of each model's own:")
    console.result(writing.table_in_words(scores))
    if folder:
        console.result(str(folder.resolve()))


def _sha(model: object) -> str | None:
    card = getattr(model, "card", None)
    return card.get("sha256") if card else None
