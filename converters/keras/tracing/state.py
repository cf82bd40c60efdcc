"""Variables that a Keras model writes while it predicts are given back after it was run."""

import contextlib
from collections.abc import Iterator
from typing import Any

from .trace import Trace

_WRITES = ("Assign", "ResourceScatter", "ResourceApply")


@contextlib.contextmanager
def variables_kept(model: Any, traced: Trace) -> Iterator[None]:
    """For a while a model may be run; its variables get back the values that they had.

    Args:
        model: The model.
        traced: Its trace; without operations that write variables nothing is copied.
    """
    graph = traced.function.graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    if not any(node.op.startswith(_WRITES) for node in nodes):
        yield
        return
    variables = list(getattr(model, "variables", model.weights))
    values = [variable.numpy() for variable in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
