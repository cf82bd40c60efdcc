"""An exported file tells what it is, runs like its method, and keeps its weights where it was told to."""

import copy
import hashlib
import json

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from support.small_models import cnn_nchw, mlp, two_inputs

import onnxattr
from models import emotion
from onnxattr.attributions import GradientInput, IntegratedGradients, Saliency, SmoothGrad, VarGrad
from onnxattr.errors import ModelError, ParameterError, ShapeError, TargetError
from onnxattr.inspection import inspect

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

CASES = {
    "gradient": (Saliency, {}, "auto"),
    "batch": (IntegratedGradients, {"steps": 5}, "batch"),
    "loop": (IntegratedGradients, {"steps": 5, "batch_size": 2}, "auto"),
    "noise": (SmoothGrad, {"nb_samples": 3, "seed": 4}, "batch"),
    "noise in a loop": (VarGrad, {"nb_samples": 3, "seed": 4, "batch_size": 2}, "loop"),
}


def as_list(maps):
    return list(maps.values()) if isinstance(maps, dict) else maps if isinstance(maps, list) else [maps]


def test_files_are_known_by_the_name_that_they_had_from_the_first_version_on(tmp_path):
    Saliency(mlp().model).export(tmp_path / "e.onnx")
    about = {entry.key: entry.value for entry in onnx.load(tmp_path / "e.onnx").metadata_props}
    assert json.loads(about["onnxattr.explainer"])["method"] == "Saliency"


@pytest.mark.parametrize("model", [cnn_nchw, mlp, two_inputs])
@pytest.mark.parametrize("name", CASES)
def test_a_loaded_file_explains_like_its_method(name, model, tmp_path):
    (cls, options, rendering), case = CASES[name], model()
    method = cls(case.model, **options)
    method.export(tmp_path / "e.onnx", rendering)
    explainer = onnxattr.load(tmp_path / "e.onnx")  # with the seed of the method
    for given, targets in ((case.given, [1, -1, 0]), (case.inputs, None)):
        found, expected = explainer.explain(given, targets), method.explain(given, targets)
        assert type(found) is type(expected)
        for a, b in zip(as_list(found), as_list(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=2e-6 * np.abs(b).max())
    np.testing.assert_allclose(
        explainer.predict(case.given), method.predict(case.given), rtol=1e-6, atol=1e-6
    )
    if cls is IntegratedGradients:
        delta = explainer.convergence_delta(case.given, [1, -1, 0])
        np.testing.assert_allclose(delta, method.convergence_delta(case.given, [1, -1, 0]), atol=1e-5)
        gap = explainer.relative_gap(case.given, [1, -1, 0])
        np.testing.assert_allclose(gap, method.relative_gap(case.given, [1, -1, 0]), rtol=1e-4, atol=1e-5)
    else:
        with pytest.raises(ParameterError, match="no path"):
            explainer.convergence_delta(case.given)
        with pytest.raises(ParameterError, match="no path, and so no relative gap"):
            explainer.relative_gap(case.given)


def test_what_the_graph_of_a_file_holds_cannot_be_set(tmp_path):
    """It would have no effect; what each call looks at can be set, and a copy keeps it."""
    case = mlp()
    SmoothGrad(case.model, nb_samples=3, seed=4).export(tmp_path / "e.onnx")
    explainer = onnxattr.load(tmp_path / "e.onnx")
    for name in ("nb_samples", "noise", "reducer", "batch_size", "steps", "name"):
        with pytest.raises(AttributeError, match=f"^{name} of an exported file is fixed: export a method"):
            setattr(explainer, name, 9)
    twin = copy.copy(explainer)
    explainer.seed, explainer.check_finite = 5, "error"
    maps = SmoothGrad(case.model, nb_samples=3, seed=5).explain(case.given)
    np.testing.assert_allclose(explainer.explain(case.given), maps, rtol=0, atol=2e-6 * np.abs(maps).max())
    assert (twin.seed, twin.check_finite) == (4, "warn")


def test_delta_is_the_sum_of_attributions_minus_the_difference_of_scores(tmp_path):
    case = cnn_nchw()
    baseline = np.full(case.given.shape[1:], 0.25, np.float32)
    method = IntegratedGradients(case.model, steps=4, reducer=None, baseline_value=baseline)
    labels = np.array([1, 4, 0])
    total = method.explain(case.given, labels).sum(axis=(1, 2, 3))
    ends = method.predict(case.given) - method.predict(np.stack([baseline] * 3))
    expected = total - ends[np.arange(3), labels]
    assert np.abs(expected).min() > 1e-4  # four steps are coarse
    np.testing.assert_allclose(method.convergence_delta(case.given, labels), expected, atol=1e-5)
    reduced = IntegratedGradients(case.model, steps=4, baseline_value=baseline)
    np.testing.assert_allclose(reduced.convergence_delta(case.given, labels), expected, atol=1e-5)
    relative = np.abs(expected / ends[np.arange(3), labels])
    np.testing.assert_allclose(reduced.relative_gap(case.given, labels), relative, rtol=1e-4, atol=1e-5)
    # Where the input is the baseline there is no difference, and nothing to miss.
    np.testing.assert_array_equal(method.relative_gap(np.stack([baseline] * 3), labels), 0)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("rendering", ["batch", "loop"])
def test_baseline_as_an_input(rendering, rows, tmp_path):
    case = cnn_nchw()
    options = {"steps": 5, "batch_size": 2}
    IntegratedGradients(case.model, **options).export(tmp_path / "e.onnx", rendering, baseline_input=True)
    baselines = np.random.default_rng(3).normal(size=(rows, *case.given.shape[1:])).astype(np.float32)
    explainer = onnxattr.load(tmp_path / "e.onnx", baseline=baselines)
    found = explainer.explain(case.given, [1, 4, 0])
    for row, label in enumerate([1, 4, 0]):
        own = IntegratedGradients(case.model, **options, baseline_value=baselines[row % rows])
        expected = own.explain(case.given[row : row + 1], [label])
        np.testing.assert_allclose(found[row : row + 1], expected, atol=2e-6 * np.abs(expected).max())


def test_baselines_of_several_inputs(tmp_path):
    case = two_inputs()
    IntegratedGradients(case.model, steps=5).export(tmp_path / "e.onnx", baseline_input=True)
    baseline = {name: array[:1] * 0 + 0.5 for name, array in case.inputs.items()}
    found = onnxattr.load(tmp_path / "e.onnx", baseline=baseline).explain(case.inputs, [0, 1, 2])
    expected = IntegratedGradients(case.model, steps=5, baseline_value=0.5).explain(case.inputs, [0, 1, 2])
    for name, maps in expected.items():
        np.testing.assert_allclose(found[name], maps, atol=2e-6 * np.abs(maps).max())


def test_weights_as_targets(tmp_path):
    case = mlp()
    method = GradientInput(case.model)
    shape = method.predict(case.given).shape
    weights = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    method.export(tmp_path / "e.onnx", target="weights")
    explainer = onnxattr.load(tmp_path / "e.onnx")
    expected = method.explain(case.given, weights)
    np.testing.assert_allclose(explainer.explain(case.given, weights), expected, rtol=1e-6, atol=1e-7)
    with pytest.raises(TargetError, match="target='labels'"):
        explainer.explain(case.given, [0, 1, 2])


def test_metadata(tmp_path):
    method = IntegratedGradients(emotion.ONNX_FILE, output_layer=-2, steps=7, batch_size=4)
    method.export(tmp_path / "e.onnx")
    about = onnxattr.load(tmp_path / "e.onnx").metadata
    assert about["method"] == "IntegratedGradients"
    assert about["parameters"]["steps"] == 7
    assert about["parameters"]["output_layer"] == -2
    assert about["rendering"] == "loop"
    assert about["model_sha256"] == hashlib.sha256(emotion.ONNX_FILE.read_bytes()).hexdigest()
    assert about["explained"]["input_1"]["axes"] == ["row", "height", "width", "channel"]
    text = inspect(tmp_path / "e.onnx")
    for part in ("steps: 7", about["model_sha256"], "rendering: loop", "convergence_delta"):
        assert part in text


def plain_run(path, **feeds):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, feeds)


PLACES = {
    # where the model's weights are, where they shall be -> the files written, and whether the explainer holds them
    ("inside", "auto"): ([], True),
    ("inside", "inside"): ([], True),
    ("inside", "beside"): (["e.onnx.data"], False),
    ("external", "auto"): ([], False),
    ("external", "shared"): ([], False),
    ("external", "inside"): ([], True),
    ("external", "beside"): (["e.onnx.data"], False),
}


@pytest.mark.parametrize(("have", "want"), PLACES)
def test_weights_are_where_they_shall_be(have, want, tmp_path):
    model = onnx.load(emotion.ONNX_FILE)
    external = {"save_as_external_data": True, "location": "w.data", "size_threshold": 0}
    onnx.save(model, tmp_path / "m.onnx", **(external if have == "external" else {}))
    before = {file.name for file in tmp_path.iterdir()}
    method = Saliency(tmp_path / "m.onnx", output_layer=-2)
    x = np.random.default_rng(0).random((2, 64, 64, 1)).astype(np.float32)
    expected = method.explain(x, [3, -1])
    method.export(tmp_path / "e.onnx", weights=want)
    files, inside = PLACES[have, want]
    assert {file.name for file in tmp_path.iterdir()} - before == {"e.onnx", *files}
    assert ((tmp_path / "e.onnx").stat().st_size > 200_000) == inside
    onnx.checker.check_model(str(tmp_path / "e.onnx"), full_check=True)
    _, found = plain_run(tmp_path / "e.onnx", input_1=x, target=np.array([3, -1]))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(onnxattr.load(tmp_path / "e.onnx").explain(x, [3, -1]), expected)


def test_shared_weights_below_another_folder(tmp_path):
    (tmp_path / "model").mkdir()
    model = onnx.load(emotion.ONNX_FILE)
    onnx.save(
        model, tmp_path / "model" / "m.onnx", save_as_external_data=True, location="w", size_threshold=0
    )
    method = Saliency(tmp_path / "model" / "m.onnx", output_layer=-2)
    method.export(tmp_path / "e.onnx", weights="shared")
    x = np.random.default_rng(0).random((1, 64, 64, 1)).astype(np.float32)
    _, found = plain_run(tmp_path / "e.onnx", input_1=x, target=np.array([-1]))
    np.testing.assert_array_equal(found, method.explain(x))
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(ParameterError, match="must lie in the folder"):
        method.export(tmp_path / "elsewhere" / "e.onnx", weights="shared")
    assert not list((tmp_path / "elsewhere").iterdir())


def wrong_rendering(path):
    IntegratedGradients(mlp().model).export(path, "stream")


def loop_of_one_gradient(path):
    Saliency(mlp().model).export(path, "loop")


def loop_without_bound(path):
    IntegratedGradients(mlp().model, batch_size=None).export(path, "loop")


def no_baseline(path):
    Saliency(mlp().model).export(path, baseline_input=True)


def no_external_data(path):
    Saliency(mlp().model).export(path, weights="shared")


def no_explainer(path):
    onnx.save(mlp().model, path)
    onnxattr.load(path)


def damaged_metadata(path):
    Saliency(mlp().model).export(path)
    model = onnx.load(path)
    (entry,) = (entry for entry in model.metadata_props if entry.key == "onnxattr.explainer")
    entry.value = json.dumps("nothing")[1:]
    onnx.save(model, path)
    onnxattr.load(path)


def without_baseline(path):
    IntegratedGradients(mlp().model).export(path, baseline_input=True)
    onnxattr.load(path).explain(mlp().given)


def baseline_of_two_rows(path):
    IntegratedGradients(mlp().model).export(path, baseline_input=True)
    onnxattr.load(path, baseline=mlp().given[:2]).explain(mlp().given)


REFUSALS = {
    wrong_rendering: (ParameterError, "rendering='stream'"),
    loop_of_one_gradient: (ParameterError, "nothing to repeat"),
    loop_without_bound: (ParameterError, "batch_size"),
    no_baseline: (ParameterError, "has no baseline"),
    no_external_data: (ParameterError, "it has none"),
    no_explainer: (ModelError, "is not an explainer"),
    damaged_metadata: (ModelError, "is damaged.*export it again"),
    without_baseline: (ParameterError, "baseline=<array>"),
    baseline_of_two_rows: (ShapeError, "1 or 3 rows"),
}


@pytest.mark.parametrize("action", REFUSALS)
def test_refusals(action, tmp_path):
    error, words = REFUSALS[action]
    with pytest.raises(error, match=words):
        action(tmp_path / "e.onnx")


@pytest.mark.slow
def test_a_model_above_two_gibibytes(tmp_path):
    """Its weights stay external, the explainer shares them, and the method runs on it."""
    size = 16_500
    rng = np.random.default_rng(0)
    layers = [rng.normal(0, 1 / np.sqrt(size), size=(size, size)).astype(np.float32) for _ in range(2)]
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "w0"], ["a"]),
        onnx.helper.make_node("Relu", ["a"], ["b"]),
        onnx.helper.make_node("MatMul", ["b", "w1"], ["y"]),
    ]
    vector = onnx.helper.make_tensor_value_info("x", 1, ["N", size])
    output = onnx.helper.make_tensor_value_info("y", 1, ["N", size])
    graph = ir.serde.deserialize_graph(onnx.helper.make_graph(nodes, "big", [vector], [output]))
    for node, position, (index, array) in zip(list(graph)[::2], (1, 1), enumerate(layers), strict=True):
        weight = node.inputs[position]
        weight.const_value, weight.dtype, weight.shape = (
            ir.tensor(array),
            ir.DataType.FLOAT,
            ir.Shape(array.shape),
        )
        weight.name = f"w{index}"
        graph.register_initializer(weight)
    graph.opset_imports[""] = 18
    ir.save(ir.Model(graph, ir_version=8), tmp_path / "big.onnx", external_data="big.data")
    x = rng.normal(size=(2, size)).astype(np.float32)
    method = IntegratedGradients(tmp_path / "big.onnx", steps=3)
    found = method.explain(x, [0, 5])
    expected = np.zeros_like(x)
    for alpha, weight in zip((0, 0.5, 1), (0.25, 0.5, 0.25), strict=True):
        active = (alpha * x) @ layers[0] > 0
        expected += weight * x * ((active * layers[1][:, [0, 5]].T) @ layers[0].T)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    method.export(tmp_path / "e.onnx", "loop")
    assert (tmp_path / "e.onnx").stat().st_size < 100_000
    outputs = plain_run(tmp_path / "e.onnx", x=x, target=np.array([0, 5]))
    np.testing.assert_allclose(outputs[1], expected, atol=1e-5 * np.abs(expected).max())
