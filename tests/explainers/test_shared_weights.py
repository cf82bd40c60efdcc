"""Several methods in one folder: the numbers of single files, weights stored once, and never those of another model."""

import os
import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
from support.methods import NEEDED
from support.small_models import build, node
from support.written_files import SIZE, X, beside, wide

import onnxattr
import onnxattr.attributions as attributions
from models import efficientnet_lite0, emotion
from onnxattr import NoiseTunnel, inspection
from onnxattr.attributions import GradientInput, IntegratedGradients, Saliency, SmoothGrad
from onnxattr.cli import main
from onnxattr.errors import ModelError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

FACES = np.random.default_rng(2).uniform(-1, 1, (2, 64, 64, 1)).astype(np.float32)
PHOTOS = np.random.default_rng(3).integers(0, 256, (1, 70, 90, 1)).astype(np.uint8)
SMALL = {"steps": 5, "nb_samples": 3}
GREY = {"preset": "0..1", "scale": 1, "mean": 127.5, "std": 127.5}


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
        (("Saliency", "SquareGrad"), {}, {"input_1": FACES}, 7),
        pytest.param(attributions.METHODS, {}, {"input_1": FACES}, 7, marks=pytest.mark.slow),
        (("IntegratedGradients", "VarGrad", "GradCAM"), {"preprocess": GREY}, {"pixels": PHOTOS}, 0),
    ],
    ids=["two methods", "all methods", "with preprocessing in front"],
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
