"""What an explanation costs beside a prediction: estimated from the sizes of values, or measured on a drawn sample."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import onnx
import onnx_ir as ir

from onnxattr.attributions import GradientInput
from onnxattr.autodiff.paths import inputs_of
from onnxattr.errors import ModelError, ShapeError
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.subgraphs import subgraphs_of
from onnxattr.graph.values import dims_of
from onnxattr.loading.verify import without_declared_shapes
from onnxattr.running.trial import draws

#: What one number costs that is no product of matrices, in multiplications of one: it is read and written.
_ELEMENT = 12
#: How much slower the same multiplications are on the way back, on average over the models of docs/real-models.md.
_BACK = 1.4
#: Sizes that stand for those that a model leaves open: sides of images, lengths of others.
_SIDE, _LENGTH = 224, 128
#: Above so many bytes of weights sizes are not inferred again.
_MOST_BYTES = 1 << 30
_RUNS = 5


def estimate(model: ir.Model, on_path: Sequence[ir.Node], images: Sequence[str]) -> dict[str, Any] | None:
    """The cost of one sample: multiplications, bytes of values and weights, and a gradient's share of a prediction.

    Of products each multiplication counts once, on the way back once more for each factor that depends on the input;
    of other operators each number counts as some multiplications, on the way back twice.

    Args:
        model: The model.
        on_path: The nodes on the way from the explained values to the score.
        images: Names of the inputs that are images.

    Returns:
        The facts, with the sizes that were taken for those that the model leaves open; None where sizes are not known.
    """
    sizes: dict[str, int] = {}
    shapes = _shapes(model, images, sizes)
    if shapes is None or any(subgraphs_of(node) for node in model.graph):
        return None
    forward = backward = kept = 0.0
    back = set(on_path)
    for node in model.graph:
        work, factors = _work(node, shapes)
        forward += work
        backward += work * factors if node in back else 0
        kept += sum(_bytes(value, shapes) for value in node.outputs if node in back)
    if not forward:
        return None
    return {
        "gradient_in_predictions": round(1 + _BACK * backward / forward, 1),
        "multiplications": int(forward),
        "memory_bytes": int(kept),
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
        for node in model.graph
        for value in node.outputs
        if value.name and dims_of(value) is not None
    }
    known |= {str(value.name): tuple(dims_of(value) or ()) for value in model.graph.inputs}
    batch = {
        dims[0] for value in model.graph.inputs if (dims := dims_of(value)) and not isinstance(dims[0], int)
    }
    resolved = {name: tuple(1 if dim in batch else dim for dim in dims) for name, dims in known.items()}
    if any(not isinstance(dim, int) for dims in resolved.values() for dim in dims):
        resolved = _inferred(model, images, sizes) or {}
    needed = [str(v.name) for node in model.graph for v in node.outputs if v.dtype in FLOATS and v.name]
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
            if axis and dim.dim_param and not dim.dim_param.startswith("unk__"):
                sizes.setdefault(dim.dim_param, size)
            elif axis:
                sizes.setdefault(f"axis {axis} of {value.name}", size)
            dim.dim_value = size
    try:
        found = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except Exception:
        return None
    values = [*found.graph.value_info, *found.graph.output, *found.graph.input]
    return {
        value.name: tuple(
            dim.dim_value if dim.HasField("dim_value") else None for dim in value.type.tensor_type.shape.dim
        )
        for value in values
    }


def _work(node: ir.Node, shapes: Mapping[str, tuple[int, ...]]) -> tuple[float, int]:
    """The multiplications of a node, and how often they are done on the way back."""
    out = max((_count(value, shapes) for value in node.outputs), default=0)
    first = _shape(node.inputs[0], shapes) if node.inputs else ()
    second = _shape(node.inputs[1], shapes) if len(node.inputs) > 1 else ()
    varying = sum(value.const_value is None for value in inputs_of(node))
    if node.op_type == "Conv" and len(second) > 2:
        return out * math.prod(second[1:]), 1
    if node.op_type == "ConvTranspose" and len(second) > 2:
        return math.prod(first) * math.prod(second[1:]), 1
    if node.op_type in ("MatMul", "Gemm") and first:
        inner = first[0] if node.attributes.get_int("transA", 0) else first[-1]
        return out * inner, max(1, min(varying, 2))
    if node.op_type in ("LSTM", "GRU", "RNN") and len(first) == 3:
        weights = sum(math.prod(_shape(value, shapes)) for value in node.inputs[1:3])
        return first[0] * first[1] * weights, 2  # steps are computed once more on the way back
    return out * _ELEMENT, 2


def _shape(value: ir.Value | None, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    if value is None:
        return ()
    if value.const_value is not None:
        return tuple(value.const_value.numpy().shape)
    return shapes.get(str(value.name), ())


def _count(value: ir.Value, shapes: Mapping[str, tuple[int, ...]]) -> int:
    return math.prod(shapes[str(value.name)]) if value.name in shapes else 0


def _bytes(value: ir.Value, shapes: Mapping[str, tuple[int, ...]]) -> float:
    return _count(value, shapes) * (value.dtype.itemsize if value.dtype else 0)


def measure(source: Any, options: Mapping[str, Any]) -> dict[str, Any] | None:
    """The times of a prediction and of one gradient on a drawn sample, the fastest of some runs in turn.

    Args:
        source: The model.
        options: Parameters of the method, as the command that is told has them.

    Returns:
        The facts; None where the model takes no sample that can be drawn.
    """
    method = GradientInput(source, **options)
    for feeds in draws(method.prepared, {}):
        try:
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
