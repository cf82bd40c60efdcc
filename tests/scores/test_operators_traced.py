"""What a Python operator may compute: each function's values by NumPy, each gradient by central differences."""

import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
from support.tiny_graphs import parse

from onnxattr import GradientInput, IntegratedGradients, Saliency, xp
from onnxattr.errors import OnnxAttrError
from onnxattr.scores import targets

MODEL = """m (TYPE[N,2,3] x) => (TYPE[N,2,3] z) { z = Add(x, x) }"""
RNG = np.random.default_rng(0)
X = RNG.uniform(0.2, 0.9, (3, 2, 3))
Y = RNG.normal(size=(3, 2, 3))

#: g(z, y, np) -> (N, ...), whose sum over all but the samples is the score; np is NumPy or the traced functions.
FUNCTIONS = {
    "arithmetic": lambda z, y, np: (2 * z + 1 - z / 3) * y - 4 / z + (-z) ** 3 + z**0.5 - (1 - z) ** 2,
    "comparisons": lambda z, y, np: np.where((z > 0.7) | (z <= 0.5) & ~(y != y), z * y, np.square(z)),
    "exponentials": lambda z, y, np: np.exp(z) + np.log(z) + np.expm1(z) + np.log1p(z) + np.log2(z) + np.log10(z),
    "trigonometry": lambda z, y, np: np.sin(z) * np.cos(y) + np.tanh(z),
    "roots and signs": lambda z, y, np: np.sqrt(z) + np.abs(z - 1) + np.sign(y) * z + np.hypot(z, y),
    "rounding": lambda z, y, np: z * (np.floor(3 * z) + np.ceil(y) + np.round(z) + (z % 0.3) + z // 0.3 + np.trunc(y)),
    "extremes": lambda z, y, np: np.maximum(z, y) + np.minimum(z, 1.1) + np.clip(z, 0.6, 1.5) + np.logaddexp(z, y),
    "clip by arrays": lambda z, y, np: np.clip(z, np.minimum(y, 1), np.maximum(y, 1)),
    "reductions": lambda z, y, np: z.sum(axis=-1) * z.mean(axis=(1, 2))[:, None] + z.max(axis=2) + z.min(axis=-1),
    "products": lambda z, y, np: z.prod(axis=1) + np.prod(z * y, axis=(1, 2), keepdims=True)[:, 0],
    "spread": lambda z, y, np: (
        z.std(axis=1) + np.var(z, axis=(1, 2))[:, None] + np.std(z + y, axis=-1, keepdims=True)[:, 0]
    ),
    "matmul": lambda z, y, np: z @ y.transpose(0, 2, 1) + np.matmul(y, z.transpose((0, 2, 1))),
    "vectors": lambda z, y, np: z @ [1.0, 2.0, -3.0] + [0.5, -1.0] @ z[:, :, :2] * y[:, 0, :2],
    "constant matrix": lambda z, y, np: z @ [[1.0, 2.0], [0.5, -1.0], [3.0, 0.1]] @ W22,
    "indexing": lambda z, y, np: z[:, 0] * z[:, -1, ::-1] + z[..., 1:, :][:, 0] + z[:, None, 1, 1:][:, 0, :1],
    "arrays of places": lambda z, y, np: z[:, :, [2, 0]] + np.take(z, np.array([1, 1]), axis=2) * z[:, [1, 0], :2],
    "new axes": lambda z, y, np: (
        (z[:, :, None] * y[:, None] + np.expand_dims(z, 1))[:, :, None].squeeze(2).sum(axis=-1)
    ),
    "shapes": lambda z, y, np: z.reshape((-1, 6)) * y.reshape(-1, 3, 2).transpose(0, 2, 1).reshape((z.shape[0], 6)),
    "joined": lambda z, y, np: np.concatenate([z, y * z], axis=1)[:, 1:] + np.stack([z, z * y, y], axis=1)[:, :, 0],
    "flipped": lambda z, y, np: np.flip(z, axis=2) * y + np.roll(z, 1, axis=2) + np.roll(y * z, -1, axis=1),
    "rolled far": lambda z, y, np: (
        np.roll(z, 4, axis=2) * y + np.roll(z, -5, axis=1) ** 2 * y + np.roll(z, (1, 5), axis=(1, 2)) * y**2
    ),
    "places for several": lambda z, y, np: (
        np.take_along_axis(z, y.argmax(2)[:, :1, None], 2) * y[:, :, :1]
        + np.take_along_axis(z[:, :1], PLACES, 2) ** 2
    ),
    "tiled": lambda z, y, np: np.tile(z, 2)[:, :, 2:5] * y + np.tile(z, (2, 1))[:, 1:3] * y**2,
    "truths": lambda z, y, np: (
        ((y > 0) + (y < 0.5)) * z + (y > 0) * (y < 0.5) * z**2
        + ((y > -9).max(axis=2) + (y > -8).min(axis=2))[..., None] * z**3 * np.where(y > 0, y < 1, True)
        + np.maximum(y > 0, y < 0.5) * z * (y > 0).argmax(axis=2)[..., None]
    ),
    "equal infinities": lambda z, y, np: np.exp(
        np.logaddexp(np.where(y > 0, z, -np.inf), np.where(y > 0.5, z, -np.inf))
    ),
    "argmax": lambda z, y, np: (
        z.max(axis=2) * (y.argmax(axis=2) + 1) + np.take_along_axis(z, y.argmax(2)[..., None], 2)[..., 0]
    ),
    "same shape": lambda z, y, np: (np.ones_like(z) - np.zeros_like(y)) * z + np.full_like(z, 0.5) * z,
    "counts": lambda z, y, np: (
        z.sum(axis=(1, 2)) / (y > 0).sum(axis=(1, 2)) + z.sum(axis=(1, 2)) * (y > 0).mean(axis=(1, 2))
    ),
    "logic": lambda z, y, np: (
        np.where(np.logical_and(np.logical_not(y > 0), np.isfinite(z)), z, np.any(y > 9, axis=2)[..., None]
        + z**2)
    ),
    "all": lambda z, y, np: np.where(np.all(y > -9, axis=(1, 2))[:, None, None], z**2, y),
    "softmax": lambda z, y, np: (e := np.exp(z - z.max(axis=-1, keepdims=True))) / e.sum(axis=-1, keepdims=True) * y,
    "cast": lambda z, y, np: (y > 0).astype("float32") * z + y.astype(int) * z,
    "moved axes": lambda z, y, np: np.moveaxis(z, 1, 2) * np.moveaxis(y, 2, 1) + z.T.T.transpose(0, 2, 1),
    "sizes": lambda z, y, np: z * z.shape[1] + y.shape[2] * z / z.shape[-1],
    "broadcast": lambda z, y, np: np.broadcast_to(z[:, :1], (z.shape[0], 4, 3)) ** 2,
    "inverse": lambda z, y, np: np.arcsin(z / 2) + np.arccos(z / 2) * np.arctan(z) + np.arcsinh(z) + np.arctanh(z / 2),
    "hyperbolic": lambda z, y, np: np.tan(z / 2) + np.sinh(z) + np.cosh(z) * np.arccosh(z + 1),
    "triangles": lambda z, y, np: (
        np.tril(z) * y + np.triu(z, 1) ** 2 + np.tril(z * y, -1) ** 3
        + np.triu(y > 0, -1) * z * np.triu([[2, 3, 4]] * 2)
    ),
    "iterated": lambda z, y, np: sum(row**k for k, row in enumerate(z.transpose(1, 2, 0)[0]))[:, None],
}  # fmt: skip
PLACES = np.array([[[0], [2]]])
W22 = np.array([[1.0, -2.0], [0.5, 0.25]])


#: NumPy's names of functions that the array API calls otherwise.
RENAMED = {"concatenate": "concat", "array": "asarray"}
RENAMED |= {f"arc{name}": f"a{name}" for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")}


class Names:
    """The traced functions by NumPy's names."""

    def __getattr__(self, name):
        return getattr(xp, RENAMED.get(name, name))


def scored(function, z, y, namespace):
    found = function(z, y, namespace)
    return found.sum(axis=tuple(range(1, found.ndim)))


def model(kind="float"):
    return parse(MODEL.replace("TYPE", kind))


def operator(function, namespace):
    return lambda f, x, y: scored(function, f(x), y, namespace)


@pytest.mark.parametrize("namespace", [xp, np], ids=["xp", "numpy"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients_in_double_precision(name, namespace):
    """NumPy's own functions on traced arrays are those of xp."""
    namespace = Names() if namespace is xp else namespace
    function = FUNCTIONS[name]
    single = name in ("inverse", "hyperbolic")  # ONNX Runtime has no kernels in double precision
    method = GradientInput(model("float" if single else "double"), operator=operator(function, namespace))
    expected = np.zeros_like(X)
    for place in np.ndindex(*X.shape[1:]):
        moved = [X.copy() for _ in range(2)]
        for step, array in zip((1e-6, -1e-6), moved, strict=True):
            array[(slice(None), *place)] += step
        high, low = (scored(function, 2 * array, Y, np) for array in moved)
        expected[(slice(None), *place)] = (high - low) / 2e-6
    found = method.explain(X, Y) / X
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * np.abs(expected).max())
    values = scored(function, 2 * X, Y, np)
    np.testing.assert_allclose(method.score(X, Y), values, rtol=0, atol=2e-6 * np.abs(values).max())


@pytest.mark.parametrize("kind", ["float16", "double"])
def test_numbers_take_the_type_of_the_model(kind, tmp_path):
    """Python's and NumPy's numbers, and integers, make no wider type of what the model computes."""

    def mixed(f, x, y):
        z = f(x) * np.float64(0.5) + np.array([1.0, 2.0, 3.0]) * 3 - 1
        return ((z > 1) * z / 2 + z * np.arange(3)).mean(axis=(1, 2)) * (y > 0).sum(axis=(1, 2))

    method = IntegratedGradients(model(kind), operator=mixed, steps=3)
    z = X + np.array([1.0, 2.0, 3.0]) * 3 - 1
    expected = ((z > 1) * z / 2 + z * np.arange(3)).mean(axis=(1, 2)) * (Y > 0).sum(axis=(1, 2))
    np.testing.assert_allclose(method.score(X, Y), expected, rtol=5e-3 if kind == "float16" else 1e-6)
    method.export(tmp_path / "e.onnx", target="weights")
    onnxruntime.InferenceSession(tmp_path / "e.onnx", providers=["CPUExecutionProvider"])
    wide = [
        v
        for v in onnx.load(tmp_path / "e.onnx").graph.output
        if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    ]
    assert not wide


REFUSED = {
    "if": (lambda f, x, y: f(x).sum(axis=(1, 2)) if f(x).sum() > 0 else y,
        r"true \(if, while.*where\(condition, a, b\)"),
    "float()": (lambda f, x, y: float(f(x).sum()) * f(x).sum(axis=(1, 2)), r"float\(\), but it has none yet"),
    "np.array()": (lambda f, x, y: np.array(f(x)).sum(axis=(1, 2)), r"turns a traced array into numbers"),
    ".numpy()": (lambda f, x, y: f(x).numpy().sum(axis=(1, 2)), r"turns a traced array into numbers"),
    "len()": (lambda f, x, y: f(x).sum(axis=(1, 2)) / len(x), r"len\(\)"),
    "one number": (lambda f, x, y: (f(x) * y).sum(),
        r"one number for each sample.*without axis= the samples are mixed"),
    "too many axes": (lambda f, x, y: (f(x) * y).sum(axis=-1),
        r"gave Array\(\(samples, 2\), float\); expected one number"),
    "nothing": (lambda f, x, y: None, r"gave NoneType; .*is a return missing"),
    "a NumPy array": (lambda f, x, y: np.zeros(3), r"gave ndarray; expected one number for each sample"),
    "a float": (lambda f, x, y: 3.0, r"gave float; expected"),
    "whole numbers": (lambda f, x, y: f(x).reshape(-1, 6).argmax(axis=1), r"whole numbers or truth values"),
    "rounded": (lambda f, x, y: (f(x) > 0.5).sum(axis=(1, 2)) * 1.0, r"do not depend on the model's output, or only"),
    "not the model": (lambda f, x, y: (x * y).sum(axis=(1, 2)), r"does not use f\(x\)"),
    "the target alone": (lambda f, x, y: f(x).sum(axis=(1, 2)) * 0 if y is None else y.sum(axis=(1, 2)),
        r"does not use f\(x\)"),
    "mean over samples": (lambda f, x, y: (f(x) - f(x).mean(axis=0)).sum(axis=(1, 2)),
        r"computes samples together.*ReduceMean"),
    "target's mean": (lambda f, x, y: (f(x) * y.mean()).sum(axis=(1, 2)), r"computes samples together.*ReduceMean"),
    "samples flipped": (lambda f, x, y: f(x)[::-1].sum(axis=(1, 2)), r"computes samples together"),
    "first sample": (lambda f, x, y: f(x)[0].sum(axis=1), r"computes samples together|one number"),
    "model of mixed samples": (lambda f, x, y: f(x[::-1]).sum(axis=(1, 2)), r"computes samples together"),
    "shapes": (lambda f, x, y: (f(x) @ y).sum(axis=(1, 2)), r"shapes or types that do not fit"),
    "no such axis": (lambda f, x, y: f(x).sum(axis=3), r"axis 3 of a traced array of 3 axes"),
    "no such index": (lambda f, x, y: f(x)[:, 2].sum(axis=1), r"index 2 of axis 1, which has 2 elements"),
    "a condition as index": (lambda f, x, y: f(x)[y > 0], r"where\(condition, a, b\), and multiply"),
    "written": (lambda f, x, y: f(x).__setitem__(0, 1), r"writes into a traced array"),
    "bits": (lambda f, x, y: (f(x) * ((y > 0) * 2 & 3)).sum(axis=(1, 2)), r"& of Array.*int64.*truth values: compare"),
    "bits inverted": (lambda f, x, y: (f(x) * ~(y > 0).astype(int)).sum(axis=(1, 2)), r"~ of Array.*call logical_and"),
    "truths subtracted": (lambda f, x, y: (f(x) * ((y > 0) - (y > 1))).sum(axis=(1, 2)), r"use logical_xor"),
    "places of another rank": (lambda f, x, y: xp.take_along_axis(f(x), y.argmax(2), 2).sum(axis=(1, 2)),
        r"along an axis of Array.*expected as many axes"),
    "shifts of other axes": (lambda f, x, y: xp.roll(f(x), (1, 2), axis=2).sum(axis=(1, 2)), r"rolls 1 axes by 2"),
    "a text": (lambda f, x, y: f(x) * "2", r"computes with str '2'"),
    "an unknown NumPy function": (lambda f, x, y: np.fft.fft(f(x)), r"numpy\.fft.*no counterpart"),
    "a function that makes arrays": (lambda f, x, y: np.linspace(0, f(x), 3), r"numpy\.linspace.*no counterpart"),
    "a triangle of a vector": (lambda f, x, y: xp.tril(f(x)[:, 0, 0]), r"triangle of Array.*expected.*matrices"),
    "arguments of PyTorch": (
        lambda f, x, y: f(x).sum(dim=1),
        r"in line \d+: TypeError: Array.sum\(\) got an unexpected keyword argument 'dim'. Arrays have NumPy's methods",
    ),
    "a method of PyTorch": (lambda f, x, y: f(x).relu(), r"AttributeError: .*relu.*. Arrays have NumPy's methods"),
    "its own fault": (lambda f, x, y: {}["missing"], r"failed while it was traced, in line \d+: KeyError: 'missing'"),
    "f of a number": (lambda f, x, y: f(3.0), r"calls f with float; expected x"),
    "f of another shape": (lambda f, x, y: f(x[:, 0]), r"calls f with Array.*input 'x' has the shape"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_traced_is_said_before_work(name):
    function, said = REFUSED[name]
    with pytest.raises(OnnxAttrError, match=said):
        Saliency(model(), operator=function)


def test_targets_of_other_shapes_are_declared():
    @targets(dtype=np.int64)
    def column(f, x, y):
        return xp.take_along_axis(f(x)[:, 0], y[:, None], axis=1)[:, 0] ** 2

    labels = np.array([2, 0, 1])
    found = Saliency(model(), operator=column).explain(X.astype(np.float32), labels)
    expected = np.zeros_like(X)
    expected[[0, 1, 2], 0, labels] = 8 * X[[0, 1, 2], 0, labels]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "given", "said"),
    [
        (int, [0, 1.7, 2], r"hold 1.7 in sample 1; expected targets of type int64.*: whole numbers"),
        (int, [0, 1, np.nan], "hold nan in sample 2"),
        (np.int8, [300, 0, 1], "hold 300 in sample 0.*that int8 holds"),
        (bool, [0, 1, 0.5], "hold 0.5 in sample 2.*0 or 1"),
    ],
)
def test_targets_of_another_type_than_declared(dtype, given, said):
    @targets(dtype=dtype)
    def weighted(f, x, y):
        return f(x).sum(axis=(1, 2)) * y

    method = Saliency(model(), operator=weighted)
    with pytest.raises(OnnxAttrError, match=said):
        method.explain(X.astype(np.float32), np.array(given))
    whole = np.array([0.0, 1.0, 1.0])
    close_to = 2 * X.sum(axis=(1, 2)) * whole
    np.testing.assert_allclose(method.score(X.astype(np.float32), whole), close_to, rtol=1e-6)


def test_a_score_without_targets_needs_none():
    method = Saliency(model(), operator=lambda f, x, y: (f(x) ** 2).sum(axis=(1, 2)))
    np.testing.assert_allclose(method.explain(X), 8 * X, rtol=1e-6)
    with warnings.catch_warnings(), pytest.raises(OnnxAttrError, match="has rank 3: give targets"):
        Saliency(model(), operator=lambda f, x, y: (f(x) * y).sum(axis=(1, 2))).explain(X)
