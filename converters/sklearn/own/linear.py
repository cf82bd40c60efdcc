"""Linear regression in float64, for features that are large beside their spread: products cancel in float32."""

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np

from .writing import Writer

_ALIAS = "SklearnLinearRegressor"


@contextlib.contextmanager
def in_doubles() -> Iterator[None]:
    """Inside the `with` block skl2onnx writes linear regressors in float64."""
    import skl2onnx.common._registration as registration

    pool = registration._converter_pool
    changed = type(pool[_ALIAS])(_regression, pool[_ALIAS].get_allowed_options())
    with mock.patch.dict(pool, {_ALIAS: changed}):
        yield


def _regression(scope: Any, operator: Any, container: Any) -> None:
    """y = x w + b."""
    op = Writer(scope, operator, container)
    doubles = op.in_doubles()
    weights = np.atleast_2d(op.estimator.coef_).T
    bias = np.broadcast_to(op.estimator.intercept_, weights.shape[1:])
    op.finish(doubles("Add", doubles("MatMul", doubles.x, weights), bias))
