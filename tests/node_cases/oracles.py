"""What computes the forward pass that a gradient is compared with, and in which precision."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto

from node_cases.cases import NodeCase
from node_cases.evaluators import reference, runtime, unchanged_reference
from node_cases.packages import Run
from node_cases.precision import is_float, widen, widen_array

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Precision:
    """How closely a gradient and its differences agree, at which step."""

    dtype: int
    step: float
    tolerance: float


DOUBLE = Precision(TensorProto.DOUBLE, 1e-5, 1e-5)
SINGLE = Precision(TensorProto.FLOAT, 1e-2, 5e-3)


@dataclass(frozen=True)
class Oracle:
    """What computes the forward pass of a case, with the model and the inputs in its precision."""

    name: str
    forward: Run
    precision: Precision
    model: onnx.ModelProto
    feeds: Arrays


class NoOracleError(Exception):
    """Neither evaluator gives the outputs that onnx stores."""


def oracle_of(case: NodeCase, fixed: Container[str]) -> Oracle:
    """What computes the forward pass: the first of the evaluators that gives the stored outputs."""
    problems = []
    for name, precision, start in (
        ("reference float64", DOUBLE, reference),
        ("unchanged reference float64", DOUBLE, unchanged_reference),
        ("onnxruntime float64", DOUBLE, runtime),
        ("onnxruntime float32", SINGLE, runtime),
        ("reference float32", SINGLE, reference),
    ):
        for kept in ((), fixed) if fixed else ((),):
            try:
                model = widen(case.model, kept, precision.dtype)
                if precision is DOUBLE:
                    onnx.checker.check_model(model, full_check=True)
                run, feeds = start(model), _feeds(case, precision, kept)
                results = dict(zip(case.expected, run(list(case.expected), feeds), strict=True))
                _check_stored(case, results)
                kinds = kinds_of(model)
                if any(
                    y.dtype.itemsize < kind.itemsize for y, kind in zip(results.values(), kinds, strict=True)
                ):
                    raise NoOracleError("outputs are rounded")
                return Oracle(name, run, precision, model, feeds)
            except Exception as error:
                problems.append(f"{name}: {' '.join(str(error).split())[:150]}")
    raise NoOracleError("; ".join(problems))


def kinds_of(model: onnx.ModelProto) -> list[np.dtype]:
    """The types of a model's outputs."""
    kinds = [value.type.tensor_type.elem_type for value in model.graph.output]
    return [onnx.helper.tensor_dtype_to_np_dtype(kind) for kind in kinds]


def _check_stored(case: NodeCase, results: Arrays) -> None:
    """Raises if outputs differ from those that onnx stores."""
    for key, stored in case.expected.items():
        if is_float(stored):
            loose = 1e-3 if stored.dtype.itemsize > 2 else 2e-2
            found, wanted = np.asarray(results[key], np.float64), stored.astype(np.float64)
            np.testing.assert_allclose(found, wanted, rtol=loose, atol=loose / 10)


def _feeds(case: NodeCase, precision: Precision, fixed: Container[str]) -> Arrays:
    """The stored inputs; the variable ones in the precision of the differences."""
    return {k: v if k in fixed else widen_array(v, precision.dtype) for k, v in case.inputs.items()}
