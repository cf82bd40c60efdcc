"""Finds the node that first gave NaN or infinity, by running a graph on one row with its inner values as outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from onnxattr.autodiff.paths import inputs_of
from onnxattr.compile.method import first_moment
from onnxattr.compile.renderings.driven import step_rewrite
from onnxattr.compile.renderings.forward import score_model
from onnxattr.compile.renderings.model_graph import own_name
from onnxattr.graph.builder import GRADIENT_OF
from onnxattr.graph.declared import outputs_asked
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.requantised import serialised
from onnxattr.graph.values import named_values
from onnxattr.running.driver import Driver
from onnxattr.running.given.arrays import take
from onnxattr.session import Session

#: Most inner values that one run gives out, so that a large model's are not all in memory at once.
_AT_ONCE = 64

Feeds = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Origin:
    """Where the first NaN or infinity came from.

    Attributes:
        node: The node that gave it from numbers that were finite, or from infinities that were meant.
        value: Its output.
        found: What is in it: "NaN" or "infinity".
        masked: Whether infinities that were meant, as in a mask, are among the numbers it was computed from.
        point: At which of the method's points; None for the input itself.
    """

    node: ir.Node
    value: str
    found: str
    masked: bool = False
    point: int | None = None

    @property
    def gradient_of(self) -> str | None:
        """The node of the model whose gradient it is a part of; None for a node of the forward pass."""
        return self.node.meta.get(GRADIENT_OF)


def origin_in_prediction(driver: Driver, feeds: Feeds) -> Origin | None:
    """The origin of what is not finite in the model's output for one row."""
    prepared = driver.request.prepared
    return first_origin(
        prepared.model.graph, prepared.proto(), [prepared.output], feeds, driver.providers, prepared.folder
    )


def origin_in_score(driver: Driver, feeds: Feeds, target: np.ndarray) -> Origin | None:
    """The origin of what is not finite in the score of one row; ``target`` has the weights for the row."""
    prepared, graph = driver.request.prepared, score_model(driver.request)
    fed = dict(feeds) | {own_name(prepared, "target"): target}
    outputs = [str(value.name) for value in graph.graph.outputs]
    proto = serialised(graph)
    return first_origin(graph.graph, proto, outputs, fed, driver.providers, prepared.folder)


def origin_in_gradient(driver: Driver, feeds: Feeds, target: np.ndarray, row: int) -> Origin | None:
    """The origin of what is not finite in the gradients of one row, at the first of its points where that is so.

    Args:
        driver: The method.
        feeds: The model's inputs for the row.
        target: Weights on the model's output for the row.
        row: Its position in the whole input; the noise depends on it.
    """
    prepared = driver.request.prepared
    method = replace(driver.request.method, pilot=False, powers=(1,), finish=first_moment, refinement=None)
    request = replace(driver.request, method=method)
    probe = Driver(request, 1, driver.seed, driver.providers)
    feeds = driver.with_baselines(dict(feeds), 1, row)
    graph = step_rewrite(request).finished_model()
    fed = dict(feeds) | {own_name(prepared, "target"): target}
    for point in method.counting:
        at_point = fed | probe.step_feeds(np.array([0]), np.array([point]), 0, row)
        if all(np.isfinite(found).all() for found in probe.graphs.step.run(at_point)):
            continue
        outputs = [str(value.name) for value in graph.graph.outputs]
        proto = serialised(graph)
        origin = first_origin(graph.graph, proto, outputs, at_point, driver.providers, prepared.folder)
        return origin and replace(origin, point=None if method.single else int(point))
    return None


def first_origin(
    graph: ir.Graph,
    proto: onnx.ModelProto,
    outputs: Sequence[str],
    feeds: Feeds,
    providers: Sequence[Any] | None,
    folder: Any,
) -> Origin | None:
    """The node that what is not finite in the outputs came from; None where a run does not tell.

    An infinity that a constant or an input brings, such as that of a mask, is meant: it counts only where it makes NaN.
    """
    found = _not_finite(graph, proto, feeds, providers, folder)
    origins: dict[ir.Value, Origin | None] = {}
    for node in graph:
        sources = [v for v in inputs_of(node) if v in origins or _is_meant(v, feeds)]
        for value in node.outputs:
            kind = found.get(str(value.name))
            if kind is None:
                continue
            known = [origins[v] for v in sources if origins.get(v) is not None]
            known.sort(key=lambda origin: origin.found != kind)  # type: ignore[union-attr]
            meant = kind == "infinity" and (bool(sources) or node.op_type == "ConstantOfShape")
            origins[value] = (
                known[0] if known else None if meant else Origin(node, str(value.name), kind, bool(sources))
            )
    values = named_values(graph)
    return next((origins[values[n]] for n in outputs if origins.get(values[n]) is not None), None)


def _not_finite(
    graph: ir.Graph, proto: onnx.ModelProto, feeds: Feeds, providers: Sequence[Any] | None, folder: Any
) -> dict[str, str]:
    """What is in each value that is not finite: "NaN", or "infinity"."""
    # Where no type is known, the run tells.
    values = [
        value for node in graph for value in node.outputs if value.dtype is None or value.dtype in FLOATS
    ]
    names = [str(value.name) for value in values if value.name]
    found = {}
    for start in range(0, len(names), _AT_ONCE):
        with outputs_asked(proto, names[start : start + _AT_ONCE]) as part:
            results = Session(proto, providers, folder).run(feeds)
        for name, array in zip(part, results, strict=True):
            array = np.asarray(array)
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                found[name] = "NaN" if np.isnan(array).any() else "infinity"
    return found


def _is_meant(value: ir.Value, feeds: Feeds) -> bool:
    """Whether a value is a constant or an input that holds infinity."""
    array: Any = feeds.get(str(value.name)) if value.producer() is None else None
    if value.const_value is not None and value.dtype in FLOATS:
        array = value.const_value.numpy()
    if array is None or np.asarray(array).dtype.kind in "iubOSU":
        return False
    return bool(np.isinf(np.asarray(array).astype(np.float32, copy=False)).any())


def one_row(feeds: Feeds, row: int) -> dict[str, np.ndarray]:
    """The feeds of one row."""
    return take(feeds, slice(row, row + 1))
