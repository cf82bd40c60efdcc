"""Whether ONNX Runtime's sums of products with signed 8-bit weights saturate on this processor."""

from __future__ import annotations

import functools

import numpy as np
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from onnxattr.graph.subgraphs import graphs_of, nodes_of
from onnxattr.providers import runtime

#: With weights up to this size two products with unsigned 8-bit numbers fit into 16 bits: 2 * 255 * 64 < 2**15.
_FITS = 64


@functools.cache
def saturates() -> bool:
    """Whether this processor's sums do, as a small product shows: kernels without VNNI add two products in 16 bits."""
    ort = runtime()
    count = 64
    weights = numpy_helper.from_array(np.full((count, 16), 127, np.int8), "w")
    values = [
        helper.make_tensor_value_info(name, kind, [1, size])
        for name, kind, size in (("x", TensorProto.UINT8, count), ("y", TensorProto.INT32, 16))
    ]
    node = helper.make_node("MatMulInteger", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "probe", values[:1], values[1:], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.full((1, count), 255, np.uint8)})
    return bool((np.asarray(found) != count * 255 * 127).any())


def saturation(graph: ir.Graph) -> str | None:
    """What is to be said of a model whose 8-bit products may saturate on this processor; None if none does."""
    weights = _large_weights(graph)
    if weights is None or not saturates():
        return None
    return (
        f"The weights {weights!r} are signed 8-bit integers, and this processor lacks VNNI: ONNX Runtime's sums of "
        "their products may saturate at 16 bits, in the model's own predictions too, and maps are of those. "
        "Quantise with reduce_range=True or unsigned weights; see docs/models.md."
    )


def _large_weights(graph: ir.Graph) -> str | None:
    """Signed 8-bit weights, by name, whose products with quantised activations may saturate; None if there are none."""
    if not any(_quantises(node.op_type) for node in nodes_of(graph)):
        return None
    for name, value in (item for one in graphs_of(graph) for item in one.initializers.items()):
        held = value.const_value
        if held is None or held.dtype != ir.DataType.INT8 or len(held.shape) < 2:
            continue
        if np.abs(held.numpy().astype(np.int16)).max(initial=0) > _FITS:
            return name
    return None


def _quantises(operator: str) -> bool:
    """Whether an operator makes quantised activations, or multiplies them."""
    makes = "Quantize" in operator and operator != "DequantizeLinear"
    return makes or "Integer" in operator or operator.startswith(("QLinear", "QGemm", "QAttention"))
