"""Random inputs, ONNX Runtime sessions and differences: the parts of comparing a converted model with its original."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from onnxattr import session
from onnxattr.errors import ConversionError, ModelError, RuntimeMissingError
from onnxattr.graph.declared import outputs_asked

from . import dependencies

TOLERANCE = 1e-4
# Rounding of float16 is 5e-4 of a value; a few layers of it stay below this.
TOLERANCE_FLOAT16 = 1e-2
#: It has three binary digits less than float16.
_TOLERANCE_BFLOAT16 = 8 * TOLERANCE_FLOAT16


def tolerance_of(types: Collection[str | None]) -> float:
    """The largest difference that is allowed of a model that computes in some types, by the coarsest of them."""
    if "bfloat16" in types:
        return _TOLERANCE_BFLOAT16
    return TOLERANCE_FLOAT16 if "float16" in types else TOLERANCE


def random_inputs(
    specs: Sequence[Any],
    batch: int,
    highest_id: int | None = None,
    size: int = 24,
    seed: int = 0,
    whole: bool = False,
) -> list[np.ndarray]:
    """Random arrays for the inputs of a model.

    Args:
        specs: One `tf.TensorSpec` per input.
        batch: Number of rows.
        highest_id: Integer inputs are drawn from 0 to this, both included; 9 if None.
        size: Size of the first dynamic axis after the batch; later ones are a sixth smaller each.
        seed: Of the random generator.
        whole: Inputs of floats are whole numbers too, drawn like integers.

    Raises:
        ConversionError: An input holds strings or another dtype that the converter does not take.
    """
    generator = np.random.default_rng(seed)
    highest_id = 9 if highest_id is None else highest_id
    arrays = []
    for spec in specs:
        dtype = np.dtype(spec.dtype.as_numpy_dtype)
        shape = [
            known if known is not None else size - size // 6 * (axis - 1) if axis else batch
            for axis, known in enumerate(spec.shape)
        ]
        if dtype.kind in "iu" or (whole and dtype.kind == "f"):
            arrays.append(generator.integers(0, highest_id + 1, size=shape).astype(dtype))
        elif dtype.kind == "b":
            arrays.append(generator.integers(0, 2, size=shape).astype(bool))
        elif dtype.kind == "f" or spec.dtype.name == "bfloat16":
            arrays.append(generator.normal(size=shape).astype(dtype))
        else:
            raise ConversionError(
                f"Input {spec.name!r} has dtype {spec.dtype.name}; only numbers and booleans can be converted. "
                "Convert the part of the model after its text or lookup layers."
            )
    return arrays


class Session:
    """A converted model in ONNX Runtime on the CPU.

    Args:
        model: The model.
        in_reals: Whether dequantised values are multiplied as the file says; else ONNX Runtime rounds some to integers.

    Raises:
        ConversionError: ONNX Runtime cannot load it.
        RuntimeMissingError: ONNX Runtime is not installed.
    """

    def __init__(self, model: onnx.ModelProto, in_reals: bool = False) -> None:
        dependencies.onnxruntime()
        try:
            self._session = session.Session(model, ["CPUExecutionProvider"], in_reals=in_reals)
        except ModelError as error:
            raise ConversionError(f"The converted model does not load: {error}") from error

    def run(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run on one batch; outputs in the order of the graph.

        Raises:
            ConversionError: ONNX Runtime stops with an error.
        """
        try:
            return self._session.run(feeds)
        except ModelError as error:
            raise ConversionError(f"The converted model does not run: {error}") from error


def _runner(model: onnx.ModelProto, in_reals: bool) -> Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]:
    try:
        kinds = {value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)}
        if onnx.TensorProto.BFLOAT16 in kinds:
            raise ConversionError("ONNX Runtime takes no arrays of bfloat16.")
        return Session(model, in_reals).run
    except (RuntimeMissingError, ConversionError) as stopped:
        refused = str(stopped)
        # There is no runtime, or none for these dtypes, as bfloat16.
        try:
            evaluator = ReferenceEvaluator(model)
        except NotImplementedError as error:
            reason = " ".join(str(error).split())[:300]
            raise ConversionError(
                f"{refused} onnx's evaluator does not run it either: {reason} Leave out the layer or step that is "
                "converted to this operator."
            ) from error

        def evaluate(feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
            try:
                return list(evaluator.run(None, dict(feeds)))
            except Exception as error:
                reason = " ".join(str(error).split())[:300]
                raise ConversionError(f"{refused} onnx's evaluator stops too: {reason}") from error

        return evaluate


def values(
    model: onnx.ModelProto, names: Iterable[str], feeds: Mapping[str, np.ndarray], in_reals: bool = False
) -> dict[str, np.ndarray]:
    """The outputs of a model and other values of its graph in a run: of ONNX Runtime, or else of onnx's evaluator.

    Args:
        model: The model.
        names: The values, beside its outputs.
        feeds: Its inputs.
        in_reals: As in `Session`.

    Raises:
        ConversionError: ONNX Runtime stops with an error.
    """
    own = [value.name for value in model.graph.output]
    with outputs_asked(model, [*own, *names]) as asked:
        return dict(zip(asked, _runner(model, in_reals)(feeds), strict=True))


def difference(actual: np.ndarray, expected: np.ndarray) -> float:
    """Largest absolute difference over the largest magnitude of `expected`; inf where shapes or NaNs differ."""
    if actual.shape != expected.shape:
        return float("inf")
    got, want = actual.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(want)
    if not np.array_equal(got[~finite], want[~finite], equal_nan=True) or not np.isfinite(got[finite]).all():
        return float("inf")
    if not finite.any():
        return 0.0
    scale = float(np.abs(want[finite]).max())
    error = float(np.abs(got[finite] - want[finite]).max())
    return error / scale if scale > 0 else error
