"""A Tanh of an exported file is no part of a convolution, and the numbers are those of the method."""

import numpy as np
import onnx
import onnxruntime
import pytest
from portable.photo_cases import network

from onnxattr import IntegratedGradients, Saliency
from onnxattr.compile.explainer_file import describe
from onnxattr.compile.unfused import keep_apart
from onnxattr.graph.subgraphs import nodes_in
from onnxattr.inspection import findings


def ran(model: onnx.ModelProto, feeds):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {value.name: feeds[value.name] for value in session.get_inputs()})


@pytest.mark.parametrize("rendering", ["batch", "loop"])
@pytest.mark.parametrize("method", [Saliency, IntegratedGradients])
def test_files_are_right_on_webgpu_by_its_table(method, rendering, tmp_path):
    model = network()
    assert {one.minimal for one in findings(model, "webgpu") if one.minimal} == {"tanh_behind_conv"}
    explainer = method(model) if method is Saliency else method(model, steps=3, batch_size=2)
    explainer.export(tmp_path / "file.onnx", rendering if method is IntegratedGradients else "batch")
    file = onnx.load(tmp_path / "file.onnx")
    assert not [one for one in findings(file, "webgpu") if one.happens == "wrong"]
    assert "runtimes" not in describe({p.key: p.value for p in file.metadata_props})
    # Images of 0 to 255, whose operands of the Tanh are beyond 88 too.
    feeds = {
        "x": np.random.default_rng(0).uniform(0, 255, (2, 3, 32, 32)).astype(np.float32),
        "target": np.array([0, 4]),
    }
    found = dict(zip((value.name for value in file.graph.output), ran(file, feeds), strict=True))
    expected = explainer.explain(feeds["x"], feeds["target"])
    np.testing.assert_allclose(found["attribution"], expected, atol=1e-5 * np.abs(expected).max())


def test_predictions_of_any_size_stay():
    model = network()
    apart = onnx.ModelProto.FromString(model.SerializeToString())
    keep_apart(apart.graph)
    x = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
    x[0, 0, 0, 0] = np.nan
    for scale in (1e-3, 1, 1e4):
        expected, found = (ran(one, {"x": x * np.float32(scale)})[0] for one in (model, apart))
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("between", ["MaxPool", "Neg"])
def test_a_tanh_that_is_no_part_stays(between):
    model = network()
    conv = model.graph.node[0]
    options = {"kernel_shape": [1, 1]} if between == "MaxPool" else {}
    model.graph.node.insert(1, onnx.helper.make_node(between, [conv.output[0]], ["between"], **options))
    model.graph.node[2].input[0] = "between"
    keep_apart(model.graph)
    # The second Tanh alone has its axis.
    assert sum(node.op_type == "Unsqueeze" for node in nodes_in(model.graph)) == 1
