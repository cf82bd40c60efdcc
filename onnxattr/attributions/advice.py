"""What a method says of a model before it explains anything: what it may not show, and what to ask for instead."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import onnx_ir as ir

from onnxattr.autodiff.overrides import RELU_LIKE
from onnxattr.autodiff.paths import reaching
from onnxattr.compile.relus import relu_spans
from onnxattr.compile.renderings.rewrite import Request
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.values import dims_of, shape_text
from onnxattr.loading.channels import channel_axis_is_guessed, has_one_place
from onnxattr.loading.discrete import source_of, unexplained
from onnxattr.loading.draws import draws
from onnxattr.loading.heads import logits_of
from onnxattr.loading.prepared import Prepared
from onnxattr.loading.stepped import parts_in_steps, read_stepped
from onnxattr.running.saturation import saturation

_LISTED = 5
#: Names of a parameter that is to be copied.
_NAMED = 20
#: Noise of pixels below this is no noise to a network; about a tenth of their range is usual.
_VISIBLE, _USUAL = 2.0, 25


def advice(
    request: Request, method: str, score_chosen: bool, wrt_chosen: bool, axis_chosen: bool
) -> Iterator[str]:
    """Warnings about a method on a model.

    Args:
        request: The method and the model.
        method: The method's name.
        score_chosen: Whether the user has said what the score is, by output_layer or operator.
        wrt_chosen: Whether the user has said what is explained.
        axis_chosen: Whether the user has said which axis holds channels.
    """
    prepared = request.prepared
    graph = prepared.model.graph
    logits = logits_of(graph, prepared.value(prepared.output), prepared.layers)
    if logits is not None and not score_chosen:
        yield (
            "The model ends in probabilities. Their gradients mix all classes, and are nearly 0 where the model is "
            f"sure. To explain the logits, pass output_layer={logits!r}."
        )
    if (may_saturate := saturation(graph)) is not None:
        yield may_saturate
    if prepared.columns and request.score.linear:
        yield prepared.columns
    if RELU_LIKE in request.method.rules and not relu_spans(graph, prepared.layers, request.relu_policy):
        yield (
            f"{method} overrides ReLUs, and the model has none (relu_policy={request.relu_policy!r}): the result "
            "equals the plain gradient."
        )
    at_layer = request.method.placement or (request.method.factor and request.method.factor.placement)
    if at_layer and has_one_place(prepared.value(at_layer.layer)):
        shape = shape_text(dims_of(prepared.value(at_layer.layer)))
        yield (
            f"The layer {at_layer.layer!r} has the shape {shape}, with one position for the whole image: its map is "
            "the same number everywhere. Name a layer before the pooling with conv_layer."
        )
    spec, noise = prepared.preprocessing, request.method.noise
    at_pixels = spec is not None and spec.in_graph and spec.name in prepared.wrt
    if at_pixels and 0 < noise < _VISIBLE and not request.method.relative:
        yield (
            f"noise={noise:g} is added to pixels of 0 to 255, where it is next to nothing: take noise={_USUAL}, or "
            "attributions_at='input' for noise in units of the network's input."
        )
    yield from limits(prepared, wrt_chosen)
    if not axis_chosen:
        yield from _of_channels(request)


def limits(prepared: Prepared, wrt_chosen: bool) -> Iterator[str]:
    """What the maps of a model do not show, whatever the method; ``wrt_chosen``: see ``advice``."""
    yield from _of_draws(prepared)
    yield from _of_integers(prepared, wrt_chosen)
    yield from _of_steps(prepared, wrt_chosen)


def _of_channels(request: Request) -> Iterator[str]:
    """That the channel axis of images is a guess, where it is."""
    for name, axis in zip(request.prepared.wrt, request.channel_axes, strict=True):
        value = request.prepared.value(name)
        shape = dims_of(value) or []
        if axis is None or len(shape) != 4 or not value.is_graph_input():
            continue
        if request.prepared.preprocessing is None and channel_axis_is_guessed(value):
            yield (
                f"Nothing says which axis of the input {name!r}, {shape_text(shape)}, holds channels: axis "
                f"{axis - request.prepared.rows.mixed} is "
                "taken, over which reducers and pictures go. Pass channel_axis=1 or channel_axis=3 to say it."
            )


def caller_of(made: Any) -> int:
    """The ``stacklevel`` for a method of an object that names the code which made the object."""
    level, frame = 0, inspect.currentframe()
    while frame is not None and (frame := frame.f_back) is not None and frame.f_locals.get("self") is made:
        level += 1
    return level + 1


def _of_draws(prepared: Prepared) -> Iterator[str]:
    """That a score depends on random numbers, if it does."""
    found = draws(prepared.model.graph, [prepared.value(prepared.output)])
    if found:
        more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
        yield (
            f"The model draws random numbers in each run ({', '.join(found[:_LISTED])}{more}), and the score depends "
            "on them: predictions and gradients are those of one draw, and attributions along a path, each point with "
            "a draw of its own, do not add up to f(x) - f(b). Export the model for inference, or make what it draws "
            "an input, to explain what it predicts."
        )


def _of_integers(prepared: Prepared, wrt_chosen: bool) -> Iterator[str]:
    """What reaches the score as integers and is not explained; of inputs that the user has left out, nothing."""
    graph = prepared.model.graph
    inputs = {str(value.name): value for value in graph.inputs}
    codes = unexplained(graph, prepared.value(prepared.output), prepared.wrt)
    told, names, beside = [], [], True
    for code, floats in codes.items():
        sources = [code] if code in inputs else source_of(graph, {code})
        left_out = wrt_chosen and not set(sources) & set(prepared.wrt)
        if left_out or (code in inputs and inputs[code].dtype == ir.DataType.BOOL):
            continue
        where = f"input {code!r}" if code in inputs else f"{', '.join(map(repr, sources))} by way of {code!r}"
        told.append(where)
        beside = beside and not set(sources) & set(prepared.wrt)
        names += [name for name in floats if name not in names]
    if told:
        more = f" and {len(told) - _LISTED} more" if len(told) > _LISTED else ""
        yield (
            f"The score depends on integers, which have no gradient: {', '.join(told[:_LISTED])}{more}. Their effect "
            f"is not in the attribution. To explain the float values made of them, such as embeddings, pass them as "
            f"wrt: {', '.join(map(repr, names[:_LISTED]))}{', ...' if len(names) > _LISTED else ''}."
            + _for_all(prepared, names, beside)
        )


def _for_all(prepared: Prepared, names: list[str], beside: bool) -> str:
    """How maps add up that hold the effect of integers too.

    Args:
        prepared: The model.
        names: The float values made of them.
        beside: Whether no integers are computed from an explained value, which a path cannot set together with these.
    """
    if beside and prepared.wrt:
        both = str([*prepared.asked, *names[:_NAMED]])[:-1] + ", ..." * (len(names) > _NAMED) + "]"
        return f" With what is explained now, so that maps add up: wrt={both} (--wrt for each)."
    if "scikit-learn" not in prepared.model.metadata_props.get("onnxattr.converter", ""):
        return ""
    return (
        " For maps that add up convert the estimator with one input for each column, numbers that are categories "
        "explained by their encoder: to_onnx(estimator, table, by_column=True)."
    )


def _of_steps(prepared: Prepared, wrt_chosen: bool) -> Iterator[str]:
    """What changes in steps: parts that the converter or the graph names, and inputs read by steps alone.

    Of inputs that the user left out, nothing. An input that an explained value is computed from, such as a layer, is
    explained there. What a converter names may be in front of a layer.
    """
    graph, output = prepared.model.graph, prepared.value(prepared.output)
    explained = [prepared.value(name) for name in prepared.wrt]
    inside = wrt_chosen and not any(value.is_graph_input() for value in explained)
    parts = parts_in_steps(prepared.model, [output], explained)
    if parts and not (inside and read_stepped(prepared.model.metadata_props)):
        told = ". ".join(f"{name}: {instead}" for name, instead in parts.items())
        yield (
            f"Parts of the model change in steps, which have no gradient: {', '.join(parts)}. Their effect is not in "
            f"the attribution, and maps along a path do not add up to f(x) - f(b). {told}."
        )
    floats = {str(value.name) for value in graph.inputs if value.dtype in FLOATS} - {*prepared.wrt}
    if wrt_chosen or not floats:
        return
    with_gradient = {str(value.name) for value in reaching(list(graph), output)}
    shown = source_of(graph, {*prepared.wrt, *unexplained(graph, output)})
    left = floats.intersection(source_of(graph, {prepared.output})) - {*with_gradient, *shown}
    if left:
        yield (
            f"The score depends on the inputs {sorted(left)} by comparisons, roundings or positions alone, which have "
            "no gradient: they get no attribution."
        )
