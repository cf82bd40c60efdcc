"""Layers that a Keras 3 model calls with training=True, which is what `model(x)` computes and `predict` does not."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any


def warn_of_training(model: Any) -> None:
    """Warns where a model computes otherwise when it is called than its file and its own `predict` do.

    Keras lets the training=False of `predict` override what a layer was called with.

    Args:
        model: The Keras model.
    """
    names = list(dict.fromkeys(_called_as_in_training(model)))
    if names:
        shown = ", ".join(map(repr, names[:3])) + (" ..." if len(names) > 3 else "")
        warnings.warn(
            f"Layers of model {model.name!r} were called with training=True: {shown}. The file has the numbers of "
            "model.predict(x), for which Keras overrides that. model(x), and a tape around it, compute these layers as "
            "in training (statistics of the batch, random numbers), and differ.",
            stacklevel=3,
        )


def _called_as_in_training(model: Any) -> Iterator[str]:
    for nodes in getattr(model, "_nodes_by_depth", {}).values():
        for node in nodes:
            if getattr(getattr(node, "arguments", None), "kwargs", {}).get("training") is True:
                yield node.operation.name
    for layer in getattr(model, "layers", []):
        yield from _called_as_in_training(layer)
