"""An exported explainer is one valid file of standard operators that needs NumPy and ONNX Runtime alone."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from support.methods import NEEDED, ON_A_PATH, ON_ANY_MODEL
from support.small_models import build, cnn_nchw, mlp, node, two_inputs

import onnxattr.attributions as attributions
from models import efficientnet_lite0, emotion, photos
from onnxattr.compile.noise import SEEDS
from onnxattr.errors import ModelError, ParameterError
from onnxattr.loading.reading.source import metadata_of

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

METHODS = attributions.METHODS
SMALL = {"steps": 5, "nb_samples": 4}
OWN = {"IntegratedGradients": ["steps"], "SmoothGrad": ["nb_samples"], "SquareGrad": ["nb_samples"],
       "VarGrad": ["nb_samples"], **{name: ["nb_samples"] for name in NEEDED}}  # fmt: skip


def make(method, model, **options):
    own = {name: SMALL[name] for name in OWN.get(method, [])} | NEEDED.get(method, {})
    return getattr(attributions, method)(model, **own | options)


def exported(method, model, path, **options):
    make(method, model, **options).export(path)
    return path


def run(path, **feeds):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def seed_of(method, seed=0):
    return {"seed": np.array(seed)} if "nb_samples" in OWN.get(method, []) else {}


@pytest.mark.parametrize("method", METHODS)
def test_file_is_valid_standard_onnx(method, tmp_path):
    model = onnx.load(exported(method, emotion.ONNX_FILE, tmp_path / "explainer.onnx"))
    onnx.checker.check_model(model, full_check=True)
    assert {entry.domain for entry in model.opset_import} <= {"", "ai.onnx"}
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    assert not model.functions
    assert not any(tensor.external_data for tensor in model.graph.initializer)


EXTRA = 64 * 1024


@pytest.mark.parametrize("method", METHODS)
def test_weights_are_stored_once(method, tmp_path):
    size = exported(method, emotion.ONNX_FILE, tmp_path / "explainer.onnx").stat().st_size
    assert size <= 1.02 * emotion.ONNX_FILE.stat().st_size + EXTRA


def test_a_baseline_image_is_stored_once(tmp_path):
    """In the graph, where a loop and a batch read it; the metadata have its hash."""
    image = np.random.default_rng(0).uniform(-1, 1, (64, 64, 1)).astype(np.float32)
    for rendering in ("batch", "loop"):
        path = tmp_path / f"{rendering}.onnx"
        make("IntegratedGradients", emotion.ONNX_FILE, baseline_value=image).export(path, rendering)
        assert path.stat().st_size <= 1.02 * emotion.ONNX_FILE.stat().st_size + EXTRA
        about = json.loads(metadata_of(onnx.load(path))["onnxattr.explainer"])["parameters"]["baseline_value"]
        assert about["shape"] == [64, 64, 1]
        assert about["sha256"] == hashlib.sha256(image.tobytes()).hexdigest()


@pytest.mark.parametrize("rendering", ["batch", "loop"])
@pytest.mark.parametrize("method", OWN)
def test_an_empty_batch_gets_an_empty_map(method, rendering, tmp_path):
    """As in a stream where a filter left no row."""
    make(method, mlp().model, reducer=None).export(tmp_path / "explainer.onnx", rendering)
    feeds = {"x": np.zeros((0, 6), np.float32), "target": np.zeros(0, np.int64), **seed_of(method)}
    outputs = run(tmp_path / "explainer.onnx", **feeds)
    assert outputs["attribution"].shape == (0, 6)
    assert outputs["prediction"].shape[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_weights_of_a_large_model_are_stored_once(method, tmp_path):
    network = efficientnet_lite0.build()
    path = exported(method, network, tmp_path / "explainer.onnx")
    onnx.checker.check_model(str(path), full_check=True)
    assert path.stat().st_size <= 1.02 * network.ByteSize() + EXTRA
    image = photos.centre_crop("chelsea").astype(np.float32).transpose(2, 0, 1)[None] / 128 - 1
    outputs = run(path, image=image, target=np.array([-1]), **seed_of(method))
    session = onnxruntime.InferenceSession(network.SerializeToString())
    prediction = session.run(None, {"image": image})[0]
    np.testing.assert_allclose(
        outputs["prediction"], prediction, rtol=1e-6, atol=1e-6 * np.abs(prediction).max()
    )
    maps = make(method, network).explain(image)
    assert np.abs(outputs["attribution"] - maps).max() <= 5e-6 * np.abs(maps).max()


INPUT = ("image", "float", ["samples", 3, 8, 9])
INTERFACES = {
    ("Saliency", "max"): [1, 8, 9],
    ("GradientInput", None): [3, 8, 9],
    ("IntegratedGradients", "mean"): [1, 8, 9],
    ("VarGrad", "sum"): [1, 8, 9],
}


@pytest.mark.parametrize(("method", "reducer"), INTERFACES)
def test_inputs_and_outputs(method, reducer, tmp_path):
    graph = onnx.load(exported(method, cnn_nchw().model, tmp_path / "e.onnx", reducer=reducer)).graph

    def described(values):
        for value in values:
            tensor = value.type.tensor_type
            dims = [dim.dim_value or "rows" for dim in tensor.shape.dim]
            yield value.name, onnx.TensorProto.DataType.Name(tensor.elem_type), dims

    seed = [("seed", "INT64", [])] if method == "VarGrad" else []
    image, target = ("image", "FLOAT", ["rows", 3, 8, 9]), ("target", "INT64", ["rows"])
    assert sorted(described(graph.input)) == sorted([image, target, *seed])
    attribution = ("attribution", "FLOAT", ["rows", *INTERFACES[method, reducer]])
    own = ["convergence_delta", "relative_gap"] if method == "IntegratedGradients" else []
    measures = [(name, "FLOAT", ["rows"]) for name in own]
    assert list(described(graph.output)) == [("prediction", "FLOAT", ["rows", 5]), attribution, *measures]


@pytest.mark.parametrize("method", ON_ANY_MODEL)
def test_two_inputs_have_an_attribution_each(method, tmp_path):
    case = two_inputs()
    path = exported(method, case.model, tmp_path / "explainer.onnx", reducer=None)
    outputs = run(path, **case.inputs, target=np.array([0, -1, 2]), **seed_of(method))
    measures = ["convergence_delta", "relative_gap"] if method in ON_A_PATH else []
    assert list(outputs) == ["prediction", "attribution_image", "attribution_features", *measures]
    assert [outputs[f"attribution_{name}"].shape for name in case.inputs] == [(3, 3, 6, 6), (3, 4)]


@pytest.mark.parametrize("method", ["Saliency", "IntegratedGradients", "SmoothGrad"])
def test_names_that_the_model_has_itself_are_marked(method, tmp_path):
    nodes = [node("Add", ["target", "seed"], ["attribution"]), node("Relu", ["attribution"], ["prediction"])]
    shape = ["N", 4]
    model = build(nodes, {"target": shape, "seed": shape}, {"prediction": shape})
    path = exported(method, model, tmp_path / "explainer.onnx")
    x = np.ones((2, 4), np.float32)
    seed = {f"onnxattr_{name}": value for name, value in seed_of(method).items()}
    outputs = run(path, target=x, seed=x, onnxattr_target=np.array([1, 2]), **seed)
    np.testing.assert_allclose(outputs["onnxattr_prediction"], 2 * x)
    assert {name for name in outputs if "attribution" in name} == {"attribution_target", "attribution_seed"}


@pytest.mark.parametrize("method", ["Saliency", "IntegratedGradients", "SmoothGrad"])
@pytest.mark.parametrize("taken", ["target", "seed", "prediction", "attribution", "convergence_delta"])
def test_nodes_may_have_the_names_of_inputs_and_outputs(method, taken, tmp_path):
    nodes = [node("Tanh", ["x"], ["y"], name=taken)]
    model = build(nodes, {"x": ["N", 4]}, {"y": ["N", 4]})
    x = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)
    made = make(method, model, **({"seed": 1} if method == "SmoothGrad" else {}))
    expected = made.explain(x, [1, 2])
    made.export(tmp_path / "explainer.onnx")
    outputs = run(tmp_path / "explainer.onnx", x=x, target=np.array([1, 2]), **seed_of(method, 1))
    np.testing.assert_allclose(outputs["prediction"], np.tanh(x), rtol=1e-6)
    np.testing.assert_allclose(outputs["attribution"], expected, rtol=1e-5, atol=1e-7)


def test_a_value_with_a_name_of_the_steps_is_named():
    nodes = [node("Tanh", ["x"], ["onnxattr/row"]), node("Exp", ["onnxattr/row"], ["y"])]
    model = build(nodes, {"x": ["N", 4]}, {"y": ["N", 4]})
    with pytest.raises(ModelError, match="value 'onnxattr/row', a name that methods need"):
        make("IntegratedGradients", model).explain(np.ones((2, 4), np.float32), [1, 2])


@pytest.mark.parametrize("method", ["Saliency", "IntegratedGradients", "VarGrad"])
@pytest.mark.parametrize("baseline", [0.0, 1000.0])
def test_prediction_is_the_original_one(method, baseline, tmp_path):
    case = mlp()
    options = {"baseline_value": baseline} if method == "IntegratedGradients" else {}
    path = exported(method, case.model, tmp_path / "explainer.onnx", **options)
    outputs = run(path, **case.inputs, target=np.array([0, 1, 2]), **seed_of(method))
    session = onnxruntime.InferenceSession(case.model.SerializeToString())
    np.testing.assert_allclose(outputs["prediction"], session.run(None, case.inputs)[0], rtol=1e-6)


def test_rows_of_a_batch_do_not_touch_each_other(tmp_path):
    case = cnn_nchw()
    path = exported("IntegratedGradients", case.model, tmp_path / "explainer.onnx")
    labels = np.array([4, -1, 2])
    together = run(path, **case.inputs, target=labels)["attribution"]
    apart = [
        run(path, image=case.given[i : i + 1], target=labels[i : i + 1])["attribution"] for i in range(3)
    ]
    np.testing.assert_allclose(together, np.concatenate(apart), rtol=1e-5, atol=1e-6 * np.abs(together).max())
    predicted = run(path, **case.inputs, target=np.full(3, -1))
    chosen = predicted["prediction"].argmax(axis=1)
    given = run(path, **case.inputs, target=chosen)["attribution"]
    np.testing.assert_array_equal(predicted["attribution"], given)


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 2])
@pytest.mark.parametrize("method", ["SmoothGrad", "SquareGrad", "VarGrad"])
def test_seed_of_the_file_is_the_seed_of_the_method(method, seed, tmp_path):
    case = mlp()
    path = exported(method, case.model, tmp_path / "explainer.onnx")
    found = run(path, **case.inputs, target=np.array([0, 1, 2]), seed=np.array(seed))["attribution"]
    expected = make(method, case.model, seed=seed).explain(case.given, [0, 1, 2])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def test_seeds_go_round(tmp_path):
    """A seed beyond the last one is one of the others; labels beyond the classes: test_labels_of_files.py."""
    case = mlp()
    path = exported("SmoothGrad", case.model, tmp_path / "explainer.onnx")

    def maps(seed):
        return run(path, **case.inputs, target=np.array([0, 1, 2]), seed=np.array(seed))["attribution"]

    np.testing.assert_array_equal(maps(5 + 3 * SEEDS), maps(5))
    np.testing.assert_array_equal(maps(5 - SEEDS), maps(5))


def test_without_noise_there_is_no_seed(tmp_path):
    case = mlp()
    path = exported("SmoothGrad", case.model, tmp_path / "explainer.onnx", noise=0)
    found = run(path, **case.inputs, target=np.array([0, 1, 2]))["attribution"]
    expected = make("SmoothGrad", case.model, noise=0).explain(case.given, [0, 1, 2])
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


EXPORT_TWICE = """
import json, sys, warnings
warnings.simplefilter("ignore")
import onnxattr.attributions as attributions
needed = json.loads(sys.argv[3])
for method in sys.argv[4:]:
    getattr(attributions, method)(sys.argv[1], **needed.get(method, {})).export(
        f"{sys.argv[2]}/{method}.onnx", check=False
    )
"""


#: One method of each kind of graph; the others are slow.
KINDS = ("Saliency", "IntegratedGradients", "VarGrad", "GradCAM")


@pytest.mark.parametrize(
    "methods",
    [KINDS, pytest.param([name for name in METHODS if name not in KINDS], marks=pytest.mark.slow)],
    ids=["kinds", "others"],
)
def test_same_parameters_give_the_same_bytes(methods, tmp_path):
    """Also in another process, where sets have another order."""
    for run_number in "12":
        (tmp_path / run_number).mkdir()
        environment = os.environ | {"PYTHONHASHSEED": run_number}
        arguments = [emotion.ONNX_FILE, tmp_path / run_number, json.dumps(NEEDED), *methods]
        arguments = [sys.executable, "-c", EXPORT_TWICE, *arguments]
        subprocess.run(arguments, check=True, env=environment, cwd=Path(__file__).parents[2])
    for method in methods:
        first, second = ((tmp_path / number / f"{method}.onnx").read_bytes() for number in "12")
        assert first == second, method


RUN_ALONE = """
import json, sys
import numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
feeds = {"image": numpy.load(sys.argv[2]), "target": numpy.array([1, -1, 0]), "seed": numpy.array(0)}
prediction, attribution = session.run(None, feeds)
numpy.save(sys.argv[3], attribution)
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""


def test_file_runs_without_this_package(tmp_path):
    case = cnn_nchw()
    path = exported("SmoothGrad", case.model, tmp_path / "explainer.onnx")
    np.save(tmp_path / "x.npy", case.given)
    arguments = [path, tmp_path / "x.npy", tmp_path / "maps.npy"]
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALONE, *arguments],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    loaded = json.loads(done.stdout)
    assert {"numpy", "onnxruntime"} <= set(loaded)
    assert not {"onnxattr", "onnx", "onnx_ir", "tensorflow", "keras", "torch"} & set(loaded)
    expected = make("SmoothGrad", case.model).explain(case.given, [1, -1, 0])
    found = np.load(tmp_path / "maps.npy")
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def test_outputs_of_another_rank_take_weights(tmp_path):
    nodes = [node("Mul", ["x", "x"], ["y"])]
    model = build(nodes, {"x": ["N", 2, 3]}, {"y": ["N", 2, 3]})
    path = exported("GradientInput", model, tmp_path / "explainer.onnx")
    x, weights = np.random.default_rng(0).normal(size=(2, 2, 2, 3)).astype(np.float32)
    np.testing.assert_allclose(run(path, x=x, target=weights)["attribution"], 2 * x * x * weights, rtol=1e-6)


LIMITED = """
import resource, sys
from onnxattr.attributions import Saliency
method = Saliency(sys.argv[1], operator="classification")
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    method.export(sys.argv[2])
except Exception as error:
    print(type(error).__name__)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process")
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "explainer.onnx"
    path.write_bytes(b"the old one")
    arguments = [sys.executable, "-c", LIMITED, emotion.ONNX_FILE, path]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    assert done.stdout == "ParameterError\n"
    assert path.read_bytes() == b"the old one"
    assert [file.name for file in tmp_path.iterdir()] == ["explainer.onnx"]


@pytest.mark.parametrize("name", ["nowhere/explainer.onnx", "."])
def test_a_path_that_cannot_be_written(name, tmp_path):
    with pytest.raises(ParameterError, match="cannot be written"):
        exported("Saliency", mlp().model, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_finished_export_replaces_the_old_file(tmp_path):
    path = tmp_path / "explainer.onnx"
    path.write_bytes(b"the old one")
    exported("Saliency", mlp().model, path)
    onnx.checker.check_model(str(path))
    assert [file.name for file in tmp_path.iterdir()] == ["explainer.onnx"]
