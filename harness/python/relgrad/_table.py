"""Studies as tables of plain columns."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np

from . import _relgrad


class Table(dict):
    """Columns by name, in their order: one-dimensional NumPy arrays of the same length.

    ``pandas.DataFrame(table)``, ``polars.DataFrame(table)`` and DuckDB's ``FROM table`` take it as it is. Text is an
    array of ``str`` and ``None``. A number that does not exist is NaN.
    """

    @property
    def rows(self) -> int:
        """The number of rows."""
        return max((len(column) for column in self.values()), default=0)

    def to_arrow(self) -> Any:
        """A ``pyarrow.Table``, with nulls for what does not exist. Requires pyarrow."""
        import pyarrow

        return pyarrow.table({name: pyarrow.array(column, from_pandas=True) for name, column in self.items()})

    def to_parquet(self, path: str | os.PathLike[str]) -> None:
        """Writes a Parquet file. Requires pyarrow."""
        import pyarrow.parquet

        pyarrow.parquet.write_table(self.to_arrow(), path)


def read(path: str | os.PathLike[str], table: str = "samples", *, skip_invalid: bool = False) -> Table:
    """Reads the folder of a sweep, finished or not, or a baseline file.

    table: ``samples`` has one row a sample, of the records that count: the keys of its cell (method, dim, batch, round,
        and so on) and ``seconds``, the time of one gradient. Where ``left_out`` is true the report leaves the cell
        out, whose machine was disturbed. ``records`` has one row a record: the same keys, outcome,
        medians, memory (bytes), model and check; where ``counts`` is false another record of the cell counts.
        ``summary`` has one row a method and dimension: the numbers of ``summary.csv``, with the ends ``_low`` and
        ``_high`` of their 95 % intervals. FORMAT.md describes every column.
    skip_invalid: whether to leave out lines that are no valid records, with a warning, instead of failing.

    ``relgrad export PATH --format table`` (``table-records``, ``csv``) writes the same as CSV.

    Errors: ``OSError`` for files that cannot be read, ``ValueError`` for contents that are not valid.
    """
    columns, told = _relgrad.read(os.fspath(path), table, skip_invalid)
    for warning in told:
        warnings.warn(warning, stacklevel=2)
    arrays = (
        (name, np.array(column, dtype=object) if isinstance(column, list) else column) for name, column in columns
    )
    return Table(arrays)
