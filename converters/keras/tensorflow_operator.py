"""Operators written in TensorFlow's functions, as Xplique's users have them: traced there, converted by tf2onnx.

The model is a stand-in while TensorFlow traces: each call of it takes a tensor and gives a placeholder. What lies
before and behind the calls is converted, and the model itself takes the place of the placeholders.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import onnx_ir as ir

from onnxattr.errors import ConversionError, OperatorError
from onnxattr.graph.subgraphs import subgraphs_of
from onnxattr.graph.values import dims_of
from onnxattr.loading.load import load
from onnxattr.scores.arrays import Array
from onnxattr.scores.calls import Model, copied

from ..common import dependencies
from .tf2onnx_driver import convert_function

#: Most calls of the model in one operator.
_MOST_CALLS = 8


def traced(function: Callable[..., Any], f: Model, x: Any, y: Array) -> Array:
    """What the function gives, as nodes of the graph that f, x and y are in.

    Args:
        function: g(model, inputs, targets) of TensorFlow's functions.
        f: The model, of one input and one output.
        x: Its input.
        y: The targets.

    Raises:
        OperatorError: If the model has several inputs or outputs, or the function cannot be converted.
    """
    if not isinstance(x, Array) or len(f.output_names) != 1:
        raise OperatorError(
            "models of several inputs or outputs need a function of arrays, not of TensorFlow's tensors"
        )
    # The model's own output has the shape and type of all its outputs.
    output = f(x)
    graph, calls = _converted(function, x, y, output)
    op, mapped = y.op, dict[ir.Value, ir.Value]()
    for name, value in graph.initializers.items():
        assert value.const_value is not None, name
        mapped[value] = op.constant(value.const_value.numpy())
    inputs = {str(value.name): value for value in graph.inputs}
    outputs = {str(value.name): value for value in graph.outputs}
    for name, array in (("x", x), ("y", y)):
        if name in inputs:
            mapped[inputs[name]] = array.value
    pending = list(graph)

    def append_up_to(wanted: ir.Value) -> Array:
        needed = _needed(wanted)
        for node in [node for node in pending if node in needed]:
            pending.remove(node)
            mapped.update(
                zip(node.outputs, copied(op, node, lambda v: v and mapped.get(v, v)).outputs, strict=True)
            )
        return y.new(mapped[wanted])

    for number, own in enumerate(calls):
        found = output if own else f(append_up_to(outputs[f"z{number}"]))
        if f"f{number}" in inputs:
            mapped[inputs[f"f{number}"]] = found.value
    return append_up_to(outputs["score"])


def _converted(
    function: Callable[..., Any], x: Array, y: Array, output: Array
) -> tuple[ir.Graph, list[bool]]:
    """The graph of a function, and for each call of the model whether that is at x itself.

    Its inputs are x, y and f0, f1, ..., what the calls give; its outputs score and z0, z1, ..., what they take.
    """
    tf = dependencies.tensorflow()
    calls: list[Any] = []

    def whole(x: Any, y: Any, *results: Any) -> Any:
        calls.clear()

        def model(z: Any, *_: Any, **__: Any) -> Any:
            if len(calls) == _MOST_CALLS:
                raise OperatorError(f"it calls the model more than {_MOST_CALLS} times")
            calls.append(None if z is x else tf.convert_to_tensor(z))
            return results[len(calls) - 1]

        score = tf.identity(tf.convert_to_tensor(function(model, x, y)))
        return [score, *(tf.identity(z) for z in calls if z is not None)]

    specs = [_spec(tf, array) for array in (x, y, *[output] * _MOST_CALLS)]
    concrete = tf.function(whole, autograph=False).get_concrete_function(*specs)
    names = ["x", "y", *(f"f{number}" for number in range(_MOST_CALLS))]
    inputs = {
        tensor.name: name for tensor, name in zip(concrete.inputs, names, strict=False) if tensor.consumers()
    }
    if not calls:
        raise OperatorError("it does not call the model")
    own = [z is None for z in calls]
    results = ["score", *(f"z{number}" for number, at_x in enumerate(own) if not at_x)]
    outputs = {tensor.name: name for tensor, name in zip(concrete.outputs, results, strict=True)}
    opset = min(y.op.opset, 18)
    converted = convert_function(concrete, inputs, outputs, {}, opset, {}, 0)
    model = load(_at(converted, y.op.opset))
    return model.graph, own


def _spec(tf: Any, array: Array) -> Any:
    dims = [d if isinstance(d, int) else None for d in dims_of(array.value) or []]
    return tf.TensorSpec(dims, array.dtype)


def _at(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    own = next(entry.version for entry in model.opset_import if entry.domain == "")
    try:
        return model if own == opset else onnx.version_converter.convert_version(model, opset)
    except RuntimeError as error:
        raise ConversionError(f"it cannot be brought to opset {opset}: {error}") from error


def _needed(value: ir.Value) -> set[ir.Node]:
    """The nodes that a value is computed by."""
    found: set[ir.Node] = set()
    waiting = [value]
    while waiting:
        node = waiting.pop().producer()
        if node is not None and node not in found:
            found.add(node)
            waiting += [v for v in node.inputs if v is not None]
            waiting += [
                v for body in subgraphs_of(node) for inner in body.all_nodes() for v in inner.inputs if v
            ]
    return found
