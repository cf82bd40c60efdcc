"""Layers that a Keras 3 model calls with training=True, which is what `model(x)` computes and `predict` does not."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from onnxattr.callers import warn_caller

from .trace import LayerCall

#: Layers that have the argument and compute the same with it.
_DETERMINISTIC = ("AutoContrast", "CenterCrop", "Dense", "EinsumDense", "Resizing")


def warn_of_training(model: Any, calls: Iterable[LayerCall]) -> None:
    """Warns where a model computes otherwise when it is called than its file and its own `predict` do.

    Keras lets the training=False of `predict` override what a layer was called with.

    Args:
        model: The Keras model.
        calls: The calls of layers in its trace.
    """
    layers = {layer.name: layer for layer in _called_as_in_training(model)}
    source, after = _handed_on(calls, layers.values())
    others = [name for name in after if name not in layers]
    if not layers and not others:
        return
    own = [name for name, layer in layers.items() if _by_default(layer)]
    default = f" That is Keras's own default for {_few(own)}, as such layers augment data." if own else ""
    if others:
        default += f" Keras hands the training=True of {source!r} on to the layers after it: {_few(others)}."
    warn_caller(
        f"Layers of model {model.name!r} were called with training=True: {_few([*layers, *others])}.{default} "
        "The file has the numbers of model.predict(x), for which Keras overrides that. model(x), and a tape around "
        "it, compute these layers as in training (statistics of the batch, random numbers), and differ."
    )


def _handed_on(calls: Iterable[LayerCall], told: Iterable[Any]) -> tuple[str, list[str]]:
    """The first layer of Keras 3 called as in training, and those after it that compute otherwise in training.

    Within a call of a model Keras keeps the argument that a layer was given, or has by default, for what follows.
    """
    keras, known, source, after = sys.modules.get("keras"), {id(layer) for layer in told}, "", []
    for call in sorted(calls, key=lambda call: (call.operations.start, call.depth)):
        layer = call.layer
        if keras is None or not isinstance(layer, keras.layers.Layer):
            continue
        if source and _differs_in_training(layer):
            after.append(layer.name)
        if not source and (id(layer) in known or _by_default(layer)):
            source = layer.name
    return source, list(dict.fromkeys(after))


def _differs_in_training(layer: Any) -> bool:
    """Whether a layer computes otherwise in training by itself, not by the layers in it."""
    given = inspect.signature(layer.call).parameters
    if "training" not in given or type(layer).__name__ in _DETERMINISTIC or not layer.trainable:
        return False
    shares = [getattr(layer, name, None) for name in ("rate", "stddev", "dropout", "recurrent_dropout")]
    shares = [share for share in shares if isinstance(share, (int, float))]
    if shares:
        return any(shares)
    return not any(layer._flatten_layers(include_self=False))


def _few(names: list[str]) -> str:
    return ", ".join(map(repr, names[:3])) + (" ..." if len(names) > 3 else "")


def _by_default(layer: Any) -> bool:
    """Whether a layer is called as in training unless it is told otherwise."""
    given = inspect.signature(layer.call).parameters.get("training")
    return given is not None and given.default is True


def _called_as_in_training(model: Any) -> Iterator[Any]:
    """The layers of a model, and of those in it, that are."""
    for nodes in getattr(model, "_nodes_by_depth", {}).values():
        for node in nodes:
            told = getattr(getattr(node, "arguments", None), "kwargs", {}).get("training") is True
            if told and _minds_training(node.operation):
                yield node.operation
    for layer in getattr(model, "layers", []):
        yield from _called_as_in_training(layer)


def _minds_training(layer: Any) -> bool:
    """Whether a layer, or one within it, has a training argument of its own; models pass theirs on."""
    for part in layer._flatten_layers():
        passed_on = hasattr(part, "_nodes_by_depth") or hasattr(part, "_functional")
        if not passed_on and type(part).__name__ not in _DETERMINISTIC:
            parameters = inspect.signature(part.call).parameters.values()
            if any(given.name == "training" or given.kind == given.VAR_KEYWORD for given in parameters):
                return True
    return False
