"""Studies as tables: what Python reads is what the program exports."""

from __future__ import annotations

import csv
import gzip
import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, program

import relgrad

ARCHIVE = ROOT / "reports/archive"
STUDIES = ["2026-11-26-zen5-2-cores", "2026-11-27-conv"]
FORMATS = {"samples": "table", "records": "table-records", "summary": "csv"}


def study(name: str) -> Path:
    found = sorted(path.parent for path in (ARCHIVE / name).rglob("run.json"))
    assert found, f"no run in {name}"
    return found[0]


@pytest.mark.parametrize("table", FORMATS)
@pytest.mark.parametrize("name", STUDIES)
def test_the_table_is_what_the_program_exports(name: str, table: str) -> None:
    command = [program(), "export", str(study(name)), "--format", FORMATS[table]]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    header, *rows = csv.reader(io.StringIO(text))
    found = relgrad.read(study(name), table)
    assert list(found) == header and found.rows == len(rows) > 10
    for at, (column, values) in enumerate(found.items()):
        texts = [row[at] for row in rows]
        if values.dtype == object:
            assert [value or "" for value in values] == texts, column
        elif values.dtype == bool:
            assert [str(bool(value)).lower() for value in values] == texts, column
        else:
            expected = [float(text) if text else np.nan for text in texts]
            np.testing.assert_array_equal(values.astype(float), expected, err_msg=column)


def test_the_samples_are_all_there_with_their_keys() -> None:
    samples, records = (relgrad.read(study(STUDIES[0]), table) for table in ("samples", "records"))
    counts = records["counts"] & (records["outcome"] == "measured")
    assert samples.rows == records["samples"][counts].sum()
    one = (samples["method"] == "relative") & (samples["dim"] == 1000) & (samples["round"] == 0)
    record = (records["method"] == "relative") & (records["dim"] == 1000) & (records["round"] == 0) & counts
    assert np.median(samples["seconds"][one]) == records["median_seconds"][record][0]
    assert samples["dim"].dtype == np.int64 and samples["seconds"].dtype == np.float64


def test_what_cannot_be_read_is_one_clear_line(tmp_path: Path) -> None:
    for call, error, text in [
        (lambda: relgrad.read(tmp_path / "none"), OSError, "none"),
        (
            lambda: relgrad.read(study(STUDIES[0]), "rows"),
            ValueError,
            "unknown table `rows`: samples, records or summary",
        ),
    ]:
        with pytest.raises(error) as told:
            call()
        assert text in str(told.value) and "\n" not in str(told.value)


def test_an_invalid_line_is_refused_or_left_out_with_a_warning(tmp_path: Path) -> None:
    shutil.copy(study(STUDIES[0]) / "run.json", tmp_path)
    lines = gzip.decompress((study(STUDIES[0]) / "records.jsonl.gz").read_bytes()).splitlines(keepends=True)
    (tmp_path / "records.jsonl").write_bytes(b"{}\n" + b"".join(lines[:20]))
    with pytest.raises(ValueError, match="line 1"):
        relgrad.read(tmp_path)
    with pytest.warns(UserWarning, match="line 1"):
        assert relgrad.read(tmp_path, "records", skip_invalid=True).rows == 20


def test_pandas_takes_it() -> None:
    pandas = pytest.importorskip("pandas")
    table = relgrad.read(study(STUDIES[0]))
    frame = pandas.DataFrame(table)
    medians = frame[frame.method == "relative"].groupby("dim").seconds.median()
    assert len(frame) == table.rows and (medians.loc[[1000, 10_000]].diff().iloc[1:] > 0).all()


def test_polars_takes_it() -> None:
    polars = pytest.importorskip("polars")
    table = relgrad.read(study(STUDIES[0]), "records")
    frame = polars.DataFrame(table)
    assert frame.height == table.rows and frame["dim"].dtype == polars.Int64


def test_duckdb_takes_it() -> None:
    duckdb = pytest.importorskip("duckdb")
    samples = relgrad.read(study(STUDIES[0]))
    found = duckdb.sql("SELECT count(*), min(seconds) FROM samples WHERE method = 'relative'").fetchall()
    relative = samples["method"] == "relative"
    assert found == [(relative.sum(), samples["seconds"][relative].min())]


def test_parquet_reads_back(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    import pyarrow.parquet

    records = relgrad.read(study(STUDIES[0]), "records")
    records.to_parquet(tmp_path / "records.parquet")
    back = pyarrow.parquet.read_table(tmp_path / "records.parquet")
    assert back.column_names == list(records) and back.num_rows == records.rows
    skipped = records["outcome"] == "skipped"
    assert skipped.any() and back["median_seconds"].null_count == np.isnan(records["median_seconds"]).sum()
