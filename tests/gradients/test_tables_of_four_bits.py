"""Embedded words whose table has numbers of four bits, as ONNX Runtime's tool quantises a Gather."""

import numpy as np
import onnx
import pytest
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from support.tiny_graphs import parse, run

from onnxattr import vjp

IDS = np.array([[1, 4, 2], [0, 0, 3]])


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("opset", [17, 18, 21])
def test_embedded_words_can_be_explained(opset, symmetric):
    """Below opset 21, which has no such numbers, the kernel is kept: e = table[ids], y = sum(tanh(e) c)."""
    rng = np.random.default_rng(0)
    text = (
        "g (int64[N,3] ids, float[N,3,40] c) => (float[N,3,40] y)"
        " { e = Gather(table, ids) t = Tanh(e) y = Mul(t, c) }"
    )
    model = parse(text, opset, 10)
    model.graph.initializer.append(
        onnx.numpy_helper.from_array(rng.normal(size=(5, 40)).astype(np.float32), "table")
    )
    tool = MatMulNBitsQuantizer(
        model, block_size=16, is_symmetric=symmetric, op_types_to_quantize=("Gather",)
    )
    tool.process()
    small = tool.model.model
    assert [node.op_type for node in small.graph.node] == ["GatherBlockQuantized", "Tanh", "Mul"]
    (words,) = small.graph.node[0].output
    c, ct = rng.normal(size=(2, 2, 3, 40)).astype(np.float32)
    asked = onnx.ModelProto()
    asked.CopyFrom(small)
    asked.graph.output.append(onnx.helper.make_tensor_value_info(words, onnx.TensorProto.FLOAT, None))
    right = run(asked, ids=IDS, c=c)
    found = run(vjp(small, words), ids=IDS, c=c, y_cotangent=ct)
    np.testing.assert_array_equal(found["y"], right["y"])
    expected = ct * c * (1 - np.tanh(right[words].astype(np.float64)) ** 2)
    np.testing.assert_allclose(found[f"{words}_gradient"], expected, rtol=0, atol=1e-6)
