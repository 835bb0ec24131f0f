"""A table of a run that is not read until asked for, whether the run is finished or still being written."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from insitu.errors import CommandError
from insitu.store import layout
from insitu.store.log import damaged, read_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

Selection = int | range | slice | Collection[int]
_OPEN_END = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Chosen:
    """Selected numbers: a half-open interval, or sorted single values."""

    start: int = 0
    stop: int = _OPEN_END
    values: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, what: Selection, name: str) -> Chosen:
        """Return a selection given as an int, a range, a slice or a collection of ints.

        Raises
        ------
        CommandError
            A slice with a step or from the end, or something that is not made of whole numbers.
        """
        if isinstance(what, slice):
            start, stop = what.start or 0, _OPEN_END if what.stop is None else what.stop
            if what.step not in {None, 1} or start < 0 or stop < 0:
                raise CommandError(f"{name}={what} cannot be selected", "give start and stop ≥ 0, or range(a, b, step)")
            return cls(start, stop)
        if isinstance(what, range) and what.step == 1:
            return cls(what.start, what.stop)
        values = np.atleast_1d(np.asarray(what if isinstance(what, int | np.integer) else list(what)))
        if values.size and not np.issubdtype(values.dtype, np.integer):
            raise CommandError(f"{name} holds {values.dtype} values, not whole numbers", f"give {name} as ints")
        return cls(values=np.unique(values).astype(np.int64))

    def expression(self, column: str) -> pa.compute.Expression:
        """Return the test of a column as an arrow expression, which skips row groups by their statistics."""
        import pyarrow as pa
        import pyarrow.dataset as ds

        field = ds.field(column)
        if self.values is None:
            return (field >= self.start) & (field < self.stop)
        if not len(self.values):
            return ds.scalar(False)  # noqa: FBT003 - arrow's spelling of "nothing"
        inside = (field >= int(self.values[0])) & (field <= int(self.values[-1]))
        return inside & field.isin(pa.array(self.values))

    def meets(self, first: NDArray[Any], last: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether each closed interval first…last holds a selected number."""
        first, last = first.astype(np.int64), last.astype(np.int64)
        if self.values is None:
            return np.asarray(np.maximum(first, self.start) <= np.minimum(last, self.stop - 1))
        before = np.searchsorted(self.values, first, "left")
        return np.asarray(before < np.searchsorted(self.values, last, "right"))


class Table:
    """One table of a run.

    `frames` and `particles`, wherever they appear, select rows: an int, a range, a slice (half-open, in frames of the
    source's timeline) or a collection of ints. Of `tracks`, `frames` selects those alive in one of them; of `events`,
    `particles` selects those with such a parent or child.
    """

    def __init__(self, out: Path, name: str, schema: pa.Schema) -> None:
        self._out, self.name, self.schema = out, name, schema

    def __repr__(self) -> str:
        return f"<{self.name}: {len(self)} rows × {len(self.columns)} columns>"

    def __len__(self) -> int:
        return sum(unit.rows.get(self.name, 0) for unit in read_log(self._out).units)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.schema.names)

    @property
    def units(self) -> dict[str, str]:
        """Unit of each column; empty for what has none."""
        return {field.name: field.metadata[b"unit"].decode() for field in self.schema}

    def batches(
        self,
        columns: Sequence[str] | None = None,
        frames: Selection | None = None,
        particles: Selection | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows as arrow record batches, in order, in bounded memory.

        Raises
        ------
        CommandError
            A column or a selection that the table does not have.
        """
        wanted = self._wanted(columns)
        chosen = [None if s is None else Chosen.of(s, n) for s, n in ((frames, "frames"), (particles, "particles"))]
        return self._scan(wanted, *self._tests(*chosen))

    def to_arrow(
        self,
        columns: Sequence[str] | None = None,
        frames: Selection | None = None,
        particles: Selection | None = None,
    ) -> pa.Table:
        """Return the rows as one arrow table; see `batches`."""
        import pyarrow as pa

        wanted = self._wanted(columns)
        schema = pa.schema([self.schema.field(name) for name in wanted], metadata=self.schema.metadata)
        batches = [b.cast(schema) for b in self.batches(wanted, frames, particles)]
        return pa.Table.from_batches(batches, schema=schema)

    def to_pandas(
        self,
        columns: Sequence[str] | None = None,
        frames: Selection | None = None,
        particles: Selection | None = None,
    ) -> pd.DataFrame:
        """Return the rows as a DataFrame; see `batches`.

        Whole numbers that may be unknown (`contact_frame`) come as float64 with NaN, whether or not one is unknown.
        """
        import pyarrow as pa

        table = self.to_arrow(columns, frames, particles)
        for i, field in enumerate(table.schema):
            if field.nullable and pa.types.is_integer(field.type):
                table = table.set_column(i, field.name, table[i].cast(pa.float64()))
        frame: pd.DataFrame = table.to_pandas()
        return frame

    def _wanted(self, columns: Sequence[str] | None) -> list[str]:
        wanted = list(self.columns if columns is None else columns)
        for name in wanted:
            if name not in self.columns:
                raise CommandError(f"{self.name} has no column '{name}'", f"it has {', '.join(self.columns)}")
        return wanted

    def _tests(self, frames: Chosen | None, particles: Chosen | None) -> tuple[_Expression, _Masks]:
        """Return what arrow can test while it reads, and what is tested on the batches."""
        expression: _Expression = None
        masks: _Masks = {}
        for chosen, column in ((frames, "frame"), (particles, "particle")):
            if chosen is None:
                continue
            if column in self.columns:
                test = chosen.expression(column)
                expression = test if expression is None else expression & test
            elif (self.name, column) in _MASKS:
                needs, mask = _MASKS[self.name, column]
                masks[needs] = partial(mask, chosen)
            else:
                raise CommandError(f"{self.name} cannot be selected by {column}", "leave that selection out")
        return expression, masks

    def _scan(self, wanted: list[str], expression: _Expression, masks: _Masks) -> Iterator[pa.RecordBatch]:
        """Read; go on in the files that have replaced those being read: they hold the same rows in the same order."""
        import pyarrow as pa

        extra = [name for needs in masks for name in needs if name not in wanted]
        given = 0
        while True:
            skip, names = given, self._names()
            try:
                dataset = self._dataset(names)
                for read in dataset.to_batches(columns=wanted + extra, filter=expression, batch_readahead=4):
                    kept = read
                    for mask in masks.values():
                        kept = kept.filter(mask(kept))
                    rest = kept.slice(min(skip, kept.num_rows)).select(wanted)
                    skip -= kept.num_rows - rest.num_rows
                    given += rest.num_rows
                    if rest.num_rows:
                        yield rest
            except pa.ArrowInvalid as error:
                raise damaged(self._out, f"{self.name} is no whole parquet file ({error})") from error
            except FileNotFoundError as error:
                if self._names() == names:  # else parts were merged, or the table finished, while they were read
                    raise damaged(self._out, f"a part of {self.name} is missing ({error})") from error
            else:
                return

    def _names(self) -> list[str]:
        """Return the files that hold the table now."""
        log = read_log(self._out)
        return log.parts(self.name) if log.finished is None else [layout.table(self.name)]

    def _dataset(self, names: list[str]) -> Any:  # noqa: ANN401 - pyarrow has no types
        import pyarrow.dataset as ds

        try:
            str(self._out).encode()
        except UnicodeEncodeError:  # pyarrow opens no path that is not UTF-8: such a run is read into memory
            return ds.dataset(self._held(names))
        return ds.dataset([str(self._out / n) for n in names], schema=self.schema, format="parquet")

    def _held(self, names: Sequence[str]) -> pa.Table:
        """Return the rows of some files as one table in memory."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        tables = [self.schema.empty_table()]
        for name in names:
            with (self._out / name).open("rb") as opened:
                tables.append(pq.ParquetFile(opened).read().cast(self.schema))
        return pa.concat_tables(tables)


def _alive(frames: Chosen, batch: pa.RecordBatch) -> pa.Array:
    import pyarrow as pa

    first, last = batch["first_frame"].to_numpy(), batch["last_frame"].to_numpy()
    return pa.array(frames.meets(first, last))


def _concerned(particles: Chosen, batch: pa.RecordBatch) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    concerned = np.zeros(batch.num_rows, bool)
    for name in ("parents", "children"):
        ids = batch[name].flatten().to_numpy()
        rows = pc.list_parent_indices(batch[name]).to_numpy()
        concerned[rows[particles.meets(ids, ids)]] = True
    return pa.array(concerned)


_Expression = Any  # a pyarrow expression or None; pyarrow has no types
_Masks = dict[tuple[str, ...], "Callable[[pa.RecordBatch], pa.Array]"]
_MASKS: dict[tuple[str, str], tuple[tuple[str, ...], Callable[[Chosen, pa.RecordBatch], pa.Array]]] = {
    ("tracks", "frame"): (("first_frame", "last_frame"), _alive),
    ("events", "particle"): (("parents", "children"), _concerned),
}
