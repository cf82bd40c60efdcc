"""Checks of single parameters, for methods and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxattr.attributions.options import is_integer
from onnxattr.compile.renderings.reducers import REDUCERS
from onnxattr.errors import ParameterError
from onnxattr.loading.places import ALL_OUTPUTS
from onnxattr.loading.prepared import Outputs
from onnxattr.scores.score import Score


def count(name: str, given: Any, at_least: int = 1) -> int:
    """A parameter that counts something.

    Raises:
        ParameterError: If it is no integer from the least on.
    """
    if not is_integer(given, at_least):
        raise ParameterError(f"{name}={given!r}: expected an integer from {at_least} on.")
    return int(given)


def number(name: str, given: Any, low: float, high: float = np.inf, *, with_low: bool = False) -> float:
    """A parameter that is a number in an interval, its upper end included.

    Raises:
        ParameterError: If it is not.
    """
    real = isinstance(given, (int, float, np.number)) and not isinstance(given, bool)
    if not real or not (low <= given <= high if with_low else low < given <= high) or not np.isfinite(given):
        start = "from" if with_low else "above"
        end = "" if high == np.inf else f" and at most {high:g}"
        raise ParameterError(f"{name}={given!r}: expected a number {start} {low:g} on{end}.")
    return float(given)


def deviation(name: str, given: Any) -> float:
    """A parameter that is a standard deviation.

    Raises:
        ParameterError: If it is not finite, or negative.
    """
    real = isinstance(given, (int, float, np.number)) and not isinstance(given, bool)
    if not real or not np.isfinite(given) or given < 0:
        raise ParameterError(
            f"{name}={given!r}: expected a standard deviation, a finite number that is not negative."
        )
    return float(given)


def check_reducer(given: Any) -> None:
    """Checks how channels are to be reduced.

    Raises:
        ParameterError: If there is no such reducer.
    """
    if given is not None and not (isinstance(given, str) and given in REDUCERS):
        raise ParameterError(f"reducer={given!r}: expected one of {[*REDUCERS, None]}.")


def check_batch_size(given: Any) -> None:
    """Checks how much one run of the model takes.

    Raises:
        ParameterError: If it is no integer from 1 on, and not None.
    """
    if given is not None and not is_integer(given, at_least=1):
        raise ParameterError(f"batch_size={given!r}: expected an integer from 1 on, or None.")


def checked_layer(given: Any) -> str | int | None:
    """Where a model is cut.

    Raises:
        ParameterError: If it is no name and no index.
    """
    if given is None or isinstance(given, str):
        return given
    if not is_integer(given):
        raise ParameterError(f"output_layer={given!r}: expected the name or the index of a layer, or None.")
    return int(given)


def chosen_outputs(named: Outputs, output_layer: str | int | None, score: Score) -> Outputs:
    """Which of the model's outputs are explained; an operator takes them all unless told otherwise.

    Raises:
        ParameterError: If that is said twice, or there are several and no operator.
    """
    one = score.linear or score.one_output
    if named is None:
        return None if one or output_layer is not None else ALL_OUTPUTS
    if output_layer is not None:
        raise ParameterError(
            f"output={named!r} and output_layer={output_layer!r} both say what is explained; give one of them."
        )
    if isinstance(named, Sequence) and not isinstance(named, str) and len(named) > 1 and one:
        raise ParameterError(
            f"output={named!r}: several outputs need an operator that makes one number of them; name one, or give "
            "operator=<function or ONNX model>."
        )
    return named
