"""Whether the gradient of a model at hand is the slope of what its file predicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from tqdm import tqdm

from onnxattr.autodiff.registry import RuleTable
from onnxattr.autodiff.standard import STANDARD
from onnxattr.compile.gradient import vjp
from onnxattr.errors import ModelError, ParameterError, few
from onnxattr.graph.subgraphs import nodes_in
from onnxattr.loading.checks.trial_run import check_lengths
from onnxattr.loading.drawn_inputs import SIZES, trials
from onnxattr.loading.places import ALL_OUTPUTS
from onnxattr.loading.prepared import prepare
from onnxattr.loading.reading.external_data import with_data_inside
from onnxattr.loading.reading.source import ModelSource, name_of, read_model
from onnxattr.running.given.arrays import model_inputs
from onnxattr.running.progress import hidden
from onnxattr.testing.check import Evaluate, by_evaluator, by_runtime
from onnxattr.testing.double import as_double
from onnxattr.testing.ends import freed, with_outputs
from onnxattr.testing.slopes import Arithmetic, Comparison
from onnxattr.testing.verdicts import ModelCheck

_FLOAT = onnx.TensorProto.FLOAT
_HALVES = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
#: Sizes tried for symbolic dimensions where inputs are drawn.
_SIZES = (1, *SIZES)
#: From here on a prediction is another one, where float32 and float64 of one arithmetic agree.
_OTHERWISE = 1e-2
#: Why slopes are in float32.
_OF_TABLES = "operators of ai.onnx.ml give float32 whatever they compute in"
_LACKING = "onnx's evaluator cannot run them in float64"
_OTHER = "onnx's evaluator predicts otherwise"
_GIVE = "Give samples: a file behind the model, or in Python inputs=."


def check_model(
    model: ModelSource,
    inputs: Any = None,
    *,
    wrt: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    rules: RuleTable = STANDARD,
    directions: int = 3,
    seed: int = 0,
    progress: bool | None = None,
) -> ModelCheck:
    """Compares the gradient that explanations of a model use with slopes of what its file predicts.

    The slopes are of the file as it is, in float64, by onnx's evaluator with the operators of ``CORRECTED``. For random
    cotangents ybar and directions v, <xbar, v> is compared with (<ybar, f(x + h v)> - <ybar, f(x - h v)>) / 2h; errors
    are shares of the slope or, if larger, of the root of the sum of the squares of xbar v. xbar is computed in float64,
    then compared with ONNX Runtime's in float32, which methods use. ONNX Runtime runs what the evaluator cannot.

    Args:
        model: The model, of float32 inputs.
        inputs: What ``explain`` takes: an array, one for each input, a table, files; None to draw numbers.
        wrt: Names of inputs, or of values in the main graph; None for all float inputs.
        outputs: Names of outputs that get a cotangent; None for all float outputs.
        rules: The table of VJP rules.
        directions: Number of directions for each input.
        seed: Seed of cotangents and directions.
        progress: Whether a progress bar is shown; None to show it on a terminal.

    Raises:
        ParameterError: If the model draws random numbers, is of half precision, or has no float input or output.
        ModelError: If the model is invalid or does not run on the inputs.
        UnsupportedOpError: If an operator has no gradient.
    """

    def feeds() -> dict[str, np.ndarray]:
        return model_inputs(prepare(model, wrt=wrt, verify=False, outputs=ALL_OUTPUTS), inputs)

    given = None if inputs is None else feeds
    return check_feeds(model, given, wrt, outputs, rules, directions, seed, progress)


def check_feeds(
    model: ModelSource,
    feeds_of: Callable[[], dict[str, np.ndarray]] | None,
    wrt: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    rules: RuleTable = STANDARD,
    directions: int = 3,
    seed: int = 0,
    progress: bool | None = None,
) -> ModelCheck:
    """``check_model`` at the arrays that a function gives by the names of inputs; None to draw numbers."""
    proto = onnx.ModelProto()
    proto.CopyFrom(with_data_inside(read_model(model)))
    if _half(proto):
        raise ParameterError(
            f"{name_of(model)} computes in half precision, which rounds slopes away. Check the model in float32."
        )
    backward = vjp(proto, wrt, outputs, rules=rules)
    single, pixels = by_runtime(backward), _bytes_as_floats(proto, backward)
    held = {tensor.name for tensor in proto.graph.initializer}
    _check_drawn(proto, feeds_of)
    scores = _floats(outputs, proto, proto.graph.output, "outputs")
    sources = _floats(wrt, proto, [v for v in proto.graph.input if v.name not in held], "wrt")
    inputs = None if feeds_of is None else feeds_of()
    if inputs is not None:
        inputs = inputs | {name: inputs[name].astype(np.float32) for name in pixels}
    inner = [name for name in sources if name not in {v.name for v in proto.graph.input}]
    feeds, values = _at_inputs(
        by_runtime(with_outputs(proto, [*scores, *inner])), proto, inputs, [*scores, *inner]
    )
    feeds |= {name: values[name] for name in inner}
    rng = np.random.default_rng(seed)
    cotangents = {name: rng.normal(size=values[name].shape).astype(np.float32) for name in scores}
    free = freed(with_outputs(proto, scores), inner)
    right = {name: values[name] for name in scores}
    arithmetic, prediction, reason = _in_float64(proto, free, sources, feeds, right, rules)
    arithmetic = arithmetic or Arithmetic(
        "onnxruntime", np.float32, (1e-2, 3e-3, 3e-2, 1e-3, 1e-1), 2e-2, by_runtime(free), single
    )
    comparison = Comparison(arithmetic, single, cotangents, rng, directions)
    with tqdm(total=directions * len(sources), disable=hidden(progress), desc="slopes", leave=False) as bar:
        slopes = tuple(comparison.of(name, feeds, bar) for name in sources)
    return ModelCheck(slopes, arithmetic.name, prediction, _rounding(proto), reason)


def _floats(
    names: Sequence[str] | None, proto: onnx.ModelProto, values: Sequence[onnx.ValueInfoProto], what: str
) -> list[str]:
    """The names that are asked for, or those of all values of float32.

    Raises:
        ParameterError: If there is no such value.
    """
    if names is not None:
        asked = [names] if isinstance(names, str) else list(names)
        known = {value.name for value in values} | {name for node in proto.graph.node for name in node.output}
        if unknown := [name for name in asked if name not in known]:
            raise ParameterError(
                f"{what}: the main graph has no value {unknown[0]!r}; `onnxattr inspect` lists what it has."
            )
        return asked
    found = [value.name for value in values if value.type.tensor_type.elem_type == _FLOAT]
    if not found:
        raise ParameterError(
            f"The model has no float32 value among {[value.name for value in values]}. Name one inside it with {what}=."
        )
    return found


def _check_drawn(proto: onnx.ModelProto, feeds_of: object) -> None:
    """Raises an error where inputs of text, which is not drawn, are not given.

    Raises:
        ParameterError: There is one.
    """
    text = [v.name for v in proto.graph.input if v.type.tensor_type.elem_type == onnx.TensorProto.STRING]
    if text and feeds_of is None:
        raise ParameterError(
            f"The model takes text in {few(text)}, which is not drawn: give a file of rows behind the model (.csv, "
            ".parquet), or in Python inputs=, such as a table."
        )


def _bytes_as_floats(proto: onnx.ModelProto, backward: onnx.ModelProto) -> list[str]:
    """Lets the inputs of bytes that have a gradient take floats; pixels, which the model casts to floats."""
    given = {value.name for value in backward.graph.output}
    found = [v for v in proto.graph.input if v.type.tensor_type.elem_type == onnx.TensorProto.UINT8]
    pixels = [value for value in found if f"{value.name}_gradient" in given]
    for value in pixels:
        value.type.tensor_type.elem_type = _FLOAT
    return [value.name for value in pixels]


def _half(proto: onnx.ModelProto) -> bool:
    """Whether a model computes in half precision."""
    types = {v.type.tensor_type.elem_type for v in (*proto.graph.input, *proto.graph.output)}
    types |= {tensor.data_type for tensor in proto.graph.initializer}
    casts = (node for node in nodes_in(proto.graph) if node.op_type == "Cast")
    types |= {attribute.i for node in casts for attribute in node.attribute if attribute.name == "to"}
    return bool(types & set(_HALVES))


def _at_inputs(
    run: Evaluate, proto: onnx.ModelProto, inputs: Mapping[str, np.ndarray] | None, names: Sequence[str]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The inputs, drawn where none are given, and the values of these names there.

    Raises:
        ModelError: If the model does not run there.
        ParameterError: If two runs differ.
    """
    failed = None
    for given in trials(proto, _SIZES) if inputs is None else [inputs]:
        feeds = {name: np.asarray(array) for name, array in given.items()}
        try:
            check_lengths(proto, feeds)
            first, second = (run(names, feeds) for _ in range(2))
            break
        except ModelError as error:
            failed = error
    else:
        raise ModelError(f"{failed} {_GIVE if inputs is None else ''}".rstrip()) from failed
    if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(first, second, strict=True)):
        raise ParameterError("The model draws random numbers, so that it has no slopes.")
    return feeds, dict(zip(names, first, strict=True))


def _in_float64(
    proto: onnx.ModelProto,
    free: onnx.ModelProto,
    sources: Sequence[str],
    feeds: Mapping[str, np.ndarray],
    scores: Mapping[str, np.ndarray],
    rules: RuleTable,
) -> tuple[Arithmetic | None, float, str]:
    """Onnx's evaluator, how far its prediction is from ONNX Runtime's, and why it is not used.

    It is where it can run a model and its gradient, and predicts what ONNX Runtime does but for rounding.

    Args:
        proto: The model.
        free: The model with the explained values as inputs.
        sources: The explained values.
        feeds: Inputs and explained values.
        scores: What ONNX Runtime computes for the outputs there.
        rules: The table of VJP rules.
    """
    try:
        forward = by_evaluator(as_double(free))
        gradient = by_evaluator(vjp(as_double(proto), sources, list(scores), rules=rules, verify=False))
        arithmetic = Arithmetic(
            "evaluator", np.float64, (1e-6, 1e-8, 1e-9, 1e-10, 1e-4), 1e-3, forward, gradient
        )
        found = forward(list(scores), arithmetic.cast(feeds))
        cotangents = {f"{name}_cotangent": np.zeros(y.shape) for name, y in scores.items()}
        gradient([f"{sources[0]}_gradient"], {**arithmetic.cast(feeds), **cotangents})
    except Exception:  # it lacks operators, and fails in ways of its own
        tables = any(node.domain == "ai.onnx.ml" for node in nodes_in(proto.graph))
        return None, 0.0, _OF_TABLES if tables else _LACKING
    apart = _farthest(scores.values(), found)
    if apart > _OTHERWISE:
        rounded = by_evaluator(free)(list(scores), feeds)
        if _farthest(rounded, found) < _OTHERWISE < _farthest(scores.values(), rounded):
            return None, 0.0, _OTHER
    return arithmetic, apart, ""


def _farthest(got: Iterable[np.ndarray], right: Iterable[np.ndarray]) -> float:
    """The largest difference of two predictions, of the largest magnitude of a value; infinite between shapes."""
    pairs = zip(got, right, strict=True)
    return max(_apart(a, b) if a.shape == b.shape else math.inf for a, b in pairs)


def _apart(got: np.ndarray, right: np.ndarray) -> float:
    largest = float(np.abs(right[np.isfinite(right)]).max(initial=0)) or 1.0
    with np.errstate(invalid="ignore"):
        return float(np.nanmax(np.where(got == right, 0, np.abs(got - right)), initial=0)) / largest


def _rounding(proto: onnx.ModelProto) -> tuple[str, ...]:
    """The operators of a model that round."""
    words = ("Quantize", "QLinear", "QGemm", "QAttention", "Integer", "Round", "Floor", "Ceil")
    found = set()
    for node in nodes_in(proto.graph):
        coarse = any(a.name == "accuracy_level" and a.i == 4 for a in node.attribute)
        if coarse or (any(word in node.op_type for word in words) and node.op_type != "DequantizeLinear"):
            found.add(node.op_type)
    return tuple(sorted(found))
