"""Folders of jobs: what they are of, down to the numbers of parameters; what is in the way; what is damaged inside."""

import functools
import json
import os
import threading
import time

import numpy as np
import onnx
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.small_models import mlp

import onnxattr
from onnxattr import (
    ExpectedGradients,
    GradientInput,
    IntegratedGradients,
    NoiseTunnel,
    OnnxAttrError,
    Saliency,
)
from onnxattr.bulk import explain_folder, mapper, signature
from onnxattr.cli import main

MODEL = mlp().model
ROWS = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
FAR = ROWS[:30].copy()
FAR[20, 3] += 1


@pytest.fixture
def source(tmp_path):
    (tmp_path / "in").mkdir()
    for number, rows in enumerate(np.split(ROWS, 4)):
        np.save(tmp_path / f"in/part-{number}.npy", rows)
    return tmp_path / "in"


def changed(model):
    """A model in memory with other weights."""
    other = onnx.ModelProto()
    other.CopyFrom(model)
    weight = next(w for w in other.graph.initializer if onnx.numpy_helper.to_array(w).ndim == 2)
    array = onnx.numpy_helper.to_array(weight)
    weight.CopyFrom(onnx.numpy_helper.from_array(array * 2, weight.name))
    return other


def scaled(factor):
    return lambda x: x * factor


def times(x, factor):
    return x * factor


class Shift:
    def __init__(self, by):
        self.by = by

    def __call__(self, x):
        return x * 0 + self.by


PAIRS = {
    "a background": lambda k: ExpectedGradients(MODEL, background=[ROWS[:30], FAR][k]),
    "a baseline": lambda k: IntegratedGradients(MODEL, baseline_value=np.eye(6)[k]),
    "a table": lambda k: IntegratedGradients(MODEL, baseline_value=pd.DataFrame(np.eye(6)[k : k + 1])),
    "baselines by name": lambda k: IntegratedGradients(MODEL, baseline_value={"x": np.eye(6)[k]}),
    "what a function reads": lambda k: IntegratedGradients(MODEL, baseline_value=scaled(k + 0.5)),
    "what a function is given": lambda k: IntegratedGradients(
        MODEL, baseline_value=functools.partial(times, factor=k + 0.5)
    ),
    "an object that is called": lambda k: IntegratedGradients(MODEL, baseline_value=Shift(k)),
    "an operator": lambda k: GradientInput(
        MODEL, operator=[lambda f, x, y: (f(x) * y).sum(-1), lambda f, x, y: (f(x) * f(x) * y).sum(-1)][k]
    ),
    "groups": lambda k: GradientInput(MODEL, feature_mask=np.roll([0, 0, 0, 1, 1, 2], k)),
    "a model in memory": lambda k: GradientInput([MODEL, changed(MODEL)][k]),
}


@pytest.mark.parametrize("case", PAIRS)
def test_other_contents_of_parameters_are_another_job(case, source, tmp_path):
    make, out = PAIRS[case], tmp_path / "out"
    explain_folder(make(0), source, out)
    assert len(explain_folder(make(0), source, out).skipped) == 4
    with pytest.raises(OnnxAttrError, match="holds results of another job: its contents was"):
        explain_folder(make(1), source, out)


@pytest.mark.parametrize(
    ("option", "file"),
    [("--baseline-value", "base.npy"), ("--baseline-value", "base.csv"), ("--labels", "names.txt")],
)
def test_other_contents_of_files_are_another_job(option, file, source, tmp_path, capsys):
    (tmp_path / "m.onnx").write_bytes(MODEL.SerializeToString())
    name = tmp_path / file
    command = ["explain", str(tmp_path / "m.onnx"), str(source), "-o", f"{tmp_path}/out/", option, str(name)]
    for turn, status in ((0, 0), (0, 0), (1, 2)):
        if name.suffix == ".npy":
            np.save(name, np.eye(6)[turn])
        elif name.suffix == ".csv":
            name.write_text("a,b,c,d,e,f\n" + ",".join(map(str, np.eye(6)[turn])) + "\n")
        else:
            name.write_text(f"a\nb\nc\nd{turn}\n")
        assert main(command) == status
    assert "holds results of another job: its contents was" in capsys.readouterr().err
    assert " at 0x" not in (tmp_path / "out" / signature.NAME).read_text()


def test_a_folder_that_was_taken_over_in_part_has_nothing_of_the_job_before(source, tmp_path):
    """As after a job with overwrite=True that was killed."""
    out = tmp_path / "out"
    explain_folder(Saliency(MODEL), source, out)
    explain_folder(GradientInput(MODEL), source / "part-1.npy", out, overwrite=True)
    report = explain_folder(GradientInput(MODEL), source, out)
    assert [path.name for path in report.skipped] == ["part-1.npy"]
    found = np.concatenate([np.load(out / f"part-{number}.npy") for number in range(4)])
    np.testing.assert_allclose(found, GradientInput(MODEL).explain(ROWS), rtol=1e-5, atol=1e-7)
    assert len(explain_folder(GradientInput(MODEL), source, out).skipped) == 4


def test_files_of_no_job_are_no_results(source, tmp_path):
    (tmp_path / "out").mkdir()
    np.save(tmp_path / "out/part-2.npy", np.zeros(3))
    with pytest.raises(OnnxAttrError, match=r"holds part-2.npy already, and no \.onnxattr-job.json"):
        explain_folder(GradientInput(MODEL), source, tmp_path / "out")
    np.testing.assert_array_equal(np.load(tmp_path / "out/part-2.npy"), np.zeros(3))
    assert len(explain_folder(GradientInput(MODEL), source, tmp_path / "out", overwrite=True).written) == 4


@pytest.mark.parametrize("text", ["[]", "{", '{"more": 1}', "[" * 100_000])
def test_damaged_descriptions(text, source, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.onnxattr-job.json").write_text(text)
    with pytest.raises(OnnxAttrError, match=r"is damaged|another job"):
        explain_folder(GradientInput(MODEL), source, tmp_path / "out")
    assert len(explain_folder(GradientInput(MODEL), source, tmp_path / "out", overwrite=True).written) == 4


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_descriptions_that_never_end(make, source, tmp_path):
    (tmp_path / "out").mkdir()
    make(tmp_path / "out/.onnxattr-job.json")
    with pytest.raises(OnnxAttrError, match=r"is damaged \(there is no such file\)"):
        explain_folder(GradientInput(MODEL), source, tmp_path / "out")


def test_of_jobs_that_start_at_once_one_gets_the_folder(source, tmp_path, monkeypatch):
    count, out, write = 6, tmp_path / "out", signature.whole_file

    def slowly(path):
        time.sleep(0.1)
        return write(path)

    monkeypatch.setattr(signature, "whole_file", slowly)
    methods = [IntegratedGradients(MODEL, steps=3 + k) for k in range(count)]
    ready, refused = threading.Barrier(count), []

    def run(method):
        ready.wait()
        try:
            explain_folder(method, source, out)
        except OnnxAttrError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=run, args=(method,)) for method in methods]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == count - 1
    told = json.loads((out / ".onnxattr-job.json").read_text())["method"]
    (winner,) = [method for method in methods if repr(method) == told]
    found = np.concatenate([np.load(out / f"part-{number}.npy") for number in range(4)])
    np.testing.assert_allclose(found, winner.explain(ROWS), rtol=1e-5, atol=1e-7)


def test_a_parquet_file_that_is_damaged_inside(tmp_path):
    (tmp_path / "in").mkdir()
    many = np.random.default_rng(1).normal(size=(3000, 6)).astype(np.float32)
    pq.write_table(pa.table({"x": many.tolist()}), tmp_path / "in/a.parquet", row_group_size=100)
    content = bytearray((tmp_path / "in/a.parquet").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = np.random.default_rng(2).bytes(2000)
    (tmp_path / "in/a.parquet").write_bytes(content)
    report = explain_folder(GradientInput(MODEL), tmp_path / "in", tmp_path / "out")
    assert "in/a.parquet cannot be read as a Parquet file" in report.failed[tmp_path / "in/a.parquet"]
    assert not list((tmp_path / "out").glob("[!.]*"))


def test_a_file_where_a_folder_should_be(source, tmp_path):
    (source / "more").mkdir()
    np.save(source / "more/last.npy", ROWS[:3])
    (tmp_path / "out").mkdir()
    (tmp_path / "out/more").write_text("a file")
    report = explain_folder(GradientInput(MODEL), source, tmp_path / "out")
    assert len(report.written) == 4
    assert "cannot be written" in report.failed[source / "more/last.npy"]
    assert (tmp_path / "out/more").read_text() == "a file"


ROWWISE = {
    "baselines": (lambda: IntegratedGradients(MODEL, baseline_value=ROWS[:10]), "baseline_value"),
    "baselines in a tunnel": (
        lambda: NoiseTunnel(IntegratedGradients(MODEL, baseline_value=ROWS[:10]), nb_samples=2), "baseline_value"
    ),
    "groups": (lambda: GradientInput(MODEL, feature_mask=np.tile([0, 0, 1, 1, 2, 2], (10, 1))), "feature_mask"),
}  # fmt: skip


@pytest.mark.parametrize("case", ROWWISE)
def test_rows_for_each_sample_are_not_begun_anew(case, source, tmp_path):
    make, name = ROWWISE[case]
    with pytest.raises(OnnxAttrError, match=f"{name} has a row for each sample"):
        explain_folder(make(), source, tmp_path / "out")
    with pytest.raises(OnnxAttrError, match=f"{name} has a row for each sample"):
        mapper(make())(pa.table({"x": ROWS.tolist()}))
    assert not (tmp_path / "out").exists()


def test_baselines_of_a_file_for_each_sample(source, tmp_path):
    IntegratedGradients(MODEL).export(tmp_path / "e.onnx", baseline_input=True)
    explainer = onnxattr.load(tmp_path / "e.onnx", baseline=ROWS[:10])
    with pytest.raises(OnnxAttrError, match="baseline has a row for each sample"):
        explain_folder(explainer, source, tmp_path / "out")
    one = onnxattr.load(tmp_path / "e.onnx", baseline=ROWS[0])
    assert len(explain_folder(one, source, tmp_path / "out").written) == 4


def test_baselines_for_each_sample_of_several_files(source, tmp_path, capsys):
    """One row is that of all samples; a row for each fits one file."""
    (tmp_path / "m.onnx").write_bytes(MODEL.SerializeToString())
    files = [str(source / f"part-{number}.npy") for number in range(2)]
    for rows, given, status in ((ROWS[:10], files, 2), (ROWS[:10], files[:1], 0), (ROWS[:1], files, 0)):
        np.save(tmp_path / "base.npy", rows)
        command = [
            "explain",
            str(tmp_path / "m.onnx"),
            *given,
            "--baseline-value",
            str(tmp_path / "base.npy"),
        ]
        assert main([*command, "-o", str(tmp_path / "maps.npy")]) == status
    assert "baseline_value has a row for each sample" in capsys.readouterr().err


DIFFERENCES = {
    "at the end": ("a" * 300 + "1", "a" * 300 + "2"),
    "in the middle": ("b" * 150 + "12" + "b" * 90, "b" * 150 + "3" + "b" * 90),
    "at the start": ("1" + "c" * 200, "2" + "c" * 200),
    "one goes on": ("d" * 150, "d" * 200),
}


@pytest.mark.parametrize("case", DIFFERENCES)
def test_the_first_difference_of_two_jobs_is_shown(case, source, tmp_path):
    was, now = DIFFERENCES[case]
    explain_folder(GradientInput(MODEL), source, tmp_path / "out", keep=[was])
    with pytest.raises(OnnxAttrError, match="another job: its keep was") as error:
        explain_folder(GradientInput(MODEL), source, tmp_path / "out", keep=[now])
    first, second = str(error.value).split("its keep was ")[1].split(" now. ")[0].split(", and is ")
    assert first != second
    assert max(len(first), len(second)) < 110


def test_options_that_are_corrected_are_no_other_job_where_nothing_was_written(tmp_path, capsys):
    pd = pytest.importorskip("pandas")
    (tmp_path / "m.onnx").write_bytes(MODEL.SerializeToString())
    table = pd.DataFrame({"x": list(ROWS[:4]), "target": [0, 1, 2, 0], "id": range(4)})
    table.to_parquet(tmp_path / "rows.parquet")
    command = ["explain", str(tmp_path / "m.onnx"), str(tmp_path / "rows.parquet"), "-o", f"{tmp_path}/out/"]
    assert main(command) == 2
    assert "a column 'target' already" in (said := capsys.readouterr().err)
    assert "(--keep with commas between them)" in said
    assert main([*command, "--keep", "id"]) == 0
    assert list(pd.read_parquet(tmp_path / "out/rows.parquet").id) == [0, 1, 2, 3]
    assert main(command) == 2
    assert "holds results of another job: its keep was ['id'], and is 'others' now" in capsys.readouterr().err
