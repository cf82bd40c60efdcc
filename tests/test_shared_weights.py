"""Several methods in one folder: the numbers of single files, weights stored once, and never those of another model."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading

import numpy as np
import onnx
import onnxruntime
import pytest
from support.methods import NEEDED
from support.small_models import build, node

import onnxattr
import onnxattr.attributions as attributions
from models import efficientnet_lite0, emotion
from onnxattr import NoiseTunnel, inspection
from onnxattr.attributions import GradientInput, IntegratedGradients, Saliency, SmoothGrad
from onnxattr.autodiff.standard import STANDARD
from onnxattr.cli import main
from onnxattr.errors import ModelError, OnnxAttrError, ParameterError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SIZE = 60
X = np.random.default_rng(1).normal(size=(2, SIZE)).astype(np.float32)
FACES = np.random.default_rng(2).uniform(-1, 1, (2, 64, 64, 1)).astype(np.float32)
PHOTOS = np.random.default_rng(3).integers(0, 256, (1, 70, 90, 1)).astype(np.uint8)
SMALL = {"steps": 5, "nb_samples": 3}
GREY = {"preset": "0..1", "scale": 1, "mean": 127.5, "std": 127.5}


def wide(seed=0):
    """The path-free model y = x W with 14,400 bytes of weights, and W."""
    weights = np.random.default_rng(seed).normal(size=(SIZE, SIZE)).astype(np.float32)
    nodes = [node("MatMul", ["x", "w"], ["y"])]
    return build(nodes, {"x": ["N", SIZE]}, {"y": ["N", SIZE]}, {"w": weights}), weights


def of_faces(names, **options):
    """Methods on the emotion network, and a tunnel."""
    found = {}
    for name in names:
        kind = getattr(attributions, name)
        own = {key: value for key, value in SMALL.items() if key in attributions.base.own_names(kind)}
        found[name] = kind(emotion.ONNX_FILE, -2, 4, **own | NEEDED.get(name, {}) | options)
    return found | {"tunnel": NoiseTunnel(Saliency(emotion.ONNX_FILE, -2, 4, **options), nb_samples=3)}


def run(path, seed, **feeds):
    """All outputs of a file in a session of ONNX Runtime alone, by name."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feeds["target"] = np.array([-1, 3][: len(next(iter(feeds.values())))])
    if "seed" in [value.name for value in session.get_inputs()]:
        feeds["seed"] = np.array(seed)
    return dict(zip([value.name for value in session.get_outputs()], session.run(None, feeds), strict=True))


@pytest.mark.parametrize(
    ("names", "options", "feeds", "seed"),
    [
        (attributions.METHODS, {}, {"input_1": FACES}, 7),
        (("IntegratedGradients", "VarGrad", "GradCAM"), {"preprocess": GREY}, {"pixels": PHOTOS}, 0),
    ],
    ids=["as it is", "with preprocessing in front"],
)
def test_maps_have_the_bits_of_single_files(names, options, feeds, seed, tmp_path):
    methods = of_faces(names, **options)
    paths = onnxattr.export(methods, tmp_path / "set", check=False)
    assert paths == {name: tmp_path / "set" / f"{name}.onnx" for name in methods}
    for name, method in methods.items():
        method.export(tmp_path / "one.onnx", check=False)
        expected, found = run(tmp_path / "one.onnx", seed, **feeds), run(paths[name], seed, **feeds)
        assert list(expected) == list(found)
        for output, array in expected.items():
            assert array.tobytes() == found[output].tobytes(), (name, output)


@pytest.mark.parametrize("rendering", ["loop", "batch"])
def test_renderings_and_baselines_are_for_the_methods_that_have_them(rendering, tmp_path):
    methods = [
        Saliency(wide()[0]),
        IntegratedGradients(wide()[0], steps=5),
        SmoothGrad(wide()[0], nb_samples=3),
    ]
    paths = onnxattr.export(methods, tmp_path, rendering, baseline_input=True)
    told = {name: onnxattr.load(path).metadata for name, path in paths.items()}
    assert [each["rendering"] for each in told.values()] == ["batch", rendering, rendering]
    fed = [name for name, each in told.items() if each["explained"]["x"]["baseline"]]
    assert fed == ["IntegratedGradients"]
    found = onnxattr.load(paths["IntegratedGradients"]).explain(X, [3, 5], baselines=0.5)
    np.testing.assert_allclose(found, (X - 0.5) * wide()[1][:, [3, 5]].T, rtol=1e-5, atol=1e-5)


def test_weights_are_stored_once(tmp_path):
    """Of a network of 18.9 MB too: steps and methods cost a graph each and no weights."""
    network = efficientnet_lite0.build()
    methods = {
        name: getattr(attributions, name)(network) for name in ("Saliency", "VarGrad", "GuidedBackprop")
    }
    methods["exact"] = IntegratedGradients(network, steps=200)
    onnxattr.export(methods, tmp_path / "set", check=False)
    methods["Saliency"].export(tmp_path / "one.onnx", check=False)
    one = (tmp_path / "one.onnx").stat().st_size
    (data,) = (tmp_path / "set").glob("*.data")
    assert sum(path.stat().st_size for path in (tmp_path / "set").iterdir()) <= 1.1 * one
    assert data.stat().st_size <= 1.02 * one
    contents = {}
    for path in (tmp_path / "set").glob("*.onnx"):
        for tensor in onnx.load(path, load_external_data=False).graph.initializer:
            if tensor.external_data:
                where = {entry.key: entry.value for entry in tensor.external_data}
                assert where["location"] == data.name
                contents.setdefault(tensor.name, set()).add((where["offset"], where["length"]))
            else:
                assert tensor.ByteSize() < 1024
    places = [place for found in contents.values() for place in found]
    assert len(places) == len(contents) > 50
    held = data.read_bytes()
    large = {place: np.frombuffer(held, np.uint8, int(place[1]), int(place[0])) for place in places}
    assert len({array.tobytes() for array in large.values()}) == len(large)


def test_models_may_differ(tmp_path):
    (first, w), (second, v) = wide(0), wide(1)
    paths = onnxattr.export({"first": GradientInput(first), "second": GradientInput(second)}, tmp_path)
    for name, weights in (("first", w), ("second", v)):
        expected = X * weights[:, [3, 5]].T
        np.testing.assert_allclose(onnxattr.load(paths[name]).explain(X, [3, 5]), expected, rtol=1e-5)


def test_without_large_weights_there_is_no_data_file(tmp_path):
    model = build(
        [node("MatMul", ["x", "w"], ["y"])], {"x": ["N", 3]}, {"y": ["N", 3]}, {"w": np.eye(3, dtype="f")}
    )
    onnxattr.export([Saliency(model), GradientInput(model)], tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["GradientInput.onnx", "Saliency.onnx"]
    assert "onnxattr.data" not in {
        entry.key for entry in onnx.load(tmp_path / "Saliency.onnx").metadata_props
    }


def test_external_data_of_the_model_stays_where_it_is(tmp_path):
    model, weights = wide()
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="w", size_threshold=0)
    before = (tmp_path / "w").read_bytes()
    paths = onnxattr.export([GradientInput(tmp_path / "m.onnx")], tmp_path)
    (tmp_path / "w").unlink()
    found = onnxattr.load(paths["GradientInput"]).explain(X, [3, 5])
    np.testing.assert_allclose(found, X * weights[:, [3, 5]].T, rtol=1e-5)
    assert before == weights.tobytes()


def test_the_origin_of_a_nan_is_found_with_the_weights_beside(tmp_path):
    """Whatever folder the process is in."""
    weights = {"w": wide()[1]}
    nodes = [node("MatMul", ["x", "w"], ["m"]), node("Log", ["m"], ["y"], name="the_log")]
    model = build(nodes, {"x": ["N", SIZE]}, {"y": ["N", SIZE]}, weights)
    paths = onnxattr.export([Saliency(model)], tmp_path, check=False)
    Saliency(model).export(tmp_path / "single.onnx", weights="beside", check=False)
    for path in (paths["Saliency"], tmp_path / "single.onnx"):
        with pytest.warns(
            onnxattr.NonFiniteWarning, match="The first NaN in sample 0 is .* of the Log node 'the_log'"
        ):
            onnxattr.load(path).explain(X, [3, 5])


# ---- foreign data


def beside(folder, seed):
    """An explainer with its weights in one file beside it, written by the two ways there are."""
    model = wide(seed)[0]
    onnxattr.export([Saliency(model), GradientInput(model)], folder)
    GradientInput(model).export(folder / "single.onnx", weights="beside")


@pytest.fixture
def two(tmp_path):
    """Two folders with the same files of two models of one architecture."""
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        beside(tmp_path / str(seed), seed)
    return tmp_path / "0", tmp_path / "1"


def test_files_next_to_the_data_of_another_model_do_not_run_anywhere(two):
    """The name of the data tells its content, so that a runtime that checks nothing finds no file."""
    mine, foreign = two
    (data,), (other,) = mine.glob("weights-*.data"), foreign.glob("weights-*.data")
    assert data.stat().st_size == other.stat().st_size
    data.unlink()
    shutil.copy(other, mine)
    with pytest.raises(Exception, match=data.name):
        onnxruntime.InferenceSession(str(mine / "GradientInput.onnx"))
    with pytest.raises(ModelError, match=f"{data.name}.*is not beside the model"):
        onnxattr.load(mine / "GradientInput.onnx")


def swapped(mine, foreign, name):
    source = (
        next(foreign.glob("weights-*.data")) if name == "GradientInput.onnx" else foreign / "single.onnx.data"
    )
    place = next(mine.glob("weights-*.data")) if name == "GradientInput.onnx" else mine / "single.onnx.data"
    shutil.copy(source, place)


def one_bit(mine, foreign, name):
    place = next(mine.glob("weights-*.data")) if name == "GradientInput.onnx" else mine / "single.onnx.data"
    content = bytearray(place.read_bytes())
    content[5000] ^= 1
    place.write_bytes(content)


@pytest.mark.parametrize("damage", [swapped, one_bit])
@pytest.mark.parametrize("name", ["GradientInput.onnx", "single.onnx"])
def test_other_content_under_the_right_name_is_refused(name, damage, two, capsys):
    mine, foreign = two
    path = mine / name
    assert onnxattr.load(path).explain(X, [3, 5]).shape == X.shape
    damage(mine, foreign, name)
    onnxruntime.InferenceSession(str(path))  # which nothing there would tell
    for door in (onnxattr.load, inspection.inspect, inspection.facts, Saliency):
        with pytest.raises(ModelError, match="is not the one that the model was written with: its SHA-256"):
            door(path)
    np.save(mine / "x.npy", X)
    assert main(["explain", str(path), str(mine / "x.npy"), "-o", str(mine / "maps.npy")]) == 2
    assert "Put the file of the same export beside the model" in capsys.readouterr().err
    assert not (mine / "maps.npy").exists()
    beside(mine, 0)  # another export mends it
    np.testing.assert_allclose(onnxattr.load(path).explain(X, [3, 5]), X * wide()[1][:, [3, 5]].T, rtol=1e-5)


# ---- nothing half-written


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
several.trial_of = lambda *_: end
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


# ---- bad input


def model_file(folder):
    onnx.save(wide()[0], folder / "Saliency.onnx")
    return folder / "Saliency.onnx"


REFUSED = {
    "no methods": (lambda s, folder: ([], folder / "set"), "methods is empty"),
    "no methods in a mapping": (lambda s, folder: ({}, folder / "set"), "methods is empty"),
    "a path": (lambda s, folder: ("model.onnx", folder / "set"), "expected methods"),
    "no method": (lambda s, folder: ([s, 3], folder / "set"), "methods holds 3: expected methods on a model"),
    "a class": (lambda s, folder: ([Saliency], folder / "set"), "expected methods on a model"),
    "twice": (lambda s, folder: ([s, s], folder / "set"), "Two methods would be written into Saliency.onnx"),
    "two names to some systems": (lambda s, folder: ({"a": s, "A": s}, folder / "set"), "Two methods"),
    "a name with a folder": (lambda s, folder: ({"a/b": s}, folder / "set"), "expected the name of a file"),
    "a name that leads up": (lambda s, folder: ({"..": s}, folder / "set"), "expected the name of a file"),
    "an empty name": (lambda s, folder: ({".onnx": s}, folder / "set"), "expected the name of a file"),
    "a number as a name": (lambda s, folder: ({1: s}, folder / "set"), "expected the name of a file"),
    "a long name": (lambda s, folder: ({"a" * 300: s}, folder), "cannot be written"),
    "a file's name": (lambda s, folder: ([s], folder / "e.onnx"), "is named as a file is"),
    "a file": (lambda s, folder: ([s], model_file(folder)), "is a file: several methods"),
    "no name": (lambda s, folder: ([s], ""), "expected the path of a folder"),
    "in a file": (lambda s, folder: ([s], model_file(folder) / "set"), "cannot be made"),
    "the model's own file": (
        lambda s, folder: ([Saliency(model_file(folder))], folder),
        "is a file that is being read",
    ),
    "a folder in a file's place": (
        lambda s, folder: ((folder / "Saliency.onnx").mkdir() or [s], folder),
        "it is a folder",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_before_the_work(case, tmp_path, monkeypatch):
    give, text = REFUSED[case]
    methods, folder = give(Saliency(wide()[0]), tmp_path)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(Saliency, "explainer", lambda *_, **__: pytest.fail("worked before the refusal"))
    with pytest.raises(ParameterError, match=text):
        onnxattr.export(methods, folder)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("given", "text"),
    [({"rendering": "loops"}, "rendering='loops'"), ({"target": "label"}, "target='label'")],
)
def test_words_that_are_none(given, text, tmp_path):
    with pytest.raises(ParameterError, match=text):
        onnxattr.export([Saliency(wide()[0])], tmp_path / "set", **given)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("given", "text"),
    [({"rendering": "loop"}, "nothing to repeat"), ({"baseline_input": True}, "no baseline")],
)
def test_what_no_method_has_is_said(given, text, tmp_path):
    with pytest.raises(OnnxAttrError, match=text):
        onnxattr.export([Saliency(wide()[0]), GradientInput(wide()[0])], tmp_path / "set", **given)
    assert not (tmp_path / "set").exists()


def test_a_link_into_another_folder_has_no_data_beside_it(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "Saliency.onnx").symlink_to(tmp_path / "elsewhere" / "e.onnx")
    with pytest.raises(ParameterError, match="is a link into another folder"):
        onnxattr.export([Saliency(wide()[0])], tmp_path / "set")


# ---- the command line


def test_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, weights = wide()
    onnx.save(model, "m.onnx")
    named = ["--method", "GradientInput", "--method", "IntegratedGradients", "--method", "SmoothGrad"]
    assert main(["export", "m.onnx", *named, "--steps", "3", "--nb-samples", "2", "-o", "set"]) == 0
    assert capsys.readouterr().out.split() == [
        word for name in named[1::2] for word in ("wrote", f"set/{name}.onnx")
    ]
    told = {name: onnxattr.load(f"set/{name}.onnx").metadata["parameters"] for name in named[1::2]}
    assert told["IntegratedGradients"]["steps"] == 3
    assert told["SmoothGrad"]["nb_samples"] == 2
    found = onnxattr.load("set/GradientInput.onnx").explain(X, [3, 5])
    np.testing.assert_allclose(found, X * weights[:, [3, 5]].T, rtol=1e-5)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (["--method", "Saliency", "-o", "set"], "--method Saliency is given twice"),
        (["--method", "GradientInput", "--steps", "3", "-o", "set"], "has an option --steps"),
        (
            ["--method", "GradientInput", "--noise-kind", "relative", "-o", "set"],
            "has an option --noise-kind",
        ),
        (["--method", "GradientInput", "-o", "set.onnx"], "set.onnx is named as a file is"),
        (["--method", "GradientInput", "-o", "m.onnx"], "m.onnx is a file"),
        (
            ["--method", "GradientInput", "-o", "set", "--weights", "inside"],
            "--weights inside is for one file",
        ),
        (["--method", "GradientInput", "--triton", "set"], "--triton writes the folder of one model"),
    ],
)
def test_command_line_refuses(given, text, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    onnx.save(wide()[0], "m.onnx")
    assert main(["export", "m.onnx", "--method", "Saliency", *given]) == 2
    assert text in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["m.onnx"]


def test_inspect_tells_the_data_and_who_shares_it(tmp_path):
    paths = onnxattr.export([Saliency(wide()[0]), GradientInput(wide()[0])], tmp_path)
    (data,) = tmp_path.glob("weights-*.data")
    facts = inspection.facts(paths["Saliency"])["data_file"]
    assert facts == {
        "file": data.name,
        "bytes": data.stat().st_size,
        "sha256": facts["sha256"],
        "shared_with": ["GradientInput.onnx"],
    }
    assert data.name == f"weights-{facts['sha256'][:16]}.data"
    json.dumps(facts)
    text = inspection.inspect(paths["Saliency"])
    assert f"in {data.name}, which belongs beside this file, {facts['bytes']:,} bytes" in text
    assert "shared with GradientInput.onnx" in text
    Saliency(wide()[0]).export(tmp_path / "inside.onnx")
    assert inspection.facts(tmp_path / "inside.onnx")["data_file"] is None
