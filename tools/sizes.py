"""Fail when a file grows past 400 lines or a function past 60: a reader must be able to hold it in the head."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

MAX_FILE = 400
MAX_FUNCTION = 60


def too_long(path: Path) -> list[str]:
    """Return one line for the file and each function of `path` that is over its limit."""
    text = path.read_text(encoding="utf-8")
    lines = text.count("\n")
    found = [f"{path}: {lines} lines, at most {MAX_FILE}"] if lines > MAX_FILE else []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION:
                found.append(f"{path}:{node.lineno}: {node.name} has {length} lines, at most {MAX_FUNCTION}")
    return found


def main() -> int:
    """Check the package, the benchmarks and the tools."""
    root = Path(__file__).resolve().parent.parent
    paths = [p for folder in ("insitu", "benchmarks", "tools") for p in sorted((root / folder).rglob("*.py"))]
    found = [line for path in paths for line in too_long(path)]
    print(
        "\n".join(found)
        if found
        else f"sizes: {len(paths)} files within {MAX_FILE} lines, functions within {MAX_FUNCTION}"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
