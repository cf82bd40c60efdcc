"""What is written is whole or not there, and is never a file that is being read."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import onnx
import pytest
from support.small_models import build, node
from support.written_files import MLP, SIZE, X, contents, save_external, wide

import onnxattr
from onnxattr.attributions import GradientInput, IntegratedGradients, NoiseTunnel, Saliency, SmoothGrad
from onnxattr.attributions.triton import export_triton
from onnxattr.cli import main
from onnxattr.errors import OnnxAttrError, ParameterError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links, FIFOs and signals of Unix")


def score_model():
    """A score: the sum of the output times the target."""
    nodes = [node("Mul", ["f", "t"], ["p"]), node("ReduceSum", ["p", "axes"], ["s"], keepdims=0)]
    inputs = {"f": ["N", SIZE], "t": ["N", SIZE]}
    return build(nodes, inputs, {"s": ["N"]}, {"axes": np.array([1])})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a model, whose data is external, and rows to explain, in which the commands run."""
    save_external(tmp_path / "model.onnx", "model.bin")
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "labels.npy", np.array([0, 1]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


# What is being read ----------------------------------------------------------------------------------------------
COMMANDS = {
    "explain": ["explain", "model.onnx", "x.npy", "--targets", "labels.npy", "-o"],
    "picture": ["explain", "model.onnx", "x.npy", "-o", "maps.npy", "--targets", "labels.npy", "--picture"],
    "export": ["export", "model.onnx", "-o"],
    "beside": ["export", "model.onnx", "--weights", "beside", "-o"],
    "baseline": ["explain", "model.onnx", "x.npy", "--baseline-value", "row.npy", "-o"],
    "background": ["explain", "model.onnx", "x.npy", "--background", "x2.npy", "-o"],
    "groups": ["explain", "model.onnx", "x.npy", "--feature-mask", "mask.npy", "-o"],
    "names": ["explain", "model.onnx", "x.npy", "--labels", "names.json", "-o"],
    "evaluated names": ["evaluate", "model.onnx", "x.npy", "--labels", "names.json", "-o"],
    "exported score": ["export", "model.onnx", "--operator", "score.onnx", "-o"],
    "exported start": ["export", "model.onnx", "--baseline-value", "row.npy", "-o"],
}
READ = {
    "explain": ["model.onnx", "model.bin", "x.npy", "labels.npy"],
    "picture": ["model.onnx", "model.bin", "x.npy", "labels.npy", "maps.npy"],
    "export": ["model.onnx", "model.bin"],
    "beside": ["model.onnx", "model.bin"],
    "baseline": ["row.npy"],
    "background": ["x2.npy"],
    "groups": ["mask.npy"],
    "names": ["names.json"],
    "evaluated names": ["names.json"],
    "exported score": ["score.onnx"],
    "exported start": ["row.npy"],
}
NAMES = {
    "its name": lambda name, _: name,
    "another path": lambda name, _: f"../{os.path.basename(os.getcwd())}/./{name}",
    "a link": lambda name, suffix: os.symlink(name, f"link{suffix}") or f"link{suffix}",
    "a hard link": lambda name, suffix: os.link(name, f"hard{suffix}") or f"hard{suffix}",
}


@pytest.mark.parametrize("way", NAMES)
@pytest.mark.parametrize(("command", "name"), [(c, n) for c, names in READ.items() for n in names])
def test_what_is_read_is_not_written(command, name, way, folder, capsys, monkeypatch):
    if command == "picture" and name == "maps.npy":
        (folder / "maps.npy").write_bytes(b"old")
        if way == "a hard link":
            pytest.skip("two outputs that are two names of one file take nothing from what is read")
    np.save("row.npy", np.zeros(SIZE, np.float32))
    np.save("x2.npy", np.zeros((2, SIZE), np.float32))
    np.save("mask.npy", np.arange(SIZE) % 2)
    (folder / "names.json").write_text(json.dumps([f"class {k}" for k in range(SIZE)]))
    onnx.save(score_model(), "score.onnx")
    suffix = {"picture": ".png", "names": ".json", "evaluated names": ".json"}.get(command, ".x")
    output = NAMES[way](name, suffix)
    before = contents()
    # Before any work: no session is ever made.
    monkeypatch.setattr("onnxattr.session.Session.run", lambda *_: pytest.fail("ran before the refusal"))
    assert main([*COMMANDS[command], output]) == 2
    shown = capsys.readouterr().err
    assert "Give" in shown or "ends in .png" in shown
    assert contents() == before


@pytest.mark.parametrize("name", ["model.onnx", "model.bin"])
def test_methods_refuse_as_the_command_line_does(name, folder):
    (folder / "dir/1").mkdir(parents=True)
    os.link(name, "dir/1/model.onnx")
    before = contents()
    with pytest.raises(ParameterError, match="is a file that is being read"):
        Saliency("model.onnx").export(name)
    with pytest.raises(ParameterError, match="is a file that is being read"):
        export_triton(Saliency("model.onnx"), "dir")
    assert contents() == before


def test_methods_do_not_write_over_the_file_of_their_score(folder):
    (folder / "dir").mkdir()
    onnx.save(score_model(), "dir/Saliency.onnx")
    before = contents()
    method = Saliency("model.onnx", operator="dir/Saliency.onnx")
    for write in (
        lambda: method.export("dir/Saliency.onnx"),
        lambda: NoiseTunnel(method).export("dir/Saliency.onnx"),
        lambda: onnxattr.export([method], "dir"),
    ):
        with pytest.raises(ParameterError, match="is a file that is being read"):
            write()
    assert contents() == before


def test_weights_beside_leave_the_models_own_data_alone(tmp_path):
    """Also where the model's data has just the name that the explainer's would get."""
    weights = save_external(tmp_path / "model.onnx", "e.onnx.data")
    before = (tmp_path / "e.onnx.data").read_bytes()
    method = GradientInput(tmp_path / "model.onnx")
    method.export(tmp_path / "e.onnx", weights="beside")
    expected = X * weights[:, [3, 5]].T
    for other in (method, GradientInput(tmp_path / "model.onnx"), onnxattr.load(tmp_path / "e.onnx")):
        np.testing.assert_allclose(other.explain(X, [3, 5]), expected, rtol=1e-5, atol=1e-6)
    assert (tmp_path / "e.onnx.data").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["e.onnx", "e.onnx.1.data", "e.onnx.data", "model.onnx"]


def test_an_export_that_is_replaced_takes_its_own_data_with_it(tmp_path):
    """The old file reads its own data until the new one has its name; data of anyone else stays."""
    path = tmp_path / "e.onnx"
    seen = []
    for seed in (0, 1, 2):
        model, weights = wide(seed)
        GradientInput(model).export(path, weights="beside")
        found = onnxattr.load(path).explain(X, [3, 5])
        np.testing.assert_allclose(found, X * weights[:, [3, 5]].T, rtol=1e-5, atol=1e-6)
        seen.append(sorted(set(os.listdir(tmp_path)) - {"e.onnx"}))
    assert seen == [["e.onnx.data"], ["e.onnx.1.data"], ["e.onnx.data"]]
    # A model that merely says that another file is its own does not get it deleted.
    (tmp_path / "precious").write_bytes(b"kept")
    hostile = onnx.load(path, load_external_data=False)
    for entry in hostile.metadata_props:
        entry.value = "precious" if entry.key == "onnxattr.data" else entry.value
    path.write_bytes(hostile.SerializeToString())
    GradientInput(wide()[0]).export(path, weights="beside")
    assert (tmp_path / "precious").read_bytes() == b"kept"


# Two writers, and ends in the middle ------------------------------------------------------------------------------
@pytest.mark.parametrize("place", ["inside", "beside"])
def test_two_threads_on_one_path(place, tmp_path):
    methods = [GradientInput(wide(seed)[0]) for seed in (0, 1)]
    path, errors = tmp_path / "e.onnx", []

    def go(method):
        try:
            for _ in range(5):
                method.export(path, weights=place)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=go, args=(method,)) for method in methods]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    found = onnxattr.load(path).explain(X, [0, 1])
    assert any(np.allclose(found, method.explain(X, [0, 1]), rtol=1e-5) for method in methods)
    # One data file, which the file reads: those of the exports that were replaced are gone.
    assert len(os.listdir(tmp_path)) == (2 if place == "beside" else 1)


def test_two_exports_for_triton_are_not_mixed(tmp_path, monkeypatch):
    """The second starts when the first model has its name, and not the description of its inputs."""
    replace, model = os.replace, wide()[0]
    second = threading.Thread(target=lambda: export_triton(SmoothGrad(model), tmp_path / "both", check=False))

    def meanwhile(old, new):
        replace(old, new)
        if not second.ident:
            second.start()
            second.join(1)

    monkeypatch.setattr(os, "replace", meanwhile)
    export_triton(Saliency(model), tmp_path / "both", check=False)
    second.join()
    inputs = [value.name for value in onnx.load(tmp_path / "both" / "1" / "model.onnx").graph.input]
    config = (tmp_path / "both" / "config.pbtxt").read_text()
    assert [f'name: "{name}"' in config for name in ("x", "target", "seed")] == [
        name in inputs for name in ("x", "target", "seed")
    ]


#: Signals as a terminal gives them: a job in the background inherits some that are ignored.
FOREGROUND = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
for kind in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(kind, signal.SIG_DFL)
"""

WRITE_SLOWLY = f"""{FOREGROUND}
import sys, time
from onnxattr.files import whole_file
with whole_file(sys.argv[1]) as file:
    file.write(b"half"); file.flush()
    print("open", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_stopped_process_leaves_the_old_file_and_nothing_else(number, tmp_path):
    path = tmp_path / "e.onnx"
    path.write_bytes(b"old")
    with subprocess.Popen(
        [sys.executable, "-c", WRITE_SLOWLY, path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout.readline() == b"open\n"
        assert len(os.listdir(tmp_path)) == 2
        process.send_signal(number)
        assert process.wait(timeout=20) == -number
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["e.onnx"]


STOP_AT_THE_NAME = f"""{FOREGROUND}
import os, sys
import onnxattr
replace = os.replace
def stopped(old, new):
    replace(old, new)
    os.kill(os.getpid(), int(sys.argv[3]))
os.replace = stopped
onnxattr.GradientInput(sys.argv[1]).export(sys.argv[2], weights="beside", check=False)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("old", [False, True], ids=["new", "over another"])
def test_a_process_stopped_when_the_model_has_its_name_leaves_its_data(old, number, tmp_path):
    path, model = tmp_path / "e.onnx", tmp_path / "inner" / "m.onnx"
    model.parent.mkdir()
    if old:
        GradientInput(wide(1)[0]).export(path, weights="beside", check=False)
    onnx.save(wide(0)[0], model)
    command = [sys.executable, "-c", STOP_AT_THE_NAME, model, path, str(number.value)]
    assert subprocess.run(command, check=False, capture_output=True).returncode == -number
    found = onnxattr.load(path).explain(X, [3, 5])
    np.testing.assert_allclose(found, X * wide(0)[1][:, [3, 5]].T, rtol=1e-5)
    assert len(os.listdir(tmp_path)) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_command_has_no_traceback(number, mlp_folder):
    (mlp_folder / "o.npy").write_bytes(b"old")
    np.save("x.npy", np.ones((20_000, 6), np.float32))
    started = f"""{FOREGROUND}
import sys; from onnxattr.cli import main; print('up', flush=True); sys.exit(main(sys.argv[1:]))"""
    options = ["explain", "m.onnx", "x.npy", "-o", "o.npy", "--steps", "5000"]
    with subprocess.Popen(
        [sys.executable, "-c", started, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "up\n"
        time.sleep(2)
        process.send_signal(number)
        _, shown = process.communicate(timeout=30)
    lines = [line for line in shown.splitlines() if "grad/s" not in line and line.strip()]
    assert (process.returncode, lines) == (
        (130, ["onnxattr: interrupted"]) if number == signal.SIGINT else (-15, [])
    )
    assert (mlp_folder / "o.npy").read_bytes() == b"old"
    assert sorted(os.listdir()) == ["empty", "m.npy", "m.onnx", "o.npy", "x.npy"]


def test_old_files_stay_where_an_export_fails(tmp_path):
    (tmp_path / "e.onnx").write_bytes(b"old")
    with pytest.raises(OnnxAttrError):
        IntegratedGradients(MLP.model).export(tmp_path / "e.onnx", "stream")
    assert (tmp_path / "e.onnx").read_bytes() == b"old"
