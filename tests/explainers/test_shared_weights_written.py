"""Files that belong together, of several methods or for Triton: nothing half-written, whatever fails or ends."""

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import onnx
import pytest
from support.small_models import mlp
from support.written_files import X, beside, wide

import onnxattr
from onnxattr.attributions import GradientInput, IntegratedGradients, Saliency
from onnxattr.attributions.triton import export_triton
from onnxattr.autodiff.standard import STANDARD
from onnxattr.errors import ModelError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def broken(op, node, ct):
    """A gradient that no run can compute: a Reshape of two elements to three."""
    wrong = op.Reshape(op.Expand(ct, op.Concat(op.Shape(op.Shape(ct)), op.Shape(ct), axis=0)), [-1, 7, 11])
    return op.Add(ct, op.ReduceSum(wrong, keepdims=0)), None


class FailsInTheRuntime(Saliency):
    """Its file does not run."""

    rules = STANDARD | {"MatMul": broken}


class CannotBeBuilt(Saliency):
    """There is no gradient."""

    def explainer(self, *args, **options):
        raise ModelError("no explainer")


@pytest.mark.parametrize("kind", [FailsInTheRuntime, CannotBeBuilt])
@pytest.mark.parametrize("old", [False, True], ids=["a new folder", "files of before"])
def test_one_method_that_fails_leaves_all_files_as_they_were(kind, old, tmp_path):
    folder = tmp_path / "set" / "inner"
    if old:
        folder.mkdir(parents=True)
        beside(folder, 0)
    before = contents(folder) if old else {}
    model = wide(1)[0]
    with pytest.raises(ModelError):
        onnxattr.export([GradientInput(model), kind(model)], folder)
    if old:
        assert contents(folder) == before
    else:
        assert list(tmp_path.iterdir()) == []


ENDED = """
import os, signal, sys
from pathlib import Path
import onnxattr
from onnxattr.attributions import several
folder = Path(sys.argv[1])
end = lambda path: os.kill(os.getpid(), signal.SIGTERM) if len(list(folder.glob("*.part"))) == 2 else None
several.recorded = lambda *_: end
onnxattr.export([onnxattr.Saliency(sys.argv[2]), onnxattr.GradientInput(sys.argv[2])], folder)
"""


@pytest.mark.parametrize("old", [False, True], ids=["a new folder", "files of before"])
def test_a_process_that_is_ended_meanwhile_leaves_all_files_as_they_were(old, tmp_path):
    folder = tmp_path / "set" / "inner"
    if old:
        folder.mkdir(parents=True)
        beside(folder, 0)
    onnx.save(wide(1)[0], tmp_path / "m.onnx")
    before = contents(folder) if old else sorted(tmp_path.iterdir())
    done = subprocess.run([sys.executable, "-c", ENDED, folder, tmp_path / "m.onnx"], check=False)
    assert done.returncode == -signal.SIGTERM
    assert (contents(folder) if old else sorted(tmp_path.iterdir())) == before


HALF_NAMED = """
import os, signal, sys
import onnxattr
signal.signal(signal.SIGINT, signal.default_int_handler)
replace = os.replace
def stopped(old, new):
    replace(old, new)
    if str(new).endswith(".onnx"):
        os.kill(os.getpid(), int(sys.argv[3]))
os.replace = stopped
methods = [onnxattr.Saliency(sys.argv[2]), onnxattr.GradientInput(sys.argv[2])]
onnxattr.export(methods, sys.argv[1], check=False)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_is_ended_between_two_names_gives_both(number, tmp_path):
    folder = tmp_path / "set"
    onnxattr.export([Saliency(wide(0)[0]), GradientInput(wide(0)[0])], folder)
    before = contents(folder)
    onnx.save(wide(1)[0], tmp_path / "m.onnx")
    arguments = [sys.executable, "-c", HALF_NAMED, folder, tmp_path / "m.onnx", str(number.value)]
    assert subprocess.run(arguments, check=False, capture_output=True).returncode == -number
    after = contents(folder)
    assert [name for name in before if after.get(name) == before[name]] == []
    assert len(after) == 3
    found = onnxattr.load(folder / "Saliency.onnx").explain(X, [3, 5])
    np.testing.assert_allclose(found, np.abs(wide(1)[1][:, [3, 5]].T), rtol=1e-5)


LIMITED = """
import resource, sys
import onnxattr
methods = [onnxattr.Saliency(sys.argv[2]), onnxattr.GradientInput(sys.argv[2])]
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    onnxattr.export(methods, sys.argv[1])
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process")
def test_a_full_disk_leaves_all_files_as_they_were(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    beside(folder, 0)
    before = contents(folder)
    onnx.save(wide(1)[0], tmp_path / "m.onnx")
    arguments = [sys.executable, "-c", LIMITED, folder, tmp_path / "m.onnx"]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    assert done.stdout.startswith(f"ParameterError The weights cannot be written into {folder}")
    assert contents(folder) == before


def test_a_finished_export_takes_the_data_of_before_with_it(tmp_path):
    """Unless another file reads it; what was there before goes on to read its own data."""
    seen = []
    for seed in (0, 1):
        onnxattr.export([GradientInput(wide(seed)[0])], tmp_path)
        seen += tmp_path.glob("weights-*.data")
    assert len(set(seen)) == 2
    assert list(tmp_path.glob("weights-*.data")) == seen[1:]
    onnxattr.export({"other": GradientInput(wide(1)[0])}, tmp_path)
    onnxattr.export([GradientInput(wide(2)[0])], tmp_path)
    assert seen[1].exists()
    for name, seed in (("other", 1), ("GradientInput", 2)):
        found = onnxattr.load(tmp_path / f"{name}.onnx").explain(X, [3, 5])
        np.testing.assert_allclose(found, X * wide(seed)[1][:, [3, 5]].T, rtol=1e-5)


def test_two_threads_in_one_folder(tmp_path):
    """They take turns with two models, so that each takes the data away that the other one writes."""
    errors = []

    def go(first):
        try:
            for turn in range(4):
                model = wide((first + turn) % 2)[0]
                onnxattr.export([Saliency(model), GradientInput(model)], tmp_path, check=False)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=go, args=(first,)) for first in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    found = onnxattr.load(tmp_path / "GradientInput.onnx").explain(X, [3, 5])
    assert any(np.allclose(found, X * wide(seed)[1][:, [3, 5]].T, rtol=1e-5) for seed in (0, 1))
    (data,) = tmp_path.glob("weights-*.data")
    assert sorted(os.listdir(tmp_path)) == ["GradientInput.onnx", "Saliency.onnx", data.name]


def test_the_same_methods_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        onnxattr.export([Saliency(wide()[0]), IntegratedGradients(wide()[0], steps=5)], tmp_path / name)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_single_export_over_one_of_the_files_leaves_the_others(tmp_path):
    model, weights = wide()
    paths = onnxattr.export([Saliency(model), GradientInput(model)], tmp_path)
    Saliency(model).export(paths["Saliency"])
    found = onnxattr.load(paths["GradientInput"]).explain(X, [3, 5])
    np.testing.assert_allclose(found, X * weights[:, [3, 5]].T, rtol=1e-5)


@pytest.mark.parametrize("several", [False, True], ids=["triton", "methods"])
def test_all_files_are_whole_before_the_first_has_its_name(several, tmp_path, monkeypatch):
    """A disk may become full with the last bytes of any of them."""
    replace, sizes = os.replace, []

    def looked(old, new):
        if not sizes:
            sizes.extend(sorted(part.stat().st_size for part in tmp_path.rglob(".onnxattr-*.part")))
        replace(old, new)

    monkeypatch.setattr(os, "replace", looked)
    methods = [cls(mlp().model, labels=list("abcd")) for cls in (Saliency, GradientInput)]
    if several:
        onnxattr.export(methods, tmp_path)
    else:
        export_triton(methods[0], tmp_path)
    written = [path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == (2 if several else 3)
    assert sizes == sorted(written)


HALF_A_FOLDER = """
import os, signal, sys
import onnxattr
from onnxattr.attributions.triton import export_triton
replace = os.replace
def stopped(old, new):
    replace(old, new)
    os.kill(os.getpid(), int(sys.argv[3]))
signal.signal(signal.SIGTERM, signal.SIG_DFL)
os.replace = stopped
export_triton(onnxattr.SmoothGrad(sys.argv[1]), sys.argv[2], check=False)
"""


def test_a_process_stopped_between_the_names_of_a_folder_for_triton_gives_all(tmp_path):
    onnx.save(wide()[0], tmp_path / "m.onnx")
    export_triton(Saliency(wide()[0]), tmp_path / "t", check=False)
    command = [
        sys.executable,
        "-c",
        HALF_A_FOLDER,
        tmp_path / "m.onnx",
        tmp_path / "t",
        str(signal.SIGTERM.value),
    ]
    assert subprocess.run(command, check=False, capture_output=True).returncode == -signal.SIGTERM
    assert "seed" in [value.name for value in onnx.load(tmp_path / "t/1/model.onnx").graph.input]
    assert 'name: "seed"' in (tmp_path / "t/config.pbtxt").read_text()
    assert sorted(os.listdir(tmp_path / "t")) == ["1", "config.pbtxt"]
