"""A fixed batch becomes dynamic where rows are provably apart; else rows go one by one, with equal numbers."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from support.small_models import build, node

import onnxattr
from models import digits, gunpoint
from onnxattr import GradientInput, IntegratedGradients, SmoothGrad, VarGrad
from onnxattr.errors import ModelError, ParameterError
from onnxattr.loading.free_batch import batch_size_of
from onnxattr.loading.prepared import prepare

METHODS = [GradientInput, IntegratedGradients, SmoothGrad, VarGrad]


def with_batch(path, size):
    """The model with every batch dimension fixed."""
    model = onnx.load(path)
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_value = size
    return model


def tiny(nodes, output_shape, batch, **weights):
    """A model x (batch, 4) -> y of the given nodes."""
    return build(nodes, {"x": [batch, 4]}, {"y": output_shape}, weights)


W = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
INT = np.int64

PROVEN = {
    "dense": tiny([node("MatMul", ["x", "w"], ["y"])], [1, 3], 1, w=W),
    "gemm": tiny([node("Gemm", ["x", "w", "b"], ["y"])], [1, 3], 1, w=W, b=W[0]),
    "batch written into a reshape": tiny(
        [node("Reshape", ["x", "s"], ["a"]), node("ReduceMax", ["a", "axes"], ["y"], keepdims=0)],
        [1, 2], 1, s=np.array([1, 2, 2], INT), axes=np.array([2], INT),
    ),
    "softmax of a batch of three": tiny([node("Softmax", ["x"], ["y"], axis=1)], [3, 4], 3),
    "shape arithmetic": tiny(
        [
            node("Shape", ["x"], ["a"]),
            node("Slice", ["a", "zero", "one"], ["b"]),
            node("Concat", ["b", "rest"], ["s"], axis=0),
            node("Reshape", ["x", "s"], ["c"]),
            node("ReduceMean", ["c", "one"], ["y"], keepdims=0),
        ],
        [1, 2], 1, zero=np.array([0], INT), one=np.array([1], INT), rest=np.array([2, 2], INT),
    ),
    "transposed and back": tiny(
        [
            node("Transpose", ["x"], ["t"], perm=[1, 0]),
            node("ReduceLogSumExp", ["t", "axes"], ["s"]),
            node("MatMul", ["v", "s"], ["u"]),
            node("Transpose", ["u"], ["y"], perm=[1, 0]),
        ],
        [2, 3], 2, axes=np.array([0], INT), v=W[:1].T,
    ),
    "array of the input's shape": tiny(
        [
            node("Shape", ["x"], ["a"]),
            node("ConstantOfShape", ["a"], ["z"], value=helper.make_tensor("v", TensorProto.FLOAT, [1], [2.0])),
            node("Mul", ["x", "z"], ["y"]),
        ],
        [1, 4], 1,
    ),
}  # fmt: skip

UNPROVEN = {
    "softmax over the batch": tiny([node("Softmax", ["x"], ["y"], axis=0)], [1, 4], 1),
    "sum over the batch, kept": tiny([node("ReduceSum", ["x", "axes"], ["y"])], [1, 4], 1, axes=np.array([0], INT)),
    "rows times rows": tiny(
        [node("Transpose", ["x"], ["t"]), node("MatMul", ["x", "t"], ["y"])], [1, 1], 1
    ),
    "loop over rows": tiny(
        [
            node("Loop", ["two", "", "x"], ["y"], body=helper.make_graph(
                [node("Identity", ["go"], ["on"]), node("Softmax", ["s"], ["t"], axis=0)],
                "body",
                [helper.make_tensor_value_info("i", TensorProto.INT64, []),
                 helper.make_tensor_value_info("go", TensorProto.BOOL, []),
                 helper.make_tensor_value_info("s", TensorProto.FLOAT, [1, 4])],
                [helper.make_tensor_value_info("on", TensorProto.BOOL, []),
                 helper.make_tensor_value_info("t", TensorProto.FLOAT, [1, 4])],
            ))
        ],
        [1, 4], 1, two=np.array(2, INT),
    ),
    "number of rows used as a number": tiny(
        [
            node("Shape", ["x"], ["a"], end=1),
            node("Cast", ["a"], ["n"], to=TensorProto.FLOAT),
            node("Div", ["x", "n"], ["y"]),
        ],
        [1, 4], 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PROVEN)
def test_proven_models_take_any_number_of_rows(case):
    model = PROVEN[case]
    prepared = prepare(model)
    assert batch_size_of(prepared.inputs[0]) is None
    fixed = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    x = np.random.default_rng(1).normal(size=(3 * fixed, 4)).astype(np.float32)
    original = onnxruntime.InferenceSession(model.SerializeToString())
    expected = np.concatenate(
        [original.run(None, {"x": x[i : i + fixed]})[0] for i in range(0, len(x), fixed)]
    )
    method = GradientInput(model, operator="regression")
    np.testing.assert_allclose(method.predict(x), expected, rtol=1e-6)
    target = np.ones(expected.shape, np.float32)
    maps = [method.explain(x[i : i + fixed], target[:fixed]) for i in range(0, len(x), fixed)]
    np.testing.assert_allclose(method.explain(x, target), np.concatenate(maps), rtol=1e-6)


@pytest.mark.parametrize("case", UNPROVEN)
def test_unproven_models_keep_their_batch_and_run_row_by_row(case, tmp_path):
    model = UNPROVEN[case]
    assert batch_size_of(prepare(model).inputs[0]) == 1
    x = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
    target = np.ones((1, model.graph.output[0].type.tensor_type.shape.dim[1].dim_value), np.float32)
    method = IntegratedGradients(model, operator="regression", steps=3)
    together = method.explain(x, np.repeat(target, 3, axis=0))
    apart = np.concatenate([method.explain(row[None], target) for row in x])
    np.testing.assert_allclose(together, apart, rtol=1e-6)
    with pytest.raises(ModelError, match="fixed batch"):
        method.export(tmp_path / "never.onnx", rendering="batch")


@pytest.mark.parametrize("case", UNPROVEN)
def test_files_of_unproven_models_run_row_by_row(case, tmp_path):
    model = UNPROVEN[case]
    x = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
    baselines = np.random.default_rng(2).normal(size=x.shape).astype(np.float32)
    target = np.ones((3, model.graph.output[0].type.tensor_type.shape.dim[1].dim_value), np.float32)
    method = IntegratedGradients(model, operator="regression", steps=3, verify=False)
    method.export(tmp_path / "loop.onnx", "loop", target="weights", baseline_input=True)
    loaded = onnxattr.load(tmp_path / "loop.onnx")
    for start in (baselines, baselines[:1], 0.5):
        found = loaded(x, target, baselines=start)
        expected = method(x, target, baselines=start)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-6)
    np.testing.assert_allclose(loaded.predict(x), method.predict(x), rtol=1e-6)


def test_files_of_unproven_models_do_not_repeat_noise(tmp_path):
    method = SmoothGrad(UNPROVEN["softmax over the batch"], operator="regression", nb_samples=3)
    method.export(tmp_path / "noisy.onnx", "loop", target="weights")
    loaded = onnxattr.load(tmp_path / "noisy.onnx")
    x, target = np.ones((2, 4), np.float32), np.ones((2, 4), np.float32)
    np.testing.assert_allclose(loaded.predict(x), method.predict(x), rtol=1e-6)
    with pytest.raises(ParameterError, match="one by one"):
        loaded.explain(x, target)


@pytest.mark.parametrize("rows", ["freed", "one by one"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", [digits, gunpoint])
def test_fixed_batch_of_one_explains_like_the_dynamic_model(model, method, rows, monkeypatch):
    images = model.data()[2][:3]
    expected = method(str(model.ONNX_FILE), operator="classification").explain(images)
    if rows == "one by one":
        monkeypatch.setattr("onnxattr.loading.prepared.free_batch", lambda graph, opset: False)
    found = method(with_batch(model.ONNX_FILE, 1), operator="classification").explain(images)
    assert np.abs(found - expected).max() <= 2e-6 * np.abs(expected).max()
