"""20,000 rows on each engine, with a worker killed by SIGKILL: each row once, with its numbers.

``make test-bulk`` installs Ray and Spark and runs this; without them it is skipped.
"""

import os
import runpy
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.small_models import mlp

from onnxattr import IntegratedGradients
from onnxattr.bulk import explain_folder

pytestmark = pytest.mark.slow
COUNT, FILES = 20_000, 20
ROWS = np.random.default_rng(0).normal(size=(COUNT, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """An explainer, 20 Parquet files, and the maps of all rows."""
    folder = tmp_path_factory.mktemp("engines")
    method = IntegratedGradients(mlp().model, steps=20)
    method.export(folder / "explainer.onnx")
    (folder / "in").mkdir()
    for number, rows in enumerate(np.split(np.arange(COUNT), FILES)):
        table = pa.table({"id": rows, "x": ROWS[rows].tolist()})
        pq.write_table(table, folder / "in" / f"{number:02}.parquet")
    return folder / "explainer.onnx", folder / "in", method.explain(ROWS)


def check(tables, expected):
    table = pa.concat_tables(tables)
    ids = table["id"].to_numpy()
    np.testing.assert_array_equal(np.sort(ids), np.arange(COUNT))
    maps = np.array(table["attribution"].to_pylist(), np.float32)
    np.testing.assert_allclose(maps, expected[ids], rtol=1e-4, atol=1e-6)


class Killer(threading.Thread):
    """Kills one process of the engine when there is something to lose."""

    def __init__(self, is_time, is_worker):
        super().__init__(daemon=True)
        self.is_time, self.is_worker, self.killed = is_time, is_worker, None

    def run(self):
        psutil = pytest.importorskip("psutil")
        end = time.monotonic() + 240
        while self.killed is None and time.monotonic() < end:
            time.sleep(0.005)
            if not self.is_time():
                continue
            for process in psutil.Process().children(recursive=True):
                try:
                    if self.is_worker(process):
                        os.kill(process.pid, signal.SIGKILL)
                        self.killed = process.pid
                        return
                except psutil.Error:
                    continue


def started(process):
    """The name of a worker of Ray, which it takes when it has a task."""
    return " ".join(process.cmdline())


def is_actor(process):
    return started(process).startswith(("ray::Actor.", "ray::Actor ")) or started(process) == "ray::Actor"


def test_folders_on_ray(job, tmp_path):
    pytest.importorskip("ray")
    path, source, expected = job
    out = tmp_path / "out"
    killer = Killer(lambda: list(out.glob("*.parquet")), is_actor)
    killer.start()
    report = explain_folder(path, source, out, engine="ray", chunk=8)
    assert killer.killed
    assert (len(report.written), report.failed) == (FILES, {})
    check([pq.read_table(file) for file in out.glob("*.parquet")], expected)


def example(name):
    """The function of an example."""
    return runpy.run_path(str(Path(__file__).parents[2] / "examples" / "bulk" / name))["main"]


def test_map_batches_of_ray(job, tmp_path):
    pytest.importorskip("ray")
    path, source, expected = job
    out, begun = tmp_path / "out", threading.Event()
    killer = Killer(begun.is_set, lambda process: started(process).startswith("ray::MapWorker"))
    killer.start()
    threading.Timer(8, begun.set).start()
    example("on_ray.py")(str(path), str(source), str(out), 40)
    assert killer.killed
    check([pq.read_table(file) for file in out.glob("*.parquet")], expected)


def test_map_in_arrow_of_spark(job, tmp_path):
    pytest.importorskip("pyspark")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    path, source, expected = job
    out = tmp_path / "out"
    killer = Killer(
        lambda: list(out.rglob("part-*.parquet")),
        lambda process: "pyspark.daemon" in started(process) and not process.children(),
    )
    killer.start()
    example("on_spark.py")(str(path), str(source), str(out), 8)
    assert killer.killed
    check([pq.read_table(file) for file in out.glob("*.parquet")], expected)


def test_the_plain_loop(job, tmp_path):
    path, source, expected = job
    report = explain_folder(path, source, tmp_path / "out")
    assert (len(report.written), report.samples) == (FILES, COUNT)
    check([pq.read_table(file) for file in (tmp_path / "out").glob("*.parquet")], expected)
