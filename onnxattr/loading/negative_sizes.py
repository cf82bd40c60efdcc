"""Sizes below zero: ONNX's inference of Slice ends the whole process on them, so they are looked for before.

An input of -1 rows is what some exporters write for any number; a kernel larger than its image gives a negative size.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from onnxattr.errors import ModelError
from onnxattr.subgraphs import graphs_in, nodes_in

#: A domain whose operators inference knows nothing of.
_OPAQUE = "onnxattr.opaque"


def free_negative_sizes(proto: onnx.ModelProto) -> None:
    """Makes a declared size of -1 an unknown one.

    Raises:
        ModelError: If another negative size is declared.
    """
    for value, dim in _negative(proto):
        if dim.dim_value < -1:
            raise ModelError(
                f"{value.name!r} is declared with the size {dim.dim_value}. Export the model with a size from 0 on, or "
                "with a name for a size that is free."
            )
        dim.ClearField("dim_value")


def check_inferred_sizes(proto: onnx.ModelProto) -> None:
    """Checks a valid model for values of negative size, as far as they can be told without Slice.

    Raises:
        ModelError: If there is one.
    """
    if not any(node.op_type == "Slice" for node in nodes_in(proto.graph)):
        return
    opaque = onnx.ModelProto()
    opaque.CopyFrom(proto)
    opaque.opset_import.append(onnx.helper.make_opsetid(_OPAQUE, 1))
    for node in nodes_in(opaque.graph):
        if node.op_type == "Slice":
            node.domain = _OPAQUE
    for value, dim in _negative(onnx.shape_inference.infer_shapes(opaque, data_prop=True)):
        raise ModelError(
            f"{value.name!r} would have the size {dim.dim_value}: its node takes a larger input, or a smaller kernel "
            "or padding. Check the shapes of the model's inputs and of that node."
        )


def _negative(
    proto: onnx.ModelProto,
) -> Iterator[tuple[onnx.ValueInfoProto, onnx.TensorShapeProto.Dimension]]:
    """The values with a negative size, and that size."""
    for graph in graphs_in(proto.graph):
        for value in (*graph.input, *graph.value_info, *graph.output):
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_value < 0:
                    yield value, dim
