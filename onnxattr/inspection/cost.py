"""What an explanation costs beside a prediction: estimated from the sizes of values, or measured on a drawn sample."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import onnx
import onnx_ir as ir

from onnxattr.attributions import GradientInput
from onnxattr.errors import ModelError, ShapeError
from onnxattr.graph.declared import without_declared_shapes
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.subgraphs import graphs_in, graphs_of, nodes_in, nodes_of, values_in
from onnxattr.graph.values import UNKNOWN, dims_of
from onnxattr.inspection.work import Counter
from onnxattr.loading.checks.trial_run import check_lengths
from onnxattr.loading.constant_values import ConstantValues
from onnxattr.loading.shapes.loops import infer_through_loops
from onnxattr.running.drawn import draws, filled

#: How much slower the same multiplications are on the way back, on average over the models of docs/real-models.md.
_BACK = 1.4
#: Sizes that stand for those that a model leaves open: sides of images, lengths of others.
_SIDE, _LENGTH = 224, 128
#: Above so many bytes of weights sizes are not inferred again.
_MOST_BYTES = 1 << 30
_RUNS = 5


def estimate(model: ir.Model, on_path: Sequence[ir.Node], images: Sequence[str]) -> dict[str, Any]:
    """The cost of one sample: multiplications, bytes of values and weights, and a gradient's share of a prediction.

    Of products each multiplication counts once, on the way back once more for each factor that depends on the input;
    of other operators each number counts as some multiplications, on the way back twice. Steps of Loops and Scans
    count as often as they are run, see ``work.Counter``.

    Args:
        model: The model.
        on_path: The nodes on the way from the explained values to the score.
        images: Names of the inputs that are images.

    Returns:
        The facts, with the sizes that were taken for those that the model leaves open; ``how`` is "unknown" with
        ``why`` where sizes, or the number of steps of a Loop, are not known.
    """
    sizes: dict[str, int] = {}
    shapes = _shapes(model, images, sizes)
    if shapes is None:
        return {"how": "unknown", "why": "sizes are known in a run alone"}
    counter = Counter(shapes, ConstantValues(model.opset_imports.get("", 0)))
    work = counter.of(model.graph, frozenset(on_path))
    if counter.unknown:
        return {"how": "unknown", "why": "; ".join(dict.fromkeys(counter.unknown))}
    if not work.forward:
        return {"how": "unknown", "why": "sizes are known in a run alone"}
    return {
        "gradient_in_predictions": round(1 + _BACK * work.backward / work.forward, 1),
        "multiplications": int(work.forward),
        "memory_bytes": int(work.kept),
        "weights_bytes": _weights_bytes(model),
        "how": "estimated",
        "sizes": sizes,
    }


def _weights_bytes(model: ir.Model) -> int:
    held = (value.const_value for value in model.graph.initializers.values())
    return sum(int(tensor.nbytes) for tensor in held if tensor is not None)


def _shapes(
    model: ir.Model, images: Sequence[str], sizes: dict[str, int]
) -> dict[str, tuple[int, ...]] | None:
    """The shapes of all values for one sample, by name; None where they are not known."""
    known = {
        str(value.name): tuple(dims_of(value) or ())
        for graph in graphs_of(model.graph)
        for value in (*graph.inputs, *(v for node in graph for v in node.outputs))
        if value.name and dims_of(value) is not None
    }
    batch = {
        dims[0] for value in model.graph.inputs if (dims := dims_of(value)) and not isinstance(dims[0], int)
    }
    resolved = {name: tuple(1 if dim in batch else dim for dim in dims) for name, dims in known.items()}
    if any(not isinstance(dim, int) for dims in resolved.values() for dim in dims):
        resolved = _inferred(model, images, sizes) or {}
    needed = [
        str(v.name) for node in nodes_of(model.graph) for v in node.outputs if v.dtype in FLOATS and v.name
    ]
    sure = sum(name in resolved and all(isinstance(d, int) for d in resolved[name]) for name in needed)
    # A few values of control flow whose sizes only a run shows count little.
    if not needed or sure < 0.95 * len(needed):
        return None
    return {n: dims for n, dims in resolved.items() if all(isinstance(d, int) for d in dims)}  # type: ignore[misc]


def _inferred(
    model: ir.Model, images: Sequence[str], sizes: dict[str, int]
) -> dict[str, tuple[Any, ...]] | None:
    """Shapes as onnx infers them for one sample of sizes of our choice."""
    if _weights_bytes(model) > _MOST_BYTES:
        return None
    proto = without_declared_shapes(ir.serde.serialize_model(model))
    for value in proto.graph.input:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.HasField("dim_value"):
                continue
            size = 1 if axis == 0 else _SIDE if value.name in images else _LENGTH
            size = sizes.get(dim.dim_param, size) if dim.dim_param else size
            if axis and dim.dim_param and not dim.dim_param.startswith(UNKNOWN):
                sizes.setdefault(dim.dim_param, size)
            elif axis:
                sizes.setdefault(f"axis {axis} of {value.name}", size)
            dim.dim_value = size
    try:
        if any(node.op_type == "Loop" for node in nodes_in(proto.graph)):
            _copy_outputs_of_loops(proto)
            proto = infer_through_loops(proto, strict=False)
        found = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except Exception:
        return None
    values = [value for graph in graphs_in(found.graph) for value in values_in(graph)]
    return {
        value.name: tuple(
            dim.dim_value if dim.HasField("dim_value") else None for dim in value.type.tensor_type.shape.dim
        )
        for value in values
        if value.type.tensor_type.HasField("shape")
    }


def _copy_outputs_of_loops(proto: onnx.ModelProto) -> None:
    """Puts an Identity between a Loop and an output of its graph: inference types what is inside graphs alone."""
    for graph in graphs_in(proto.graph):
        outputs = {value.name for value in graph.output}
        nodes = list(graph.node)
        del graph.node[:]
        for node in nodes:
            ends = [name for name in node.output if name in outputs] if node.op_type == "Loop" else []
            node.output[:] = [f"{name}/of_loop" if name in ends else name for name in node.output]
            graph.node.append(node)
            graph.node.extend(onnx.helper.make_node("Identity", [f"{name}/of_loop"], [name]) for name in ends)


def measure(source: Any, options: Mapping[str, Any]) -> dict[str, Any] | None:
    """The times of a prediction and of one gradient on a drawn sample, the fastest of some runs in turn.

    Args:
        source: The model.
        options: Parameters of the method, as the command that is told has them.

    Returns:
        The facts; None where the model takes no sample that can be drawn.
    """
    method = GradientInput(source, **options)
    model = method.prepared.proto()
    for row in draws(method.prepared, {}):
        feeds = filled(row)
        try:
            check_lengths(model, feeds, method.prepared.folder)
            method.explain(feeds)
        except (ModelError, ShapeError):
            continue
        runs = {"prediction": method.predict, "gradient": method.explain}
        fastest = dict.fromkeys(runs, math.inf)
        for _ in range(_RUNS):
            for name, run in runs.items():
                start = time.perf_counter()
                run(feeds)
                fastest[name] = min(fastest[name], time.perf_counter() - start)
        return {
            "gradient_in_predictions": round(fastest["gradient"] / fastest["prediction"], 1),
            "prediction_seconds": fastest["prediction"],
            "gradient_seconds": fastest["gradient"],
            "how": "measured",
        }
    return None
