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
from onnxattr.graph.schemas import opset_of
from onnxattr.graph.values import dims_of, named_values
from onnxattr.loading.landmarks import explainable
from onnxattr.loading.layers import Layer, read_layers
from onnxattr.loading.load import clean_part, load
from onnxattr.loading.places import Place, ask_which_call, check_outside, find_place
from onnxattr.loading.precision import set_precision
from onnxattr.loading.reading.source import ModelSource, name_of
from onnxattr.loading.verify import check_choice, verify_model

#: Names of values, layers or nodes, and indices of layers.
Names = str | int | Sequence[str | int] | None


def vjp(
    model: ModelSource,
    wrt: Names = None,
    outputs: Names = None,
    *,
    rules: RuleTable = STANDARD,
    rewrites: Collection[str] | None = None,
    precision: str = "model",
    verify: bool | str = "auto",
) -> onnx.ModelProto:
    """Appends the vector-Jacobian product of a model to it.

    Args:
        model: A path, bytes, ``onnx.ModelProto``, ``onnx_ir.Model`` or Keras model.
        wrt: What to differentiate with respect to: names of values, or what ``output_layer`` of a method takes: names,
            paths and indices of layers, names of nodes. None for every float input.
        outputs: What gets a cotangent, in the same words; None for every float output.
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
        A layer that is named by its index is called by its path there.
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
        graph, layers = graph_model.graph, read_layers(graph_model.metadata_props)
        scores = _pick(graph, layers, outputs, graph.outputs, "outputs")
        sources = _pick(graph, layers, wrt, graph.inputs, "wrt")
        clean_part(graph_model, [place.value for place in (*sources, *scores)], rules)
        verify_model(graph_model, verify)
        return _with_gradients(graph_model, sources, scores, rules, rewrites)


def _with_gradients(
    graph_model: ir.Model,
    sources: Sequence[Place],
    scores: Sequence[Place],
    rules: RuleTable,
    rewrites: Collection[str] | None,
) -> onnx.ModelProto:
    graph = graph_model.graph
    op = OpBuilder(graph, opset_of(graph_model), prefix="vjp")
    cotangents = {y.value: op.input(f"{y.name}_cotangent", y.value.dtype, dims_of(y.value)) for y in scores}
    gradients = pullback(op, cotangents, [x.value for x in sources], rules, rewrites=rewrites)
    graph.outputs.extend(y.value for y in scores if not y.value.is_graph_output())
    for x, gradient in zip(sources, gradients, strict=True):
        graph.outputs.append(named_copy(op, gradient, f"{x.name}_gradient", x.value))
    return finish(graph_model)


def named_copy(op: OpBuilder, value: ir.Value, name: str, like: ir.Value) -> ir.Value:
    """A value under a name of its own, typed like another; for graph outputs, which must not be inputs."""
    copy = op.Identity(value)
    copy.name = op.unique_name(name, exact=True)
    copy.type, copy.shape = like.type, like.shape
    return copy


def _pick(
    graph: ir.Graph, layers: Sequence[Layer], names: Names, default: Sequence[ir.Value], what: str
) -> list[Place]:
    if names is None:
        chosen = [Place(str(value.name), value) for value in default if value.dtype in FLOATS]
        if not chosen:
            scores = [value for value in graph.outputs if value.dtype in FLOATS] if what == "wrt" else []
            inner = explainable(graph, scores[0]) if scores else []
            examples = f", for example one of: {', '.join(inner)}" if inner else ""
            raise ModelError(
                f"The model has no float value among {[v.name for v in default]}. Name a float value inside the model "
                f"with {what}=<name>{examples}."
            )
        return chosen
    values, chosen = named_values(graph), []
    for name in [names] if isinstance(names, (str, int)) else names:
        if isinstance(name, str) and name in values:
            place = Place(name, values[name])
            layer = next((layer for layer in layers if layer.path == name), None)
            if layer is not None and what == "wrt":
                ask_which_call(layers, layer, name, what)
        else:
            place = find_place(graph, layers, name, what)
        check_outside(graph, place.value, what)
        if place.value.dtype not in FLOATS:
            raise ModelError(f"{what}: {name!r} is {place.value.dtype}; only float values have a gradient.")
        if any(place.value is other.value for other in chosen):
            raise ModelError(f"{what}: {name!r} is named twice, perhaps as a layer and as its value.")
        chosen.append(place)
    return chosen
