"""Jobs over folders: one whole output for each input, killed and started again, nothing lost or doubled."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.small_models import build, mlp, node, random

from onnxattr import GradientInput, IntegratedGradients, OnnxAttrError, SmoothGrad
from onnxattr.bulk import explain_folder, work
from onnxattr.cli import main

ROWS = np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def explainer(tmp_path_factory):
    path = tmp_path_factory.mktemp("bulk") / "explainer.onnx"
    IntegratedGradients(mlp().model, steps=5).export(path)
    return path


@pytest.fixture(scope="module")
def expected():
    return IntegratedGradients(mlp().model, steps=5).explain(ROWS)


def parquets(folder: Path, files=8):
    """The rows in some Parquet files, one of them in a folder inside."""
    (folder / "more").mkdir(parents=True)
    for number, rows in enumerate(np.split(np.arange(len(ROWS)), files)):
        place = folder / ("more" if number == 3 else "") / f"part-{number}.parquet"
        pq.write_table(pa.table({"id": rows, "x": ROWS[rows].tolist()}), place, row_group_size=20)
    return folder


def check(out: Path, expected, files=8):
    """That each row is there once, with its numbers."""
    found = [pq.read_table(path) for path in sorted(out.rglob("*.parquet"))]
    assert len(found) == files
    table = pa.concat_tables(found)
    ids = table["id"].to_numpy()
    assert sorted(ids.tolist()) == list(range(len(ROWS)))
    maps = np.array(table["attribution"].to_pylist(), np.float32)
    np.testing.assert_allclose(maps, expected[ids], rtol=1e-5, atol=1e-7)
    assert not list(out.rglob("*.part"))


def test_a_full_disk_ends_the_job_and_loses_nothing(tmp_path, explainer, expected):
    """A job ended at the first file that found no room, where each one behind it was computed in vain."""
    data, out = parquets(tmp_path / "data"), tmp_path / "out"
    explain_folder(explainer, data, out)
    for path in out.rglob("*.parquet"):
        path.unlink()
    (out / "part-2.parquet").symlink_to("/dev/full")
    with pytest.raises(
        OnnxAttrError, match=r"part-2.parquet' cannot be written: No space left.* 2 of 8 files are done"
    ):
        explain_folder(explainer, data, out)
    assert sorted(path.name for path in out.rglob("*.parquet")) == [f"part-{k}.parquet" for k in range(3)]
    (out / "part-2.parquet").unlink()
    assert len(explain_folder(explainer, data, out).skipped) == 2
    check(out, expected)


WAITING = """
import sys, time
from onnxattr import GradientInput
from onnxattr.bulk import explain_folder, work
work.Worker.run = lambda self, task: (print("runs", flush=True), time.sleep(60))
explain_folder(GradientInput(sys.argv[1]), sys.argv[2], sys.argv[3])
"""


def test_a_job_killed_before_it_wrote_anything_is_no_obstacle_to_another(tmp_path, monkeypatch):
    """While it runs it is one, also where the same job ends beside it, and so is a killed job on another machine."""
    model = mlp().model
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    np.save(tmp_path / "rows.npy", ROWS[:4])
    other, out = IntegratedGradients(model, steps=3), tmp_path / "out"
    command = [sys.executable, "-c", WAITING, tmp_path / "m.onnx", tmp_path / "rows.npy", out]
    job = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE)
    assert job.stdout.readline() == b"runs\n"
    with pytest.raises(OnnxAttrError, match="holds results of another job: its method"):
        explain_folder(other, tmp_path / "rows.npy", out)
    monkeypatch.setattr(work.Worker, "run", lambda self, task: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        explain_folder(GradientInput(tmp_path / "m.onnx"), tmp_path / "rows.npy", out)
    monkeypatch.undo()
    with pytest.raises(OnnxAttrError, match="holds results of another job: its method"):
        explain_folder(other, tmp_path / "rows.npy", out)
    job.kill()
    job.communicate()
    told = json.loads((out / ".onnxattr-job.json").read_text())
    (out / ".onnxattr-job.json").write_text(json.dumps(told | {"host": "elsewhere"}))
    with pytest.raises(OnnxAttrError, match="holds results of another job: its method"):
        explain_folder(other, tmp_path / "rows.npy", out)
    (out / ".onnxattr-job.json").write_text(json.dumps(told))
    explain_folder(other, tmp_path / "rows.npy", out)
    np.testing.assert_allclose(np.load(out / "rows.npy"), other.explain(ROWS[:4]), rtol=1e-5, atol=1e-7)
    with pytest.raises(OnnxAttrError, match="holds results of another job: its method"):
        explain_folder(GradientInput(model), tmp_path / "rows.npy", out)


def test_parquet_files_become_parquet_files(explainer, expected, tmp_path):
    report = explain_folder(explainer, parquets(tmp_path / "in"), tmp_path / "out", chunk=7)
    assert (len(report.written), report.samples, report.skipped, report.failed) == (8, 400, [], {})
    assert (tmp_path / "out/more/part-3.parquet").is_file()
    check(tmp_path / "out", expected)


def test_done_files_are_skipped_and_changed_ones_done_again(explainer, expected, tmp_path):
    source, out = parquets(tmp_path / "in"), tmp_path / "out"
    explain_folder(explainer, source, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    (out / "part-1.parquet").unlink()
    later = time.time() + 5
    os.utime(source / "part-2.parquet", (later, later))
    report = explain_folder(explainer, source, out)
    assert sorted(path.name for path in report.written) == ["part-1.parquet", "part-2.parquet"]
    assert len(report.skipped) == 6
    assert all(path.stat().st_mtime_ns == before[path] for path in report.skipped)
    check(out, expected)
    assert len(explain_folder(explainer, source, out, overwrite=True).written) == 8


def test_a_killed_job_goes_on(explainer, expected, tmp_path):
    """SIGKILL in the middle, as the kernel's out-of-memory killer does."""
    source, out = parquets(tmp_path / "in"), tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "onnxattr",
        "explain",
        explainer,
        source,
        "-o",
        f"{out}/",
        "--chunk",
        "1",
    ]
    job = subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not list(out.rglob("*.parquet")) and time.monotonic() < end and job.poll() is None:
        time.sleep(0.002)
    job.send_signal(signal.SIGKILL)
    job.wait()
    done = list(out.rglob("*.parquet"))
    assert 1 <= len(done) < 8
    for path in out.rglob(".onnxattr-*.part"):
        path.unlink()
    report = explain_folder(explainer, source, out, chunk=1)
    assert set(report.skipped) == set(done)
    assert len(report.written) == 8 - len(done)
    check(out, expected)


def test_a_damaged_file_does_not_end_the_job(explainer, expected, tmp_path, capsys):
    source, out = parquets(tmp_path / "in"), tmp_path / "out"
    (source / "part-0a.parquet").write_bytes((source / "part-0.parquet").read_bytes()[:300])
    pq.write_table(pa.table({"other": np.arange(3)}), source / "part-9.parquet")
    assert main(["explain", str(explainer), str(source), "-o", f"{out}/"]) == 2
    told = capsys.readouterr().err
    assert "explained 400 samples; wrote 8 files" in told
    assert "2 files could not be explained" in told
    lines = told.splitlines()
    assert [line.count("part-0a.parquet cannot be read as a Parquet file") for line in lines[-2:]] == [1, 0]
    assert lines[-2].startswith(f"- {source}/part-0a.parquet cannot be read")
    assert lines[-1].startswith(f"- {source}/part-9.parquet: The columns 'other'")
    check(out, expected)


def test_an_interrupted_job_says_how_it_goes_on(explainer, tmp_path, capsys, monkeypatch):
    def interrupted(worker, task):
        raise KeyboardInterrupt

    monkeypatch.setattr(work.Worker, "run", interrupted)
    assert main(["explain", str(explainer), str(parquets(tmp_path / "in")), "-o", f"{tmp_path}/out/"]) == 130
    told = capsys.readouterr().err
    assert told.endswith("onnxattr: interrupted; run the command again to go on; what is done is skipped\n")


def test_other_kinds_of_files(tmp_path, capsys):
    """Arrays, tables with names and photos, each in a folder of its own."""
    model = mlp().model
    path, data, out = tmp_path / "model.onnx", tmp_path / "data", tmp_path / "out"
    path.write_bytes(model.SerializeToString())
    for name in ("a", "b"):
        (data / name).mkdir(parents=True)
    np.save(data / "a/first.npy", ROWS[:70])
    np.savetxt(data / "b/second.csv", ROWS[:5], delimiter=",", header="a,b,c,d,e,f", comments="")
    assert main(["explain", str(path), str(data), "--method", "GradientInput", "-o", str(out) + "/"]) == 0
    assert "explained 75 samples; wrote 2 files" in capsys.readouterr().out
    expected = GradientInput(model).explain(ROWS[:70])
    np.testing.assert_allclose(np.load(out / "a/first.npy"), expected, rtol=1e-5, atol=1e-6)
    lines = (out / "b/second.csv").read_text().splitlines()
    assert lines[0].endswith("a,b,c,d,e,f")
    np.testing.assert_allclose(
        np.array([line.split(",")[-6:] for line in lines[1:]], np.float32), expected[:5], rtol=1e-4, atol=1e-6
    )
    found = explain_folder(GradientInput(model), data, tmp_path / "json", form=".json")
    assert sorted(p.relative_to(tmp_path / "json").as_posix() for p in found.written) == [
        "a/first.json", "b/second.json"
    ]  # fmt: skip
    samples = json.loads((tmp_path / "json/b/second.json").read_text())["samples"]
    np.testing.assert_allclose([s["attributions"]["x"] for s in samples], expected[:5], rtol=1e-5, atol=1e-6)


def test_photos_become_pictures(tmp_path):
    nodes = [node("Flatten", ["x"], ["f"]), node("MatMul", ["f", "w"], ["y"])]
    model = build(nodes, {"x": ["N", 8, 8, 3]}, {"y": ["N", 2]}, {"w": random(2, 192, 2)})
    (tmp_path / "in").mkdir()
    pixels = np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8)
    for name in ("cat.jpg", "cat.png", "dog.png"):
        Image.fromarray(pixels).save(tmp_path / "in" / name)
    report = explain_folder(GradientInput(model, preprocess="0..1"), tmp_path / "in", tmp_path / "out")
    names = ["cat.jpg.why.png", "cat.png.why.png", "dog.why.png"]
    assert sorted(path.name for path in report.written) == names
    for path in report.written:
        assert Image.open(path).size[0] > 100


def test_only_parquet_files_need_pyarrow(explainer, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in/rows.npy", ROWS[:5])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    report = explain_folder(explainer, tmp_path / "in", tmp_path / "out")
    assert [path.name for path in report.written] == ["rows.npy"]
    pq.write_table(pa.table({"x": ROWS[:5].tolist()}), tmp_path / "in/rows.parquet")
    with pytest.raises(OnnxAttrError, match="pip install pyarrow"):
        explain_folder(explainer, tmp_path / "in", tmp_path / "other")


REFUSED = {
    "the folder of the inputs": ({}, "in", "is an input of the job; give another output folder"),
    "an unknown engine": ({"engine": "dask"}, "out", "expected one of 'plain', 'ray'"),
    "an address without an engine": ({"address": "auto"}, "out", "needs engine='ray'"),
    "an unknown form": ({"form": ".xls"}, "out", "expected one of .npy"),
    "labels of rows": ({"targets": [0, 1, 2]}, "out", "one label or name of a class for all rows"),
    "weights of rows": ({"targets": np.eye(4)}, "out", "one label or name of a class for all rows"),
    "unknown columns to keep": ({"keep": "none"}, "out", "'others', 'all' or a list"),
    "a chunk of none": ({"chunk": 0}, "out", "at least 1"),
}


@pytest.mark.parametrize(("options", "out", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(options, out, message, explainer, tmp_path):
    source = parquets(tmp_path / "in", 4)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OnnxAttrError, match=message):
        explain_folder(explainer, source, tmp_path / out, **options)
    assert sorted(tmp_path.rglob("*")) == before


def test_results_of_two_jobs_are_not_mixed(explainer, tmp_path):
    source, out = parquets(tmp_path / "in", 4), tmp_path / "out"
    explain_folder(explainer, source, out)
    SmoothGrad(mlp().model, nb_samples=2).export(tmp_path / "other.onnx")
    for path, options in (
        (tmp_path / "other.onnx", {}),
        (explainer, {"targets": 1}),
        (explainer, {"seed": 3}),
    ):
        with pytest.raises(OnnxAttrError, match="holds results of another job: its"):
            explain_folder(path, source, out, **options)
    report = explain_folder(tmp_path / "other.onnx", source, out, overwrite=True)
    assert len(report.written) == 4


def test_options_of_jobs_need_a_folder(explainer, tmp_path, capsys):
    np.save(tmp_path / "x.npy", ROWS[:3])
    given = ["explain", str(explainer), str(tmp_path / "x.npy")]
    assert main([*given, "-o", str(tmp_path / "y.npy"), "--engine", "ray"]) == 2
    assert "--engine: for jobs over folders; give a folder to write to, -o out/" in capsys.readouterr().err
    assert main([*given, "-o", f"{tmp_path}/out/", "--picture", "a.png"]) == 2
    assert "leave out --picture" in capsys.readouterr().err
