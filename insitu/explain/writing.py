"""A look on disk: figures, tables, and a summary for programs."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.explain.channels import dead
from insitu.explain.field import SHARE
from insitu.explain.noise import verdict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from insitu.explain.looking import Kernel, Look

SUMMARY = "summary.json"
_SHORT = {"gaussian": "Gauss", "log": "LoG", "gabor": "Gabor"}


def summary_of(look: Look) -> dict[str, Any]:
    """Return what was found as plain values."""
    counts = dead(look.rows)
    families = [k.family for k in look.kernels]
    field: dict[str, Any] = {
        "widest_seen_px": look.field.width_px, "effective_px": look.field.effective_px, "share_within": SHARE,
        "complete": look.field.complete,
    }  # fmt: skip
    if look.stated is not None:
        field |= {"stated_px": look.stated[0], "stated_widest_px": look.stated[1]}
        field["agrees"] = look.field.width_px <= look.stated[1]
    return {
        "window": [*look.origin, *look.image.shape],
        "explained_px": int(look.region.sum()),
        "kernels": {
            "side_px": int(look.mean.values.shape[0]),
            "families": {name: families.count(name) for name in dict.fromkeys(families)},
            "mean": _fit_in_short(look.mean.fits[0]) if look.mean.fits else None,
        },
        "dead": {
            "silent": sum(c.get("silent", 0) for c in counts.values()),
            "rectified_channels": sum(c["channels"] for c in counts.values() if "silent" in c),
            "constant": sum(c.get("constant", 0) for c in counts.values()),
            "filters": sum(c["channels"] for c in counts.values() if "constant" in c),
            "layers": {name: c for name, c in counts.items() if c.get("silent") or c.get("constant")},
        },
        "receptive_field": field,
        "noise": {**look.alarms, "neighbour_correlation": round(look.neighbours, 3),
                  "verdict": verdict(look.rows, look.alarms)},
        "grad_cam_layer": look.cam_layer,
    }  # fmt: skip


def write(look: Look, folder: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """Write figures, tables and summary.json into `folder`; return the summary.

    Parameters
    ----------
    look : Look
    folder : Path
    about : mapping
        Model, image and what else belongs into the summary's head.
    """
    from insitu.figures import inside, save
    from insitu.figures.style import write_csv

    figures = folder / "figures"
    table = kernel_table(look)
    fits = look.mean.fits
    captions = [_caption(k) for k in look.kernels]
    mean = "mean of all kernels" + (
        f" and its best fit, {_SHORT[fits[0].family]}, R² {fits[0].explained:.2f}" if fits else ""
    )
    drawn = [
        inside.kernel_gallery(
            np.stack([k.values for k in look.kernels]), captions, look.mean.values,
            fitted=fits[0].values if fits else None, mean_caption=mean, table=table,
        ),
        inside.reasons(look.image, look.probability, look.region, look.maps,
                       {"occlusion": "fall of the logit", "grad-cam": look.cam_layer, "saliency": "|slope|"}),
        inside.seen_by_a_pixel(
            look.field.weight, look.field.width_px, look.field.effective_px, SHARE, look.stated
        ),
        inside.noise_answers(look.rows),
    ]  # fmt: skip
    for k, answer in enumerate(look.answers):
        mine = [r for r in look.rows if r["layer"] == answer.name]
        stem = f"layer_{k:02}_{re.sub(r'[^A-Za-z0-9]+', '_', answer.name)}"
        drawn.append(
            inside.layer_maps(stem, answer.name, answer.maps.cpu().numpy(), [r["state"] for r in mine], _columns(mine))
        )
    for one in drawn:
        save(one, figures)
    write_csv(folder / "kernels.csv", table)
    write_csv(folder / "channels.csv", _columns(look.rows))
    summary = {**about, **summary_of(look), "figures": [d.name for d in drawn]}
    text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False, default=float)
    (folder / SUMMARY).write_text(text + "\n", encoding="utf-8")
    return summary


def _caption(kernel: Kernel) -> str:
    """Return number, family and share explained of a kernel; the number alone where no family explains it."""
    if kernel.family in {"unexplained", "not fitted"}:
        return f"{kernel.index}"
    return f"{kernel.index}\u2002{_SHORT[kernel.family]} {kernel.fits[0].explained:.2f}"


def kernel_table(look: Look) -> dict[str, list[Any]]:
    """Return one row a kernel (the mean last, as −1): its sum and norm, its family, and the best fit's shape."""
    shape = ("y_px", "x_px", "sigma_px", "aspect", "angle_deg", "wavelength_px")
    columns: dict[str, list[Any]] = {n: [] for n in ("kernel", "sum", "norm", "family", "explained", *shape)}
    columns |= {f"explained_{f}": [] for f in ("gaussian", "log", "gabor")}
    for kernel in (*look.kernels, look.mean):
        best = kernel.fits[0] if kernel.fits else None
        columns["kernel"].append(kernel.index)
        columns["sum"].append(float(kernel.values.sum()))
        columns["norm"].append(float(np.linalg.norm(kernel.values)))
        columns["family"].append(kernel.family)
        columns["explained"].append(best.explained if best else None)
        for name in shape:
            columns[name].append(best.shape.get(name) if best else None)
        by_family = {f.family: f.explained for f in kernel.fits}
        for f in ("gaussian", "log", "gabor"):
            columns[f"explained_{f}"].append(by_family.get(f))
    return columns


def _fit_in_short(fit: Any) -> dict[str, Any]:  # noqa: ANN401 - a Fit
    return {"family": fit.family, "explained": round(fit.explained, 4)} | {k: round(v, 3) for k, v in fit.shape.items()}


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [r[name] for r in rows] for name in rows[0]} if rows else {}
