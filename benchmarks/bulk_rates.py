"""Rows per second and core of bulk jobs, beside a plain loop over arrays: Integrated Gradients with 50 steps.

`make benchmark-bulk` runs it; `--write` puts the table into docs/bulk.md. Every job is run on a quarter of the files
and on all of them, after a run that warms up; the difference is what is divided, so that starting an engine and its
sessions does not count.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import runpy
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.small_models import mlp  # noqa: E402

from models import gunpoint  # noqa: E402
from onnxattr import IntegratedGradients, load  # noqa: E402
from onnxattr.bulk import explain_folder, mapper  # noqa: E402

PAGE = ROOT / "docs" / "bulk.md"
MARKS = re.compile(r"(<!-- table: benchmarks/bulk_rates.py -->\n).*?(<!-- end -->)", re.DOTALL)
FILES, CHUNK = 20, 256
#: What is explained: the model, the rows, and the shape of one.
JOBS = {
    "a table, 6 columns, 100,000 rows": (lambda: mlp().model, 100_000, (6,)),
    "a series of 150 values, 2,000 rows": (lambda: str(gunpoint.ONNX_FILE), 2_000, (150, 1)),
}


def main() -> None:
    """Prints a line for each engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.name}")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    columns = {name: rates(name) for name in JOBS}
    lines = ["| | " + " | ".join(JOBS) + " |", "| --- |" + " --- |" * len(JOBS)]
    for engine in next(iter(columns.values())):
        cells = []
        for found in columns.values():
            share = found[engine] / found["plain loop over arrays"]
            cells.append(f"{found[engine]:,.0f} rows/s per core; {share:.2f}")
        lines.append(f"| {engine} | " + " | ".join(cells) + " |")
    print("\n".join(lines))
    if options.write:
        table = "\n".join(lines)
        PAGE.write_text(MARKS.sub(lambda found: f"{found[1]}{table}\n{found[2]}", PAGE.read_text()))


def rates(name: str) -> dict[str, float]:
    """Rows per second and core of each engine on one job."""
    make, count, shape = JOBS[name]
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        IntegratedGradients(make(), steps=50).export(folder / "explainer.onnx")
        rows = np.random.default_rng(0).normal(size=(count, *shape)).astype(np.float32)
        for part, files in (("few", FILES // 4), ("all", FILES)):
            (folder / part).mkdir()
            for number, index in enumerate(np.split(np.arange(count), FILES)[:files]):
                table = pa.table({"id": index, "x": rows[index].tolist()})
                pq.write_table(table, folder / part / f"{number:02}.parquet")
        found = {}
        for engine, (run, cores) in engines(folder, rows).items():
            with on_cores(cores):
                _, few, every = (timed(run, part, folder) for part in ("few", "few", "all"))
            found[engine] = count * 3 / 4 / (every - few) / cores
            print(f"{name}, {engine}: {few:.1f} s, {every:.1f} s", flush=True)
        return found


def engines(folder: Path, rows: np.ndarray) -> dict[str, tuple[Callable[[str], object], int]]:
    """What runs the job on a part of the files, and on how many cores."""
    path, cores = folder / "explainer.onnx", len(os.sched_getaffinity(0))
    with on_cores(1):
        explainer, mapped = load(path), mapper(path, chunk=CHUNK)

    def loop(part: str) -> None:
        given = rows[: len(rows) // 4] if part == "few" else rows
        for start in range(0, len(given), CHUNK):
            explainer.explain(given[start : start + CHUNK])

    def batches(part: str) -> None:
        for file in sorted((folder / part).glob("*.parquet")):
            for _ in mapped(pq.ParquetFile(file).iter_batches(batch_size=CHUNK)):
                pass

    def job(engine: str) -> Callable[[str], object]:
        return lambda part: explain_folder(
            path, folder / part, folder / f"{part}-{engine}", engine=engine, chunk=CHUNK, progress=False
        )

    def spark(part: str) -> None:
        example = runpy.run_path(str(ROOT / "examples" / "bulk" / "on_spark.py"))["main"]
        example(str(path), str(folder / part), str(folder / f"{part}-spark"), CHUNK)

    found: dict[str, tuple[Callable[[str], object], int]] = {
        "plain loop over arrays": (loop, 1),
        "mapper over Arrow batches": (batches, 1),
        "folder of Parquet files": (job("plain"), 1),
        "the same on Ray": (job("ray"), cores),
    }
    if shutil.which("java") is not None:
        found["Spark's mapInArrow, Parquet to Parquet"] = (spark, cores)
    return found


@contextlib.contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Keeps this process and those that it starts to so many cores; on one, sessions that are made have one thread."""
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(every)[:count])
    try:
        with mock.patch.dict(os.environ):
            os.environ.pop("OMP_NUM_THREADS", None)
            if count == 1:
                os.environ["OMP_NUM_THREADS"] = "1"
            yield
    finally:
        os.sched_setaffinity(0, every)


def timed(run: Callable[[str], object], part: str, folder: Path) -> float:
    """Seconds that a job takes, without what an earlier run wrote."""
    for written in folder.glob(f"{part}-*"):
        shutil.rmtree(written)
    start = time.perf_counter()
    run(part)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
