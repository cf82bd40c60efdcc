"""Recurrent nodes of exported files share their sequences with no other node, and the numbers stay the same."""

import numpy as np
import onnx
import onnxruntime
import pytest
from portable.recurrent_cases import LAYERS, network, sequences

from onnxattr import IntegratedGradients, Saliency, SmoothGrad
from onnxattr.compile.explainer_file import describe
from onnxattr.compile.own_sequences import own_sequences
from onnxattr.graph.subgraphs import nodes_in
from onnxattr.inspection import findings

METHODS = {
    "gradient": (lambda model: Saliency(model), "batch"),
    "path, batch": (lambda model: IntegratedGradients(model, steps=3), "batch"),
    "path, loop": (lambda model: IntegratedGradients(model, steps=3, batch_size=2), "loop"),
    "noise, loop": (lambda model: SmoothGrad(model, nb_samples=3, batch_size=2), "loop"),
}


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("method", METHODS)
def test_files_are_right_in_openvino_by_its_table(layers, method, tmp_path):
    model = network(LAYERS[layers])
    assert "two_recurrent" in {one.minimal for one in findings(model, "openvino")}
    make, rendering = METHODS[method]
    explainer = make(model)
    explainer.export(tmp_path / "file.onnx", rendering)
    assert not findings(tmp_path / "file.onnx", "openvino")
    file = onnx.load(tmp_path / "file.onnx")
    about = describe({p.key: p.value for p in file.metadata_props})
    assert "openvino" not in about.get("runtimes", {})
    session = onnxruntime.InferenceSession(tmp_path / "file.onnx", providers=["CPUExecutionProvider"])
    feeds = {"x": sequences(), "target": np.array([0, 1, 0]), "seed": np.array(0)}
    own = [value.name for value in session.get_inputs()]
    (found,) = session.run(["attribution"], {name: feeds[name] for name in own})
    expected = explainer.explain(feeds["x"], feeds["target"])
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("layers", LAYERS)
def test_the_numbers_keep_their_bits(layers):
    model = network(LAYERS[layers])
    changed = onnx.ModelProto.FromString(model.SerializeToString())
    own_sequences(changed.graph)
    counts = [sum(node.op_type == "Where" for node in nodes_in(one.graph)) for one in (model, changed)]
    telling = sum(read == "states" and operator != "Transpose" for operator, _, read in LAYERS[layers])
    assert counts == [0, telling * (telling + 1) // 2]
    x = sequences()
    x[0, 0, :3] = np.nan, -0.0, np.inf
    given = [
        onnxruntime.InferenceSession(one.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, {"x": x}
        )[0]
        for one in (model, changed)
    ]
    np.testing.assert_array_equal(*given)


ALONE = [("LSTM", "forward", "states")]
LAST = [("LSTM", "forward", "last"), ("GRU", "reverse", "last")]


@pytest.mark.parametrize("layers", [ALONE, LAST])
def test_models_that_share_nothing_stay_as_they_are(layers):
    model = network(layers)
    before = model.SerializeToString(deterministic=True)
    own_sequences(model.graph)
    assert model.SerializeToString(deterministic=True) == before
    assert not findings(model, "openvino")
