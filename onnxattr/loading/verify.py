"""Compares what a prepared model predicts with what the model itself predicts, both in ONNX Runtime.

Upgrades, decompositions and the freeing of a fixed batch must not change a prediction. Each is tested; this looks at
the model at hand.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from onnxattr.errors import ModelError, OnnxAttrError, ParameterError
from onnxattr.graph.declared import without_declared_shapes
from onnxattr.graph.intervals import HALVES
from onnxattr.graph.requantised import serialised
from onnxattr.graph.subgraphs import nodes_in, nodes_of
from onnxattr.graph.values import dims_of
from onnxattr.loading.checks.loop_steps import all_steps, loops_of, own_steps
from onnxattr.loading.checks.trial_run import check_lengths, values_at
from onnxattr.loading.constant_values import ConstantValues
from onnxattr.loading.drawn_inputs import FLOATS, SIZES, TRANSFORMS, Feeds, as_taken, trials
from onnxattr.loading.reading.source import default_opset

#: What ``load`` notes in a model's ``meta`` for this: the model as it was read.
ORIGINAL = "original"
#: In "auto" mode models up to this size are run: bytes of weights, nodes, numbers of an input,
#: steps of Loops.
_MOST_BYTES, _MOST_NODES, _MOST_NUMBERS, _MOST_STEPS = 4 << 20, 500, 1 << 16, 1 << 12
#: Largest difference that passes, of the largest magnitude of a value.
_TOLERANCE, _COARSE = 1e-3, 2e-2


def check_choice(verify: bool | str) -> None:
    """Checks a ``verify`` parameter.

    Raises:
        ParameterError: If it is none of "auto", True and False.
    """
    if not isinstance(verify, bool) and verify != "auto":
        raise ParameterError(f"verify={verify!r}: expected 'auto', True or False.")


def verify_model(model: ir.Model, verify: bool | str = "auto") -> None:
    """Compares the outputs of a prepared model with those of the model that it was made from, on drawn inputs.

    Args:
        model: The prepared model; forgets the one that it was made from.
        verify: "auto" for small models that were changed, where they run; True for every model; False for none.

    Raises:
        ModelError: If an output differs; names the first operator whose result does. With ``verify=True`` also if one
            of the two does not run.
    """
    original, folder = model.meta.pop(ORIGINAL, None), model.meta.get("folder")
    if original is None or verify is False or (verify == "auto" and not _worthwhile(model, original)):
        return
    given = {name for node in original.graph.node for name in node.output}
    outputs = [str(value.name) for value in model.graph.outputs if value.name in given]
    prepared = serialised(model)
    try:
        feeds, right = _run_original(original, outputs, folder)
        got = values_at(prepared, outputs, as_taken(model, feeds), folder)
    except OnnxAttrError as error:
        if verify is True:
            raise ModelError(
                f"verify=True (--verify always): the model could not be compared with its prepared form: {error}"
            ) from error
        return
    tolerance = _tolerance(model, original)
    if _differing(right, got, tolerance) is None:
        return
    again = values_at(original, outputs, feeds, folder)
    if _differing(right, again, tolerance) is not None:  # the model draws random numbers
        return
    if _misled_by_declarations(original, outputs, feeds, folder, got, tolerance):
        warnings.warn(_MISLED.format(shapes=_shapes(feeds)), stacklevel=2)
        return
    raise ModelError(_message(model, original, prepared, feeds, folder, tolerance, outputs))


_MISLED = (
    "With inputs of shapes {shapes} ONNX Runtime predicts otherwise from this file than from the same file without "
    "the shapes that it declares of inner values: some of them are wrong there. What is explained is the graph "
    "without them. Remove them (graph.value_info) or export the model again."
)


def _misled_by_declarations(
    original: onnx.ModelProto,
    outputs: Sequence[str],
    feeds: Feeds,
    folder: Any,
    got: Mapping[str, Any],
    tolerance: float,
) -> bool:
    """Whether the runtime predicts as the prepared model does once it isn't told the declared shapes."""
    try:
        right = values_at(without_declared_shapes(original), outputs, feeds, folder)
    except OnnxAttrError:
        return False
    return _differing(right, got, tolerance) is None


def _shapes(feeds: Feeds) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in feeds.items()}


def _worthwhile(model: ir.Model, original: onnx.ModelProto) -> bool:
    """Whether a model was changed, and is small."""
    nodes = [*nodes_in(original.graph)]
    before = sorted((node.op_type, node.domain) for node in nodes if node.op_type != "Constant")
    after = sorted((node.op_type, node.domain) for node in nodes_of(model.graph))
    opset = default_opset(original)
    if (before == after and opset == model.opset_imports.get("", 0)) or _takes_anything(original):
        return False
    weights = [value.const_value for value in model.graph.initializers.values()]
    size = sum(tensor.nbytes for tensor in weights if tensor is not None)
    numbers = max(
        (
            math.prod(d if isinstance(d, int) else SIZES[0] for d in dims_of(v) or [])
            for v in model.graph.inputs
        ),
        default=0,
    )
    small = size <= _MOST_BYTES and len(nodes) <= _MOST_NODES and numbers <= _MOST_NUMBERS
    return small and _ends_soon(model)


def _ends_soon(model: ir.Model) -> bool:
    """Whether all Loops are known to end, after few steps in all, and what Scans read has no long axis."""
    constants = ConstantValues(model.opset_imports.get("", 1))
    nodes = list(nodes_of(model.graph))
    loops = [node for node in nodes if node.op_type == "Loop"]
    scanned = [
        value for node in nodes if node.op_type == "Scan" for value in node.inputs if value is not None
    ]
    longest = max((d for value in scanned for d in dims_of(value) or [] if isinstance(d, int)), default=0)
    counted = longest <= _MOST_STEPS and all(own_steps(node, constants) is not None for node in loops)
    return counted and sum(all_steps(node, constants) for node in loops_of(model.graph)) <= _MOST_STEPS


def _takes_anything(proto: onnx.ModelProto) -> bool:
    """Whether operators outside ai.onnx read lengths or sizes that are drawn: wrong ones they take without a word."""
    nodes = [node for node in nodes_in(proto.graph) if node.domain not in ("", "ai.onnx")]
    tensors = {value.name: value.type.tensor_type for value in proto.graph.input}
    whole = {name for name, kind in tensors.items() if kind.elem_type not in FLOATS}
    sizes_are_drawn = any(not dim.dim_value for kind in tensors.values() for dim in kind.shape.dim[1:])
    return any(sizes_are_drawn or whole & set(node.input) for node in nodes)


def _run_original(
    proto: onnx.ModelProto, outputs: Sequence[str], folder: Any
) -> tuple[Feeds, dict[str, Any]]:
    failed = None
    for feeds in trials(proto):
        try:
            check_lengths(proto, feeds, folder)
            return feeds, values_at(proto, outputs, feeds, folder)
        except OnnxAttrError as error:
            failed = error
    raise failed or AssertionError


def _tolerance(model: ir.Model, original: onnx.ModelProto) -> float:
    """Coarse where a rounding may tip a value to its neighbour, in half precision and between integers.

    So it is where Fourier transforms are written as products: ONNX Runtime's own are up to 1e-4 off, and logarithms
    make more of that.
    """
    computed = (value for node in nodes_of(model.graph) for value in node.outputs)
    coarse = any(value.dtype in HALVES for value in (*model.graph.inputs, *computed))
    coarse |= any(
        "Quant" in n.op_type or "QLinear" in n.op_type or "Integer" in n.op_type
        for n in nodes_in(original.graph)
    )
    # Those whose kernel is kept, as it rounds.
    coarse |= any(n.op_type in ("MatMulNBits", "QMoE") for n in nodes_of(model.graph))
    before, after = (
        sum(n.op_type in TRANSFORMS for n in nodes)
        for nodes in (nodes_in(original.graph), nodes_of(model.graph))
    )
    return _COARSE if coarse or after < before else _TOLERANCE


def _differing(right: Mapping[str, Any], got: Mapping[str, Any], tolerance: float) -> str | None:
    """The first value that differs, in the order of ``right``; those that are no arrays of numbers are passed over.

    The largest number of a type stands for infinity: ONNX Runtime writes it where ONNX defines a mask as infinite, and
    it must not set the scale of the other numbers.
    """
    for name, a in right.items():
        b = got.get(name)
        if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray) or a.dtype.kind not in "fiubV":
            continue
        if a.shape != b.shape:
            return name
        x, y = (_beyond(array.astype(np.float64), a.dtype) for array in (a, b))
        finite = np.isfinite(x)
        if not np.array_equal(x[~finite], y[~finite], equal_nan=True):
            return name
        largest = float(np.abs(x[finite]).max(initial=0))
        if not np.all(np.abs(x[finite] - y[finite]) <= tolerance * largest + 1e-6):
            return name
    return None


def _beyond(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Values with infinities in place of the numbers that are as large as a floating-point type allows."""
    if dtype.kind != "f":
        return values
    return np.where(np.abs(values) >= float(np.finfo(dtype).max), np.copysign(np.inf, values), values)


def _message(
    model: ir.Model,
    original: onnx.ModelProto,
    prepared: onnx.ModelProto,
    feeds: Feeds,
    folder: Any,
    tolerance: float,
    outputs: Sequence[str],
) -> str:
    there = {name for node in prepared.graph.node for name in node.output}
    shared = [name for node in original.graph.node for name in node.output if name in there]
    first, right = None, dict[str, Any]()
    try:
        right = values_at(original, shared, feeds, folder)
        first = _differing(
            {name: right[name] for name in shared},
            values_at(prepared, shared, as_taken(model, feeds), folder),
            tolerance,
        )
    except OnnxAttrError:
        pass
    node = next((node for node in original.graph.node if first in node.output), None)
    where = (
        f"{node.op_type} node {node.name or first!r} gives another result"
        if node
        else f"outputs {outputs} differ"
    )
    if node and not getattr(right[str(first)], "size", 1):
        return (
            f"Preparing the model changed its prediction: {where}, which is empty in ONNX Runtime, on drawn inputs of "
            f"shapes {_shapes(feeds)}. Where a Loop takes no step, ONNX Runtime gives 0 for each size that the file "
            "does not tell of what it stacks, and all that is made of it is empty. Declare the sizes, or let it take "
            "a step."
        )
    return (
        f"Preparing the model changed its prediction: {where}, on drawn inputs of shapes {_shapes(feeds)}. "
        "Export the model with opset 18 or newer, or pass verify=False (--verify never) to explain the prepared model "
        "nevertheless."
    )
