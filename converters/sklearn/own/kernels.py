"""Kernels between rows and what was fitted, and random features that stand for kernels."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from onnxattr.errors import ConversionError

from .writing import Writer

_LAST = np.array([-1])
# Rows that are shorter are not made unit vectors.
_NO_LENGTH = 10 * np.finfo(np.float64).eps
#: Parameters of a kernel by name.
Settings = Mapping[str, float]


def kernel_ridge(op: Writer) -> str:
    """y = k(x, rows) a."""
    model = op.estimator
    return _weighted(
        op, model.X_fit_, _own_settings(model), model.dual_coef_.reshape(len(model.dual_coef_), -1)
    )


def kernel_pca(op: Writer) -> str:
    """y = (k(x, rows) - its mean - the means of the fitted kernel + the mean of these) a."""
    model = op.estimator
    settings = {"gamma": model.gamma_, "degree": model.degree, "coef0": model.coef0}
    centred, values = model._centerer, np.asarray(model.eigenvalues_)
    scaled = np.divide(
        model.eigenvectors_, np.sqrt(values), out=np.zeros_like(model.eigenvectors_), where=values != 0
    )
    # k - mean(k) is a product too: with the unit matrix less 1 / rows.
    weights = scaled - scaled.mean(0)
    bias = (centred.K_fit_all_ - centred.K_fit_rows_) @ scaled
    op = op.in_doubles()
    return op("Add", op("MatMul", _kernel(op, model.X_fit_, settings), weights), bias)


def nystroem(op: Writer) -> str:
    """y = k(x, components) n'."""
    model = op.estimator
    settings = {**(model.kernel_params or {}), **_own_settings(model)}
    return _weighted(op, model.components_, settings, model.normalization_.T)


def rbf_sampler(op: Writer) -> str:
    """y = sqrt(2 / components) cos(x w + o)."""
    return _cosines(op, op.x)


def skewed_chi2_sampler(op: Writer) -> str:
    """y = sqrt(2 / components) cos(log(x + c) w + o)."""
    return _cosines(op, op("Log", op("Add", op.x, op.estimator.skewedness)))


def additive_chi2_sampler(op: Writer) -> str:
    """y = sqrt(x L), and for each step j sqrt(2 x L / cosh(pi j L)) times cos and sin of j L log x; 0 at x = 0."""
    sampler = op.estimator
    interval = sampler.sample_interval or {1: 0.8, 2: 0.5, 3: 0.4}[sampler.sample_steps]
    zero = op("Equal", op.x, 0.0)
    x = op("Where", zero, 1.0, op.x)
    roots, angles = op("Sqrt", op("Mul", x, interval)), op("Mul", op("Log", x), interval)
    parts = [roots]
    for step in range(1, sampler.sample_steps):
        scaled = op("Mul", roots, np.sqrt(2 / np.cosh(np.pi * step * interval)))
        parts += [op("Mul", scaled, op(wave, op("Mul", angles, float(step)))) for wave in ("Cos", "Sin")]
    return op("Concat", *(op("Where", zero, 0.0, part) for part in parts), axis=1)


def polynomial_count_sketch(op: Writer) -> str:
    """y = the convolution of sketches of (sqrt(g) x, sqrt(c)), the product of their Fourier transforms, turned back."""
    sketch, op = op.estimator, op.in_doubles()
    count, features = sketch.n_components, sketch.n_features_in_
    waves = np.exp(-2j * np.pi * np.outer(np.arange(count), np.arange(count)) / count)
    product: tuple[str, str] | None = None
    for places, signs in zip(sketch.indexHash_, sketch.bitHash_, strict=True):
        # One row for each feature, and one for the constant if there is one.
        spectra = signs[:, None] * waves[places]
        shift = np.sqrt(sketch.coef0) * spectra[features:].sum(0)
        spectra = np.sqrt(sketch.gamma) * spectra[:features]
        real = op("Add", op("MatMul", op.x, spectra.real), shift.real)
        imaginary = op("Add", op("MatMul", op.x, spectra.imag), shift.imag)
        product = (real, imaginary) if product is None else _product(op, product, (real, imaginary))
    assert product is not None
    back = [op("MatMul", part, wave) for part, wave in zip(product, (waves.real, waves.imag), strict=True)]
    return op("Div", op("Add", *back), float(count))


def _product(op: Writer, a: tuple[str, str], b: tuple[str, str]) -> tuple[str, str]:
    """Of two complex numbers."""
    real = op("Sub", op("Mul", a[0], b[0]), op("Mul", a[1], b[1]))
    return real, op("Add", op("Mul", a[0], b[1]), op("Mul", a[1], b[0]))


def distances(op: Writer, x: str, rows: np.ndarray) -> str:
    """Squared Euclidean distances (N, rows); differences first, as squares of large numbers cancel in float32."""
    return _summed(op, x, rows, lambda difference, _: op("Mul", difference, difference))


def _summed(op: Writer, x: str, rows: np.ndarray, take: Callable[[str, str], str]) -> str:
    """Sums of take(x - row, x) over the features, (N, rows); x is (N, 1, features)."""
    wide = op("Unsqueeze", x, np.array([1]))
    return op("ReduceSum", take(op("Sub", wide, rows), wide), _LAST, keepdims=0)


def _cosines(op: Writer, x: str) -> str:
    model = op.estimator
    angles = op("Add", op("MatMul", x, model.random_weights_), model.random_offset_)
    return op("Mul", op("Cos", angles), np.sqrt(2 / model.n_components))


def _own_settings(model: Any) -> Settings:
    """The parameters of the kernel that an estimator is given by name."""
    given = {name: getattr(model, name) for name in ("gamma", "degree", "coef0")}
    return {name: value for name, value in given.items() if value is not None}


def _weighted(op: Writer, fitted: Any, settings: Settings, weights: np.ndarray) -> str:
    """k(x, rows) w in float64: weights of rows that lie close together are large and cancel."""
    op = op.in_doubles()
    return op("MatMul", _kernel(op, fitted, settings), weights)


def _kernel(op: Writer, fitted: Any, settings: Settings) -> str:
    """k(x, rows), (N, rows)."""
    rows = np.asarray(fitted.toarray() if hasattr(fitted, "toarray") else fitted)
    kind = op.estimator.kernel
    if not isinstance(kind, str) or kind not in _KERNELS:
        raise ConversionError(
            f"{type(op.estimator).__name__} has the kernel {kind!r}, which has no ONNX form here; those that have one: "
            f"{', '.join(_KERNELS)}."
        )
    return _KERNELS[kind](op, rows, settings)


def _decay(op: Writer, sums: str, gamma: float) -> str:
    """exp(-g sums)."""
    return op("Exp", op("Mul", sums, -gamma))


def _gamma(rows: np.ndarray, settings: Settings) -> float:
    return settings.get("gamma", 1 / rows.shape[1])


def _products(op: Writer, rows: np.ndarray, settings: Settings) -> str:
    """g x row + c."""
    scaled = op("Mul", op("MatMul", op.x, rows.T), _gamma(rows, settings))
    return op("Add", scaled, float(settings.get("coef0", 1)))


def _absolute(op: Writer, rows: np.ndarray) -> str:
    return _summed(op, op.x, rows, lambda difference, _: op("Abs", difference))


def _chi2(op: Writer, rows: np.ndarray) -> str:
    """Sums of (x - row)^2 / (x + row), 0 where both are 0."""

    def take(difference: str, wide: str) -> str:
        total = op("Add", wide, rows)
        total = op("Where", op("Equal", total, 0.0), 1.0, total)
        return op("Div", op("Mul", difference, difference), total)

    return _summed(op, op.x, rows, take)


def _polynomial(op: Writer, rows: np.ndarray, settings: Settings) -> str:
    return op("Pow", _products(op, rows, settings), float(settings.get("degree", 3)))


def _cosine(op: Writer, rows: np.ndarray, settings: Settings) -> str:
    length = op("Sqrt", op("ReduceSum", op("Mul", op.x, op.x), _LAST, keepdims=1))
    length = op("Where", op("Less", length, _NO_LENGTH), 1.0, length)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return op("MatMul", op("Div", op.x, length), (rows / np.where(lengths < _NO_LENGTH, 1, lengths)).T)


#: k(x, rows), (N, rows), as sklearn.metrics.pairwise.pairwise_kernels computes it.
_KERNELS: dict[str, Callable[[Writer, np.ndarray, Settings], str]] = {
    "linear": lambda op, rows, given: op("MatMul", op.x, rows.T),
    "rbf": lambda op, rows, given: _decay(op, distances(op, op.x, rows), _gamma(rows, given)),
    "laplacian": lambda op, rows, given: _decay(op, _absolute(op, rows), _gamma(rows, given)),
    "chi2": lambda op, rows, given: _decay(op, _chi2(op, rows), given.get("gamma", 1.0)),
    "additive_chi2": lambda op, rows, given: op("Neg", _chi2(op, rows)),
    "poly": _polynomial,
    "polynomial": _polynomial,
    "sigmoid": lambda op, rows, given: op("Tanh", _products(op, rows, given)),
    "cosine": _cosine,
}


def conversions() -> dict[type, Callable[[Writer], str]]:
    """How each of these is written."""
    from sklearn.decomposition import KernelPCA
    from sklearn.kernel_approximation import (
        AdditiveChi2Sampler,
        Nystroem,
        PolynomialCountSketch,
        RBFSampler,
        SkewedChi2Sampler,
    )
    from sklearn.kernel_ridge import KernelRidge

    return {
        AdditiveChi2Sampler: additive_chi2_sampler,
        PolynomialCountSketch: polynomial_count_sketch,
        KernelPCA: kernel_pca,
        KernelRidge: kernel_ridge,
        Nystroem: nystroem,
        RBFSampler: rbf_sampler,
        SkewedChi2Sampler: skewed_chi2_sampler,
    }
