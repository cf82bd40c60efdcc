"""The plain gradient graph, for anyone who wants just that."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import onnx
import onnx_ir as ir

from onnxattr.autodiff.engine import pullback
from onnxattr.autodiff.registry import RuleTable
from onnxattr.autodiff.standard import STANDARD
from onnxattr.compile.clean_up import finish
from onnxattr.errors import ModelError, one_door
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.values import dims_of, named_values
from onnxattr.loading.load import load
from onnxattr.loading.places import check_outside
from onnxattr.loading.precision import set_precision
from onnxattr.loading.prepared import opset_of
from onnxattr.loading.reading.source import ModelSource, name_of
from onnxattr.loading.verify import check_choice, verify_model


def vjp(
    model: ModelSource,
    wrt: str | Sequence[str] | None = None,
    outputs: str | Sequence[str] | None = None,
    *,
    rules: RuleTable = STANDARD,
    rewrites: Collection[str] | None = None,
    precision: str = "model",
    verify: bool | str = "auto",
) -> onnx.ModelProto:
    """Appends the vector-Jacobian product of a model to it.

    Args:
        model: A path, bytes, ``onnx.ModelProto``, ``onnx_ir.Model`` or Keras model.
        wrt: Names of the values to differentiate with respect to; None for every float input.
        outputs: Names of the values that get a cotangent; None for every float output.
        rules: The table of VJP rules. What it has a rule for is differentiated by that rule: operators that loading
            would write out in others stay.
        rewrites: Names of the passes that may make the gradient cheaper, of ``onnxattr.autodiff.rewrites.REWRITES``;
            None for all. They leave its numbers up to rounding, and are left out for tests and measurements.
        precision: "model" for gradients in the dtypes of the model; "float32" to compute what is float16 or bfloat16
            in float32, inputs, outputs and forward pass included.
        verify: Whether the predictions of the model, before the gradient is appended, are compared with those of
            ``model`` in ONNX Runtime: "auto" for small models that preparing changed, True for all, False for none.

    Returns:
        The model with one more input per entry of ``outputs``, ``<output>_cotangent`` of the output's shape and
        dtype, and one more output per entry of ``wrt``, ``<wrt>_gradient``: xbar = sum over outputs of ybar dy/dx.
        Nodes of the model are left as they were, but identical ones are merged and those that nothing needs
        removed; the model's own outputs and ``outputs`` stay outputs.

    Raises:
        ModelError: If the model is invalid, a name is unknown or not float, or preparing it changed its prediction.
        ParameterError: If ``precision``, ``rewrites`` or ``verify`` is none of these.
        UnsupportedOpError: If an operator on the way has no rule.
    """
    check_choice(verify)
    graph_model = load(model, rules)
    with one_door(f"{name_of(model)} cannot be differentiated"):
        set_precision(graph_model, precision)
        verify_model(graph_model, verify)
        return _with_gradients(graph_model, wrt, outputs, rules, rewrites)


def _with_gradients(
    graph_model: ir.Model,
    wrt: str | Sequence[str] | None,
    outputs: str | Sequence[str] | None,
    rules: RuleTable,
    rewrites: Collection[str] | None,
) -> onnx.ModelProto:
    graph = graph_model.graph
    sources = _pick(graph, wrt, graph.inputs, "wrt")
    scores = _pick(graph, outputs, graph.outputs, "outputs")
    op = OpBuilder(graph, opset_of(graph_model), prefix="vjp")
    cotangents = {y: op.input(f"{y.name}_cotangent", y.dtype, dims_of(y)) for y in scores}
    gradients = pullback(op, cotangents, sources, rules, rewrites=rewrites)
    graph.outputs.extend(y for y in scores if not y.is_graph_output())
    for x, gradient in zip(sources, gradients, strict=True):
        graph.outputs.append(named_copy(op, gradient, f"{x.name}_gradient", x))
    return finish(graph_model)


def named_copy(op: OpBuilder, value: ir.Value, name: str, like: ir.Value) -> ir.Value:
    """A value under a name of its own, typed like another; for graph outputs, which must not be inputs."""
    copy = op.Identity(value)
    copy.name = op.unique_name(name, exact=True)
    copy.type, copy.shape = like.type, like.shape
    return copy


def _pick(
    graph: ir.Graph, names: str | Sequence[str] | None, default: Sequence[ir.Value], what: str
) -> list[ir.Value]:
    if names is None:
        chosen = [value for value in default if value.dtype in FLOATS]
        if not chosen:
            raise ModelError(
                f"The model has no float value among {[v.name for v in default]}; name {what} yourself."
            )
        return chosen
    values = named_values(graph)
    chosen = []
    for name in [names] if isinstance(names, str) else names:
        if name not in values:
            raise ModelError(f"{what}: {name!r} is not a value of the model.")
        check_outside(graph, values[name], what)
        if values[name].dtype not in FLOATS:
            raise ModelError(f"{what}: {name!r} is {values[name].dtype}; only float values have a gradient.")
        chosen.append(values[name])
    return chosen
