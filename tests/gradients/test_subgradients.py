"""What the rules promise where central differences say nothing: closed forms at kinks, zeros and masked rows."""

import numpy as np
import pytest
from support.gradient_graphs import gradients_of, run
from support.rule_cases import VARIANTS, Case, at, case, const
from support.tiny_graphs import parse
from support.tiny_graphs import run as run_model

from onnxattr.compile.gradient import vjp

#: Two windows of one channel: the elements of the first are 0, so that y is 0; those of the second are 3 and -4.
WINDOWS = at([[[0, 0, 3, -4]]])
PAIRS = {"kernel_shape": [2], "strides": [2]}
#: A row, the cotangent of its output, and the gradients of its operands.
CLOSED: list[tuple[Case, object, list]] = [
    (case("LpPool", WINDOWS, **PAIRS, p=1), [[[2, 5]]], [[[[0, 0, 5, -5]]]]),
    (case("LpPool", WINDOWS, **PAIRS, p=2), [[[2, 5]]], [[[[0, 0, 3, -4]]]]),
    (case("LpPool", at([[[0, 0, 0, -4]]]), **PAIRS, p=3), [[[2, 5]]], [[[[0, 0, 0, -5]]]]),
    # Squares below float32's smallest number.
    (case("LpPool", at([[[1e-25, 0, 3, -4]]]), **PAIRS, p=2), [[[2, 5]]], [[[[0, 0, 3, -4]]]]),
    (case("GlobalLpPool", at([[[1e-25, 0]], [[3, -4]]]), p=2), [[[2]], [[5]]], [[[[0, 0]], [[3, -4]]]]),
    (case("GlobalLpPool", at([[[0, 0]], [[3, -4]]]), p=2), [[[2]], [[5]]], [[[[0, 0]], [[3, -4]]]]),
    # Of a base that is not positive the exponent has no gradient: 0, as in TensorFlow.
    (
        case("Pow", at([[0, 0, 0, -2, -2, 4]]), at([[2, 1, 0, 3, 0, 1.5]])),
        [[1, 2, 7, 3, 4, 5]],
        [[[0, 2, 0, 36, 0, 15]], [[0, 0, 0, 0, 0, 40 * np.log(4)]]],
    ),
    (case("Pow", const([0, -2, 1], np.float32), at([0, 2, 2])), [1, 1, 1], [[0, 0, 0]]),
]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("row", "cotangent", "expected"), CLOSED, ids=[str(row[0]) for row in CLOSED])
def test_closed_form(row, cotangent, expected, variant):
    feeds = row.feeds() | {"y0_cotangent": np.asarray(cotangent, np.float32)}
    found = gradients_of(run(vjp(row.model(variant), row.wrt()), feeds))
    for name, gradient in zip(row.wrt(), expected, strict=True):
        np.testing.assert_allclose(found[f"{name}_gradient"], gradient, rtol=1e-5, err_msg=name)


def test_a_row_that_is_masked_as_a_whole():
    """Its probabilities are not a number; the model puts zeros in their place, and the gradient has zeros there too."""
    model = parse("""g (float[N,3] x, float[N,3] mask, float[3,2] v) => (float[N,2] y) <float zero = {0}> {
        scores = Add(x, mask) p = Softmax(scores) none = IsNaN(p) q = Where(none, zero, p) y = MatMul(q, v) }""")
    x = np.array([[0.5, -1, 2], [1, 2, 3], [0.25, 0, 1]], np.float32)
    kept = np.array([[1, 1, 1], [0, 0, 0], [1, 0, 1]], bool)
    v = np.array([[1, 2], [-1, 0.5], [0.25, -2]], np.float32)
    ct = np.array([[1, -2], [3, 4], [0.5, 1]], np.float32)
    powers = np.where(kept, np.exp(x.astype(np.float64)), 0)
    p = powers / np.maximum(powers.sum(1, keepdims=True), 1e-30)
    p_ct = ct @ v.T.astype(np.float64)
    mask = np.where(kept, 0, -np.inf).astype(np.float32)
    found = run_model(vjp(model, ["x", "v"]), x=x, mask=mask, v=v, y_cotangent=ct)
    np.testing.assert_allclose(found["y"], p @ v, rtol=1e-5)
    expected = p * (p_ct - (p_ct * p).sum(1, keepdims=True))
    np.testing.assert_allclose(found["x_gradient"], expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(found["x_gradient"][~kept], 0)
    np.testing.assert_allclose(found["v_gradient"], p.T @ ct, rtol=1e-5)
