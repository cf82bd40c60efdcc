"""Where a Keras model's own gradient is another than that of its file, which has no sign for a stopped gradient."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx

from onnxattr.errors import OnnxAttrError

from ...common import dependencies
from ...common.stopped import warn_if_another
from ..tracing.inputs import returned
from ..tracing.trace import Trace
from .original import Original

_STOPS = ("StopGradient", "PreventGradient")
#: Computed of numbers, and without a gradient in TensorFlow, or, the last two, with one for labels that add up to 1 and
#: for places that do not repeat only.
_OTHERS = ("CTCGreedyDecoder", "HSVToRGB", "OneHot", "SoftmaxCrossEntropyWithLogits", "TensorScatterUpdate")
#: The attribute of operations whose gradient is a function of the model's own.
_OWN = "_gradient_op_type"


def warn_of_stopped(
    converted: onnx.ModelProto, original: Original, traced: Trace, arrays: Sequence[np.ndarray]
) -> None:
    """Warns if a model stops gradients, or has its own, and the gradient of its file is another.

    Args:
        converted: The model.
        original: The Keras model.
        traced: Its trace.
        arrays: A batch of its inputs.
    """
    places = list(dict.fromkeys(_places(traced)))
    if not places or not any(array.dtype.kind == "f" for array in arrays):
        return
    tf = dependencies.tensorflow()
    feeds = dict(zip(original.inputs.names, arrays, strict=True))
    try:
        own = partial(_gradients, tf, original, feeds)
        warn_if_another(converted, feeds, original.outputs(arrays), own, places, "TensorFlow")
    except (OnnxAttrError, LookupError, TypeError, ValueError, tf.errors.OpError):
        return  # no gradient of one of them: whoever asks for it is told why


def _gradients(
    tf: Any, original: Original, feeds: dict[str, np.ndarray], cts: Sequence[np.ndarray]
) -> dict[str, np.ndarray | None]:
    """TensorFlow's cotangents of its inputs by name."""
    leaves = [tf.constant(feeds[n], s.dtype) for n, s in zip(feeds, original.inputs.specs, strict=True)]
    floats = {name: leaf for name, leaf in zip(feeds, leaves, strict=True) if leaf.dtype.is_floating}
    with tf.GradientTape() as tape:
        tape.watch(list(floats.values()))
        outputs = [tensor for _, tensor in returned(original.inputs.call(list(leaves)))]
    pairs = [(y, ct) for y, ct in zip(outputs, cts, strict=True) if y.dtype.is_floating]
    found = tape.gradient([y for y, _ in pairs], floats, [tf.constant(ct, y.dtype) for y, ct in pairs])
    return {name: None if ct is None else np.asarray(ct) for name, ct in found.items()}


def _places(traced: Trace) -> Iterator[str]:
    """The operations that stop a gradient or have their own, with the layers that made them."""
    graph = traced.function.graph
    written = graph.as_graph_def()
    for node in filter(_stops, written.node):
        if not _is_harmless(graph.get_operation_by_name(node.name)):
            layer = traced.layer_of(node.name)
            yield f"layer {layer!r}" if layer else node.name
    for function in written.library.function:
        yield from (node.name for node in function.node_def if _stops(node))


def _stops(node: Any) -> bool:
    return node.op in (*_STOPS, *_OTHERS) or _OWN in node.attr


def _is_harmless(operation: Any) -> bool:
    """Whether its gradient is what it computes: of constants, or written by TensorFlow for speed alone.

    TensorFlow does so in the variance, and in x * sigmoid(x).
    """
    if operation.type in _OTHERS:
        return not any(x.dtype.is_floating and x.op.type != "Const" for x in operation.inputs)
    source = operation.inputs[0].op
    if operation.type in _STOPS:
        readers = {reader.type for tensor in operation.outputs for reader in tensor.consumers()}
        return source.type == "Mean" and readers == {"SquaredDifference"}
    factors = {tensor.op.type for tensor in source.inputs}
    return source.type == "Mul" and "Sigmoid" in factors and operation.inputs[1] in [*source.inputs]
