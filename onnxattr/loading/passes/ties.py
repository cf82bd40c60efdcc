"""Which of several equal elements have a gradient, as the framework has it that a model comes from."""

from __future__ import annotations

import onnx_ir as ir

from onnxattr.graph.ties import FIRST, SHARED, TIES
from onnxattr.graph.values import ints_of

#: What writes TensorFlow's models, Keras' own export among them, and PyTorch's put in ``producer_name``.
_TENSORFLOW, _PYTORCH = "tf2onnx", "pytorch"
#: In the metadata of nodes, by PyTorch's newer exporter: the operation that a node was written for.
_OPERATION = "pkg.torch.onnx.fx_node"


def note_ties(model: ir.Model) -> None:
    """Notes in nodes where the framework of a model does otherwise than is usual of their operator.

    TensorFlow's MaxPool3DGrad gives each of the largest the whole cotangent, and its reduce_max, which tf2onnx writes
    as GlobalMaxPool at older opsets, an equal share; usual of pools is the first alone. PyTorch's max(dim) and min(dim)
    give it to the first; usual of ReduceMax and ReduceMin are equal shares, as amax has them. The model stays as it is.
    """
    tests = {_TENSORFLOW: (_is_shared, SHARED), _PYTORCH: (_has_a_place, FIRST)}
    if model.producer_name not in tests:
        return
    test, ties = tests[model.producer_name]
    for node in model.graph.all_nodes():
        if test(node):
            node.meta[TIES] = ties


def _is_shared(node: ir.Node) -> bool:
    volume = len(node.attributes.get_ints("kernel_shape", ())) == 3
    return node.op_type == "GlobalMaxPool" or (node.op_type == "MaxPool" and volume)


def _has_a_place(node: ir.Node) -> bool:
    """Whether a node stands for max(dim) or min(dim); the older exporter tells nothing, and amax is the rarer one."""
    if node.op_type not in ("ReduceMax", "ReduceMin"):
        return False
    operation = node.metadata_props.get(_OPERATION)
    if operation is not None:
        return "aten.max.dim" in operation or "aten.min.dim" in operation
    axes = ints_of(node.inputs[1]) if len(node.inputs) > 1 else None
    return axes is not None and len(axes) == 1
