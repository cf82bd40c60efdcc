"""Sizes below zero: ONNX's inference of Slice ends the whole process on them, so they are looked for before.

An input of -1 rows is what some exporters write for any number; a kernel larger than its image gives a negative size.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass

from onnxattr.errors import ModelError, RuleError
from onnxattr.graph.schemas import infer
from onnxattr.graph.subgraphs import bodies_of, graphs_in, graphs_of, nodes_in
from onnxattr.graph.values import dims_of
from onnxattr.loading.constant_values import ConstantValues

#: Operators whose outputs are no smaller than an input, or are of the shape that they say.
_KEEPING = frozenset(
    """
    Abs Add And BatchNormalization Cast Ceil Clip Concat Cos Div Dropout Elu Equal Erf Exp Flatten Floor Gather
    GatherElements Gelu Gemm Greater GroupNormalization HardSigmoid HardSwish Identity InstanceNormalization
    LayerNormalization LeakyRelu Less Log LogSoftmax MatMul Max Mean Min Mod Mul Neg Not Or PRelu Pow Reciprocal
    ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu Round ScatterElements ScatterND Shape
    Sigmoid Sign Sin Slice Softmax Softplus Sqrt Squeeze Sub Sum Tanh Transpose Unsqueeze Where
    """.split()
)
#: A domain whose operators inference knows nothing of.
_OPAQUE = "onnxattr.opaque"


def free_negative_sizes(proto: onnx.ModelProto) -> bool:
    """Makes a declared size of -1 an unknown one, in place; whether there was one.

    Raises:
        ModelError: If another negative size is declared.
    """
    changed = False
    for value, dim in _negative(proto):
        if dim.dim_value < -1:
            raise ModelError(
                f"{value.name!r} is declared with the size {dim.dim_value}. Export the model with a size from 0 on, or "
                "with a name for a size that is free."
            )
        dim.ClearField("dim_value")
        changed = True
    return changed


def check_inferred_sizes(proto: onnx.ModelProto) -> None:
    """Checks a valid model for values of negative size, as far as they can be told without Slice.

    A subgraph may never run: a negative size in it is an error only if a Slice depends on it.

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
    inferred = onnx.shape_inference.infer_shapes(opaque, data_prop=True)
    own = {name for node in proto.graph.node for name in node.output}
    for value, dim in _negative(inferred):
        if value.name in own or _slices_depend_on(inferred.graph, value.name):
            raise _would_have(value.name, dim.dim_value)
    if _slices_what_slices_lead_to(proto):
        _check_one_by_one(proto)


def _would_have(name: str, size: int) -> ModelError:
    return ModelError(
        f"{name!r} would have the size {size}: its node takes a larger input, or a smaller kernel or padding. Check "
        "the shapes of the model's inputs and of that node."
    )


def _slices_depend_on(graph: onnx.GraphProto, name: str) -> bool:
    """Whether a Slice of a graph or its subgraphs reads a value, or one that depends on it."""
    reached = {name}
    for node in nodes_in(graph):
        if reached.isdisjoint(node.input):
            continue
        if node.op_type == "Slice":
            return True
        reached.update(node.output)
    return False


def _slices_what_slices_lead_to(proto: onnx.ModelProto) -> bool:
    """Whether a Slice reads what operators that may make a size negative make of the result of another Slice."""
    sliced: set[str] = set()
    resized: set[str] = set()
    for node in nodes_in(proto.graph):
        if node.op_type == "Slice" and not resized.isdisjoint(node.input):
            return True
        inner = [name for body in bodies_of(node) for part in nodes_in(body) for name in part.input]
        read = {*node.input, *inner}
        if not resized.isdisjoint(read) or (node.op_type not in _KEEPING and not sliced.isdisjoint(read)):
            resized.update(node.output)
        if node.op_type == "Slice" or not sliced.isdisjoint(read):
            sliced.update(node.output)
    return False


def _check_one_by_one(proto: onnx.ModelProto) -> None:
    """Infers sizes node by node and looks at each before the next node is inferred.

    Raises:
        ModelError: If one is negative.
    """
    opset = next((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), 0)
    model = ir.serde.deserialize_model(proto)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    constants = ConstantValues(opset)
    for graph in graphs_of(model.graph):
        for node in graph:
            if node.domain not in ("", "ai.onnx"):
                continue
            # What is wrong with a node is said later.
            with contextlib.suppress(RuleError, onnx.defs.SchemaError, RuntimeError):
                infer(node, opset, constants)
            for value in node.outputs:
                size = min((dim for dim in dims_of(value) or [] if isinstance(dim, int)), default=0)
                if size < 0 and (graph is model.graph or _slices_depend_on(proto.graph, str(value.name))):
                    raise _would_have(str(value.name), size)


def _negative(
    proto: onnx.ModelProto,
) -> Iterator[tuple[onnx.ValueInfoProto, onnx.TensorShapeProto.Dimension]]:
    """The values with a negative size, and that size."""
    for graph in graphs_in(proto.graph):
        for value in (*graph.input, *graph.value_info, *graph.output):
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_value < 0:
                    yield value, dim
