"""Compare a converted model, and its layer table, with the Keras model it came from."""

import contextlib
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from onnxattr.callers import warn_caller
from onnxattr.errors import ConversionError

from ...common.layer_rows import outputs_of, read_rows, write_rows
from ...common.onnx_model import BatchSizeError
from ...common.verify import (
    TOLERANCE,
    TOLERANCE_FLOAT16,
    Session,
    difference,
    random_inputs,
    tolerance_of,
    values,
)
from ..tracing.inputs import ModelInputs, flat_sample
from ..tracing.trace import Trace, draws_behind
from .guard_rows import fault, guard_batches, nearby, row_scales
from .integers import warn_of_integers
from .original import Original
from .stopped import warn_of_stopped

_BATCHES = (2, 5)
# Of rows moved by rounding errors, from which what float32 does not determine is estimated.
_DRAWS = 16
# Sizes tried for dynamic axes: the first that is large enough for both models to run and give finite numbers. (For
# a window larger than its input TensorFlow makes empty arrays, ONNX Runtime an error.)
_SIZES = (24, 96, 224)
# In one value, for one row: 2 GiB of float32.
_MOST_ELEMENTS = 2**29
_TOO_LARGE = f"more than {_MOST_ELEMENTS} elements; convert without the check: verify=False (--no-verify)"


def check(converted: onnx.ModelProto, model: Any, inputs: ModelInputs, traced: Trace, sample: Any) -> None:
    """Check outputs and layer table of a converted model.

    Args:
        converted: Outputs that turn out not to have the batch as first axis lose the symbol "N", layers whose value
            cannot be confirmed are crossed out of the table.
        model: The Keras model.
        inputs: Its inputs.
        traced: Its trace.
        sample: Inputs to use instead of random ones, nested as the model takes them, or None.

    Raises:
        BatchSizeError: The model declares one batch size and does not compute a single row of it as that row.
        ConversionError: An output differs by more than the tolerance; names the first layer that does.
    """
    computed_in = {getattr(call.layer, "compute_dtype", None) for call in traced.calls}
    computed_in |= {spec.dtype.name for spec in inputs.specs}
    tolerance = tolerance_of(computed_in)
    session, original = Session(converted, in_reals=True), Original(model, inputs, traced)
    given = sample is not None
    batches = [flat_sample(inputs, sample)] if given else _random_batches(original, traced, session)
    wrong, guarded = _faults(converted, session, original, batches, given, traced, tolerance)
    if (wrong or guarded) and not original.compiled and not getattr(model, "run_eagerly", False):
        predicting = Original(model, inputs, traced, compiled=True)
        with contextlib.suppress(ConversionError):
            if not any(_faults(converted, session, predicting, batches, given, traced, tolerance)):
                _warn_of_calls(model, wrong, guarded)
                original, wrong, guarded = predicting, None, None
    # The session holds a copy of the weights.
    del session
    shown, sentence = guarded or (batches[0], "")
    suspect = _check_layers(converted, original, shown, 10 * min(tolerance, TOLERANCE_FLOAT16))
    unsteady = 0.0
    if wrong is not None:
        sentence, unsteady = _sentence(*wrong), _change_by_rounding(original, batches[0])
    if sentence:
        where = f" The first layer whose output differs is {suspect!r}." if suspect else ""
        if unsteady > tolerance:
            where += (
                f" The Keras model itself changes by {unsteady:.2g} where the inputs of this check change in "
                "their last digit."
            )
        raise ConversionError(f"{sentence}; {tolerance:g} is allowed.{where} {_advice(traced)}")
    warn_of_integers(converted, original, batches[0], tolerance)
    warn_of_stopped(converted, original, traced, shown)


def _faults(
    converted: onnx.ModelProto,
    session: Session,
    original: Original,
    batches: Sequence[Sequence[np.ndarray]],
    given: bool,
    traced: Trace,
    tolerance: float,
) -> tuple[tuple[str, float] | None, tuple[list[np.ndarray], str] | None]:
    """The output that differs in the batches and by how much, and, of drawn ones, what is wrong in special rows.

    Raises:
        BatchSizeError: The model declares one batch size and does not compute a single row of it as that row.
    """
    inputs = original.inputs
    found = (_compare(converted, session, original, arrays, tolerance) for arrays in batches)
    wrong = next((one for one in found if one), None)
    if wrong is not None:
        return wrong, None
    if inputs.fixed_batch is not None and inputs.specs[0].shape[0] is None:
        _check_other_size(session, original, batches[0], tolerance)
    if given:
        return None, None
    return None, _compare_guards(converted, session, original, batches[0], traced, tolerance)


def _sentence(output: str, error: float) -> str:
    return f"Output {output!r} of the converted model differs from the Keras model by {error:.2g} of its largest value"


def _warn_of_calls(
    model: Any, wrong: tuple[str, float] | None, guarded: tuple[list[np.ndarray], str] | None
) -> None:
    """Says that a model that is called computes something else than in `predict`, as losses of probabilities do."""
    sentence = _sentence(*wrong) if wrong else guarded[1] if guarded else ""
    warn_caller(
        f"The model {model.name!r} computes something else where it is called, model(x), than where TensorFlow "
        "compiles it, model.predict(x), as Keras' losses do, which take the logits of a sigmoid or softmax there. The "
        f"file has the numbers of model.predict. Where it is called: {sentence}."
    )


def _advice(traced: Trace) -> str:
    """What to do about a model that differs from the original."""
    outputs = traced.function.outputs[: len(traced.outputs)]
    layers = sorted({traced.layer_of(name) or name for name in draws_behind(outputs)})
    if not layers:
        return "sample=<real inputs> compares on your own data; another opset may be converted differently."
    return (
        f"Random numbers are drawn in {layers}, with which no file can match: let the model compute what is to be "
        "explained without them, a distribution its mean by convert_to_tensor_fn=tfd.Distribution.mean."
    )


def _change_by_rounding(original: Original, arrays: Sequence[np.ndarray]) -> float:
    """How much the outputs of the original change, relative to the largest value, with the last digit of its inputs."""
    moved = original.run(nearby(arrays))
    return max(map(difference, moved, original.outputs(arrays)), default=0.0)


def _moved(original: Original, arrays: Sequence[np.ndarray]) -> list[Sequence[np.ndarray]]:
    """Outputs for nearby rows: a single draw may by chance change nothing in a matrix that is all but singular."""
    return [original.run(nearby(arrays, seed)) for seed in range(_DRAWS)]


def _compare_guards(
    converted: onnx.ModelProto,
    session: Session,
    original: Original,
    drawn: Sequence[np.ndarray],
    traced: Trace,
    tolerance: float,
) -> tuple[list[np.ndarray], str] | None:
    """The first batch of special rows in which an output is wrong, and the sentence about it; None if all agree."""
    names, inputs = [value.name for value in converted.graph.output], original.inputs
    scales = [float(row_scales(output).max(initial=0.0)) for output in original.outputs(drawn)]
    for rows, arrays in guard_batches(inputs, drawn, traced, tolerance > TOLERANCE):
        try:
            expected = original.run(arrays)
        except ConversionError:
            continue  # the model refuses such rows itself
        actual = session.run(dict(zip(inputs.names, arrays, strict=True)))
        moved = functools.cache(functools.partial(_moved, original, arrays))
        for k, (got, want) in enumerate(zip(actual, expected, strict=True)):
            wrong = fault(got, want, tolerance, scales[k], rows, moved, k)
            if wrong:
                return arrays, f"Output {names[k]!r} of the converted model {wrong}"
    return None


def check_sizes(inputs: ModelInputs, traced: Trace) -> None:
    """Refuse what would fill the memory: a size is a line of text in a file.

    Raises:
        ConversionError: A value of one row, or a batch of inputs, is too large; names the layer or the input.
    """
    for operation in traced.function.graph.get_operations():
        for tensor in operation.outputs:
            sizes = tensor.shape.as_list() if tensor.shape.rank else []
            if math.prod(size for size in sizes if size is not None) > _MOST_ELEMENTS:
                place = traced.layer_of(operation.name) or operation.name
                raise ConversionError(
                    f"The check would compute a value of shape {tuple(sizes)} (layer {place!r}), {_TOO_LARGE}."
                )
    for spec in inputs.specs:
        sizes = [inputs.fixed_batch or _BATCHES[-1], *(spec.shape.as_list()[1:] if spec.shape.rank else [])]
        if math.prod(size for size in sizes if size is not None) > _MOST_ELEMENTS:
            raise ConversionError(
                f"The check would draw input {spec.name!r} of shape {tuple(sizes)}, {_TOO_LARGE}."
            )


def _compare(
    converted: onnx.ModelProto,
    session: Session,
    original: Original,
    arrays: Sequence[np.ndarray],
    tolerance: float,
) -> tuple[str, float] | None:
    """The first output that differs and by how much; None if all agree."""
    expected = original.outputs(arrays)
    actual = session.run(dict(zip(original.inputs.names, arrays, strict=True)))
    for value, got, want in zip(converted.graph.output, actual, expected, strict=True):
        error = difference(got, want)
        if error > tolerance:
            return value.name, error
        dims = value.type.tensor_type.shape.dim
        if dims and dims[0].dim_param and len(got) != len(arrays[0]):
            dims[0].ClearField("dim_param")
    return None


def _random_batches(original: Original, traced: Trace, session: Session) -> list[list[np.ndarray]]:
    inputs = original.inputs
    sizes = [layer.input_dim for layer in (call.layer for call in traced.calls) if _is_embedding(layer)]
    highest_id = min(sizes) - 1 if sizes else None
    batches = _BATCHES if inputs.fixed_batch is None else (inputs.fixed_batch,)
    dynamic = any(None in spec.shape[1:].as_list() for spec in inputs.specs if spec.shape.rank)
    # Keras declares inputs as floats unless told otherwise, those that are looked up in an embedding too.
    draws = [
        (size, whole)
        for size in _SIZES[: None if dynamic else 1]
        for whole in (False, True)[: 1 + bool(sizes)]
    ]
    for size, whole in draws:
        made = [random_inputs(inputs.specs, batch, highest_id, size, whole=whole) for batch in batches]
        if len(draws) == 1:
            return made
        try:
            outputs = original.outputs(made[0])
            session.run(dict(zip(inputs.names, made[0], strict=True)))
        except ConversionError:
            if (size, whole) == draws[-1]:
                raise
            continue
        if all(np.isfinite(array.astype(np.float64)).all() for array in outputs):
            return made
    return made


def _is_embedding(layer: Any) -> bool:
    return isinstance(getattr(layer, "input_dim", None), int)


def _check_other_size(
    session: Session, original: Original, arrays: Sequence[np.ndarray], tolerance: float
) -> None:
    """A model declared for one batch size must compute its rows independently: "N" promises that."""
    inputs, expected = original.inputs, original.outputs(arrays)
    if inputs.fixed_batch == 1:
        second = [array / 2 if array.dtype.kind == "f" else np.flip(array) for array in arrays]
        found = zip(expected, original.run(second), strict=True)
        expected = [np.concatenate([np.atleast_1d(one) for one in both]) for both in found]
        given = [np.concatenate(both) for both in zip(arrays, second, strict=True)]
    else:
        given, expected = [array[:1] for array in arrays], [output[:1] for output in expected]
    try:
        outputs = session.run(dict(zip(inputs.names, given, strict=True)))
        same = all(difference(got, want) <= tolerance for got, want in zip(outputs, expected, strict=True))
    except ConversionError:
        same = False
    if not same:
        raise BatchSizeError(
            f"The model computes batches of {inputs.fixed_batch} rows only, which are no rows of their own."
        )


def _check_layers(
    converted: onnx.ModelProto, original: Original, arrays: Sequence[np.ndarray], tolerance: float
) -> str | None:
    """Cross out the rows of the layer table whose values differ from the layers' outputs; the path of the first."""
    rows, expected = read_rows(converted), original.layers(arrays)
    computed = {name for node in converted.graph.node for name in node.output}
    wanted = [name for row in rows for name in outputs_of(row) if name in computed]
    feeds = dict(zip(original.inputs.names, arrays, strict=True))
    found = values(converted, wanted, feeds, in_reals=True)
    first = None
    for row in rows:
        pairs = [
            (found[n], np.asarray(tensor))
            for n, tensor in zip(outputs_of(row), expected.get(row["path"], []), strict=False)
            if n in found
        ]
        if any(difference(got, want) > tolerance for got, want in pairs):
            first = first or row["path"]
            row["output"], row["relu"] = None, None
            row["folded"] = "the value found for it does not equal the layer's output"
    if first is not None:
        write_rows(converted, "keras", rows)
    return first
