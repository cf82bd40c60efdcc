"""Gaussian processes, in float64: their weights are large and of both signs, and cancel in float32."""

from collections.abc import Callable
from typing import Any

import numpy as np

from onnxattr.errors import ConversionError

from .kernels import distances
from .writing import Writer


def regressor(op: Writer) -> str:
    """y = s k(x, rows) a + m."""
    model, op = op.estimator, op.in_doubles()
    weights = model.alpha_.reshape(len(model.alpha_), -1)
    y = op("MatMul", covariance(op, model.kernel_, model.X_train_), weights)
    return op("Add", op("Mul", y, model._y_train_std), model._y_train_mean)


def covariance(op: Writer, kernel: Any, rows: np.ndarray) -> str:
    """k(x, rows), (N, rows), for kernels of sklearn.gaussian_process and their sums, products and powers.

    Raises:
        ConversionError: A kernel is not known here.
    """
    from sklearn.gaussian_process import kernels as kinds

    if isinstance(kernel, (kinds.Sum, kinds.Product)):
        both = [covariance(op, one, rows) for one in (kernel.k1, kernel.k2)]
        return op("Add" if isinstance(kernel, kinds.Sum) else "Mul", *both)
    if isinstance(kernel, kinds.Exponentiation):
        return op("Pow", covariance(op, kernel.kernel, rows), float(kernel.exponent))
    written: dict[type, Callable[[Writer, Any, np.ndarray], str]] = {
        kinds.ConstantKernel: lambda op, k, rows: _constant(op, rows, k.constant_value),
        kinds.WhiteKernel: lambda op, k, rows: _constant(op, rows, 0.0),
        kinds.RBF: _rbf,
        kinds.Matern: _matern,
        kinds.RationalQuadratic: _rational,
        kinds.ExpSineSquared: _periodic,
        kinds.DotProduct: lambda op, k, rows: op("Add", op("MatMul", op.x, rows.T), k.sigma_0**2),
    }
    if type(kernel) not in written:
        raise ConversionError(
            f"A Gaussian process has the kernel {type(kernel).__name__}, which has no ONNX form here; those that have "
            f"one: {', '.join(kind.__name__ for kind in written)}, their sums, products and powers."
        )
    return written[type(kernel)](op, kernel, rows)


def _constant(op: Writer, rows: np.ndarray, value: float) -> str:
    first = op("Gather", op.x, np.array([0]), axis=1)
    return op("Add", op("Mul", first, np.zeros((1, len(rows)))), value)


def _scaled(op: Writer, kernel: Any, rows: np.ndarray) -> str:
    """Squared distances in length scales."""
    return distances(op, op("Div", op.x, kernel.length_scale), rows / kernel.length_scale)


def _length(op: Writer, squares: str) -> str:
    """The root of squared distances; that of 0 is 0, and its derivative too."""
    there = op("Greater", squares, 0.0)
    return op("Where", there, op("Sqrt", op("Where", there, squares, 1.0)), 0.0)


def _rbf(op: Writer, kernel: Any, rows: np.ndarray) -> str:
    """exp(-d^2 / 2)."""
    return op("Exp", op("Mul", _scaled(op, kernel, rows), -0.5))


def _matern(op: Writer, kernel: Any, rows: np.ndarray) -> str:
    """For v = 1/2, 3/2, 5/2: exp(-r), (1 + r) exp(-r), (1 + r + r^2 / 3) exp(-r) of r = sqrt(2 v) d."""
    if kernel.nu == np.inf:
        return _rbf(op, kernel, rows)
    if kernel.nu not in (0.5, 1.5, 2.5):
        raise ConversionError(f"Matern has nu={kernel.nu}; supported: 0.5, 1.5, 2.5 and inf.")
    squares = _scaled(op, kernel, rows)
    r = op("Mul", _length(op, squares), np.sqrt(2 * kernel.nu))
    decay = op("Exp", op("Neg", r))
    if kernel.nu == 0.5:
        return decay
    factor = op("Add", r, 1.0)
    if kernel.nu == 2.5:
        factor = op("Add", factor, op("Mul", squares, 5 / 3))
    return op("Mul", factor, decay)


def _rational(op: Writer, kernel: Any, rows: np.ndarray) -> str:
    """(1 + d^2 / (2 a l^2))^-a."""
    squares = op("Div", distances(op, op.x, rows), 2 * kernel.alpha * kernel.length_scale**2)
    return op("Pow", op("Add", squares, 1.0), -kernel.alpha)


def _periodic(op: Writer, kernel: Any, rows: np.ndarray) -> str:
    """exp(-2 (sin(pi d / p) / l)^2)."""
    angles = op("Mul", _length(op, distances(op, op.x, rows)), np.pi / kernel.periodicity)
    sines = op("Div", op("Sin", angles), kernel.length_scale)
    return op("Exp", op("Mul", op("Mul", sines, sines), -2.0))


def conversions() -> dict[type, Callable[[Writer], str]]:
    """How each of these is written."""
    from sklearn.gaussian_process import GaussianProcessRegressor

    return {GaussianProcessRegressor: regressor}
