"""Sizes below zero: ONNX's inference of Slice ends the whole process on them, so they are looked for before.

An input of -1 rows is what some exporters write for any number; a kernel larger than its image gives a negative size.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

import onnx
import onnx_ir as ir

from onnxattr.errors import ModelError, RuleError
from onnxattr.graph.schemas import infer
from onnxattr.graph.subgraphs import graphs_in, graphs_of, nodes_in, nodes_of, subgraphs_of
from onnxattr.graph.values import dims_of, values_of
from onnxattr.loading.checks.trial_copy import trial_copy
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


def free_negative_sizes(graph: ir.Graph) -> bool:
    """Makes a declared size of -1 an unknown one, in place; whether there was one.

    Raises:
        ModelError: If another negative size is declared.
    """
    changed = False
    for value in values_of(graph):
        least = _least(value) if isinstance(value.type, ir.TensorType) else 0
        if least < -1:
            raise ModelError(
                f"{value.name!r} is declared with the size {least}. Export the model with a size from 0 on, or with a "
                "name for a size that is free."
            )
        if least < 0:
            value.shape = ir.Shape([None if dim == -1 else dim for dim in dims_of(value) or []])
            changed = True
    return changed


def check_inferred_sizes(model: ir.Model, protobuf: Callable[[str], onnx.ModelProto]) -> None:
    """Checks a valid model for values of negative size, as far as they can be told without Slice.

    A subgraph may never run: a negative size in it is an error only if a Slice depends on it.

    Args:
        model: The model.
        protobuf: Gives it as protobuf, by what for; called if there is a Slice.

    Raises:
        ModelError: If there is one.
    """
    if not any(node.op_type == "Slice" for node in nodes_of(model.graph)):
        return
    own = {value.name for node in model.graph for value in node.outputs}
    for name, size in _negative(_inferred_without_slices(protobuf("check for negative sizes"))):
        if name in own or _slices_depend_on(model.graph, name):
            raise _would_have(name, size)
    if _slices_what_slices_lead_to(model.graph):
        _check_one_by_one(model)


def _inferred_without_slices(proto: onnx.ModelProto) -> onnx.ModelProto:
    opaque = onnx.ModelProto()
    opaque.CopyFrom(proto)
    opaque.opset_import.append(onnx.helper.make_opsetid(_OPAQUE, 1))
    for node in nodes_in(opaque.graph):
        if node.op_type == "Slice":
            node.domain = _OPAQUE
    return onnx.shape_inference.infer_shapes(opaque, data_prop=True)


def _would_have(name: str, size: int) -> ModelError:
    return ModelError(
        f"{name!r} would have the size {size}: its node takes a larger input, or a smaller kernel or padding. Check "
        "the shapes of the model's inputs and of that node."
    )


def _least(value: ir.Value) -> int:
    """The smallest known size of a value; 0 if none is below it."""
    return min((dim for dim in value.shape or () if isinstance(dim, int)), default=0)


def _names(values: Iterable[ir.Value | None]) -> set[str]:
    return {value.name for value in values if value is not None and value.name}


def _slices_depend_on(graph: ir.Graph, name: str) -> bool:
    """Whether a Slice of a graph or its subgraphs reads a value, or one that depends on it."""
    reached = {name}
    for node in nodes_of(graph):
        if reached.isdisjoint(_names(node.inputs)):
            continue
        if node.op_type == "Slice":
            return True
        reached |= _names(node.outputs)
    return False


def _slices_what_slices_lead_to(graph: ir.Graph) -> bool:
    """Whether a Slice reads what operators that may make a size negative make of the result of another Slice."""
    sliced: set[ir.Value | None] = set()
    resized: set[ir.Value | None] = set()
    for node in nodes_of(graph):
        if node.op_type == "Slice" and not resized.isdisjoint(filter(None, node.inputs)):
            return True
        inner = [value for body in subgraphs_of(node) for part in nodes_of(body) for value in part.inputs]
        read = {value for value in (*node.inputs, *inner) if value is not None}
        if not resized.isdisjoint(read) or (node.op_type not in _KEEPING and not sliced.isdisjoint(read)):
            resized.update(node.outputs)
        if node.op_type == "Slice" or not sliced.isdisjoint(read):
            sliced.update(node.outputs)
    return False


def _check_one_by_one(model: ir.Model) -> None:
    """Infers sizes node by node and looks at each before the next node is inferred.

    Raises:
        ModelError: If one is negative.
    """
    opset, copy = model.opset_imports[""], trial_copy(model)
    constants = ConstantValues(opset)
    for graph in graphs_of(copy.graph):
        for node in graph:
            if node.domain:
                continue
            # What is wrong with a node is said later.
            with contextlib.suppress(RuleError, onnx.defs.SchemaError, RuntimeError):
                infer(node, opset, constants)
            for value in node.outputs:
                size = _least(value)
                if size < 0 and (graph is copy.graph or _slices_depend_on(model.graph, str(value.name))):
                    raise _would_have(str(value.name), size)


def _negative(proto: onnx.ModelProto) -> Iterator[tuple[str, int]]:
    """The values with a negative size by name, and that size."""
    for graph in graphs_in(proto.graph):
        for value in (*graph.input, *graph.value_info, *graph.output):
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_value < 0:
                    yield value.name, dim.dim_value
