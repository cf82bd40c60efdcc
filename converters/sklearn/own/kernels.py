"""Kernels between rows and what was fitted, and random features that stand for kernels."""

from collections.abc import Callable
from typing import Any

import numpy as np

from onnxattr.errors import ConversionError

from .writing import Writer

_LAST = np.array([-1])


def kernel_ridge(op: Writer) -> str:
    """y = k(x, rows) a."""
    model = op.estimator
    given = {name: getattr(model, name) for name in ("gamma", "degree", "coef0")}
    return _weighted(op, _dense(model.X_fit_), given, model.dual_coef_.reshape(len(model.dual_coef_), -1))


def nystroem(op: Writer) -> str:
    """y = k(x, components) n'."""
    model = op.estimator
    given = {name: getattr(model, name) for name in ("gamma", "degree", "coef0")}
    given = {
        **{name: value for name, value in given.items() if value is not None},
        **(model.kernel_params or {}),
    }
    return _weighted(op, _dense(model.components_), given, model.normalization_.T)


def rbf_sampler(op: Writer) -> str:
    """y = sqrt(2 / components) cos(x w + o)."""
    return _cosines(op, op.x)


def skewed_chi2_sampler(op: Writer) -> str:
    """y = sqrt(2 / components) cos(log(x + c) w + o)."""
    return _cosines(op, op("Log", op("Add", op.x, op.estimator.skewedness)))


def distances(op: Writer, x: str, rows: np.ndarray) -> str:
    """Squared Euclidean distances (N, rows); differences first, as squares of large numbers cancel in float32."""
    between = op("Sub", op("Unsqueeze", x, np.array([1])), rows)
    return op("ReduceSum", op("Mul", between, between), _LAST, keepdims=0)


def _cosines(op: Writer, x: str) -> str:
    model = op.estimator
    angles = op("Add", op("MatMul", x, model.random_weights_), model.random_offset_)
    return op("Mul", op("Cos", angles), np.sqrt(2 / model.n_components))


def _weighted(op: Writer, rows: np.ndarray, given: dict[str, Any], weights: np.ndarray) -> str:
    """k(x, rows) w in float64: weights of rows that lie close together are large and cancel."""
    op = op.in_doubles()
    return op("MatMul", _kernel(op, op.estimator.kernel, rows, given), weights)


def _kernel(op: Writer, kind: Any, rows: np.ndarray, given: dict[str, Any]) -> str:
    """k(x, rows), (N, rows), as sklearn.metrics.pairwise.pairwise_kernels computes it."""
    settings = {
        "degree": 3,
        "coef0": 1,
        **{name: value for name, value in given.items() if value is not None},
    }
    gamma = settings.get("gamma", 1.0 if kind == "chi2" else 1 / rows.shape[1])

    def between(take: Callable[[str, str], str]) -> str:
        wide = op("Unsqueeze", op.x, np.array([1]))
        return op("ReduceSum", take(op("Sub", wide, rows), wide), _LAST, keepdims=0)

    def chi2(difference: str, wide: str) -> str:
        total = op("Add", wide, rows)
        total = op("Where", op("Equal", total, 0.0), 1.0, total)
        return op("Div", op("Mul", difference, difference), total)

    def products() -> str:
        return op("Add", op("Mul", op("MatMul", op.x, rows.T), gamma), float(settings["coef0"]))

    def cosine() -> str:
        length = op("Sqrt", op("ReduceSum", op("Mul", op.x, op.x), _LAST, keepdims=1))
        length = op("Where", op("Equal", length, 0.0), 1.0, length)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return op("MatMul", op("Div", op.x, length), (rows / np.where(lengths == 0, 1, lengths)).T)

    written: dict[str, Callable[[], str]] = {
        "linear": lambda: op("MatMul", op.x, rows.T),
        "rbf": lambda: op("Exp", op("Mul", distances(op, op.x, rows), -gamma)),
        "laplacian": lambda: op("Exp", op("Mul", between(lambda d, _: op("Abs", d)), -gamma)),
        "chi2": lambda: op("Exp", op("Mul", between(chi2), -gamma)),
        "additive_chi2": lambda: op("Neg", between(chi2)),
        "poly": lambda: op("Pow", products(), float(settings["degree"])),
        "polynomial": lambda: op("Pow", products(), float(settings["degree"])),
        "sigmoid": lambda: op("Tanh", products()),
        "cosine": cosine,
    }
    if not isinstance(kind, str) or kind not in written:
        raise ConversionError(
            f"{type(op.estimator).__name__} has the kernel {kind!r}, which has no ONNX form here; those that have one: "
            f"{', '.join(written)}."
        )
    return written[kind]()


def _dense(rows: Any) -> np.ndarray:
    return np.asarray(rows.toarray() if hasattr(rows, "toarray") else rows)


def conversions() -> dict[type, Callable[[Writer], str]]:
    """How each of these is written."""
    from sklearn.kernel_approximation import Nystroem, RBFSampler, SkewedChi2Sampler
    from sklearn.kernel_ridge import KernelRidge

    return {
        KernelRidge: kernel_ridge,
        Nystroem: nystroem,
        RBFSampler: rbf_sampler,
        SkewedChi2Sampler: skewed_chi2_sampler,
    }
