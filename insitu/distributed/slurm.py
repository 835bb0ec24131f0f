"""A script for SLURM that plans runs, analyses their ranges as an array of jobs, and links them when all have ended."""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Script:
    """What the script is made of.

    Attributes
    ----------
    path : Path
        Where it will lie (absolute).
    folder : Path
        The folder its relative paths start from.
    plan : sequence of str
        Arguments of ``insitu ranges plan``.
    runs : sequence of str
        The run folders, in the order of the movies.
    tasks : int
        Jobs of the array.
    options, link_options : sequence of str
        Options of sbatch, for all jobs, and for the linking ones alone, which need no GPU.
    at_once : int, optional
        Most jobs of the array at a time.
    """

    path: Path
    folder: Path
    plan: Sequence[str]
    runs: Sequence[str]
    tasks: int
    options: Sequence[str] = ()
    link_options: Sequence[str] = ()
    at_once: int | None = None

    def text(self) -> str:
        """Return the script; every word in it that a user gave is quoted."""
        array = f"0-{self.tasks - 1}" + (f"%{self.at_once}" if self.at_once else "")
        values = {
            "script": shlex.quote(str(self.path)),
            "folder": shlex.quote(str(self.folder)),
            "insitu": shlex.join([sys.executable, "-m", "insitu"]),
            "plan": shlex.join(self.plan),
            "runs": shlex.join(self.runs),
            "options": shlex.join(self.options),
            "link_options": shlex.join(self.link_options or self.options),
            "array": array,
            "tasks": str(self.tasks),
            "last_run": str(len(self.runs) - 1),
        }
        # in one pass: a path may look like a placeholder
        return re.sub(r"@(\w+)@", lambda found: values[found[1]], _TEMPLATE)


_TEMPLATE = """\
#!/bin/bash
# Written by insitu slurm. Submit with: bash SCRIPT. Submit it again after a failure: what is analysed is kept.
set -euo pipefail
script=@script@
cd -- @folder@
runs=(@runs@)
options=(@options@)
link_options=(@link_options@)

case "${1:-submit}" in
submit)
    plan=$(sbatch --parsable --job-name=insitu-plan ${options[@]+"${options[@]}"} "$script" plan)
    ranges=$(sbatch --parsable --job-name=insitu-analyse --array=@array@ ${options[@]+"${options[@]}"} \\
        --dependency="afterok:${plan%%;*}" --kill-on-invalid-dep=yes "$script" analyse)
    link=$(sbatch --parsable --job-name=insitu-link --array=0-@last_run@ ${link_options[@]+"${link_options[@]}"} \\
        --dependency="afterok:${ranges%%;*}" --kill-on-invalid-dep=yes "$script" link)
    echo "submitted: plan ${plan%%;*}, analyse ${ranges%%;*}, link ${link%%;*}"
    ;;
plan)
    exec @insitu@ ranges plan @plan@
    ;;
analyse)
    exec @insitu@ ranges analyse --share "$SLURM_ARRAY_TASK_ID/@tasks@" -- "${runs[@]}"
    ;;
link)
    exec @insitu@ ranges link -- "${runs[$SLURM_ARRAY_TASK_ID]}"
    ;;
*)
    echo "usage: bash $script" >&2
    exit 2
    ;;
esac
"""
