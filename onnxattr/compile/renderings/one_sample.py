"""Models whose first axis is no batch: all that they are given is one sample.

The renderings work on samples along a first axis. Such a model gets one, of size 1, around it; an exported file has the
inputs and outputs of the model itself again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import onnx
import onnx_ir as ir

from onnxattr.compile.baseline_kinds import Fed
from onnxattr.compile.renderings.model_graph import has_rows, own_name, own_names
from onnxattr.compile.renderings.rewrite import Request
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.subgraphs import nodes_in, set_nodes
from onnxattr.graph.values import dims_of, named_values
from onnxattr.loading.prepared import Prepared

_AXES = "onnxattr/sample_axis"


def as_one_sample(prepared: Prepared) -> Prepared:
    """The model with an axis of samples, of size 1, before those of its inputs, explained values and output.

    Scalar inputs stay as they are, and so does an output that has a first axis of size 1 itself.
    """
    model = prepared.clone()
    graph, values = model.graph, named_values(model.graph)
    op = OpBuilder(graph, prepared.opset, prefix="onnxattr")
    for index, old in enumerate(list(graph.inputs)):
        if has_rows(old):
            new = ir.Value(name=old.name, type=old.type, shape=ir.Shape([1, *(dims_of(old) or [])]))
            old.name = op.unique_name(f"{old.name}_alone")
            graph.inputs[index] = new
            ir.convenience.replace_all_uses_with(old, _squeezed(op, new, old))
    for name in prepared.wrt:
        value = values[name]
        if value.producer() is not None:
            uses = list(value.uses())
            inner = _squeezed(op, _unsqueezed(op, value), value)
            for use in uses:
                use.node.replace_input_with(use.idx, inner)
    outputs = [values[name] for name in prepared.outputs]
    graph.outputs[:] = [
        value if _has_axis(prepared, str(value.name)) else _unsqueezed(op, value) for value in outputs
    ]
    graph.sort()
    one = all(dim == 1 for dim in dims_of(prepared.value(prepared.output)) or [])
    return replace(prepared, model=model, unit=prepared.unit if one else None)


def keeps_output(prepared: Prepared) -> bool:
    """Whether the output of a model has an axis of samples by itself, of size 1."""
    return _has_axis(prepared, prepared.output)


def _has_axis(prepared: Prepared, name: str) -> bool:
    return (dims_of(prepared.value(name)) or [None])[0] == 1


def _squeezed(op: OpBuilder, value: ir.Value, like: ir.Value) -> ir.Value:
    inner = op.Squeeze(value, [0])
    inner.shape, inner.type = like.shape, like.type
    return inner


def _unsqueezed(op: OpBuilder, value: ir.Value) -> ir.Value:
    """A value with the axis of samples, under its own name; the value itself gets another."""
    name, dims = value.name, dims_of(value)
    value.name = op.unique_name(f"{name}_alone")
    outer = op.Unsqueeze(value, [0])
    outer.name, outer.type = name, value.type
    if dims is not None:
        outer.shape = ir.Shape([1, *dims])
    return outer


def without_sample_axis(proto: onnx.ModelProto, request: Request, original: Prepared, labels: bool) -> None:
    """Gives an exported file the inputs and outputs of the model itself, in place."""
    prepared = request.shown
    inputs = {str(value.name) for value in original.inputs if has_rows(value)}
    outputs = set(own_names(prepared, "attribution"))
    baselines = zip(own_names(prepared, "baseline"), request.method.baseline or (), strict=False)
    inputs |= {name for name, kind in baselines if isinstance(kind, Fed)}
    if not keeps_output(original):
        inputs |= set() if labels else {own_name(prepared, "target")}
        outputs.add(own_name(prepared, "prediction"))
    others = {name for name in original.others if not _has_axis(original, name)}
    outputs |= {own_name(prepared, f"prediction_{name}") for name in others}
    graph = proto.graph
    graph.initializer.append(onnx.helper.make_tensor(_AXES, onnx.TensorProto.INT64, [1], [0]))
    before = [
        onnx.helper.make_node("Unsqueeze", [name, _AXES], [f"onnxattr/{name}_sample"])
        for name in sorted(inputs)
    ]
    after = [
        onnx.helper.make_node("Squeeze", [f"onnxattr/{name}_sample", _AXES], [name])
        for name in sorted(outputs)
    ]
    _rename(graph, inputs | outputs)
    set_nodes(graph, [*before, *graph.node, *after])
    for value in (*graph.input, *graph.output):
        if value.name in inputs | outputs:
            del value.type.tensor_type.shape.dim[0]


def _rename(graph: onnx.GraphProto, names: Collection[str]) -> None:
    """Lets nodes read and write the values with the axis of samples."""
    for node in nodes_in(graph):
        for field in (node.input, node.output):
            field[:] = [f"onnxattr/{name}_sample" if name in names else name for name in field]
