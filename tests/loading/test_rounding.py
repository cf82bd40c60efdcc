"""How much of an output is rounding where it is small beside its range: checks that compare two runs leave it out."""

import numpy as np
import pytest
from support.tiny_graphs import parse

from onnxattr.loading.prepared import prepare
from onnxattr.running.rounding import alike, rounding

EPS = 2.0**-23


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("y = Sigmoid(x)", 8 * EPS),
        ("s = Softmax(x) y = Transpose(s)", 8 * EPS),
        ("t = Tanh(x) y = Mul(t, t)", 8 * EPS),
        ("y = Clip(x, low, high)", 8 * 6 * EPS),
        ("y = Relu(x)", 0),
        ("y = Exp(x)", 0),
        ("h = Cast<to=10>(x) y = Sigmoid(h)", 8 * 2.0**-10),
    ],
)
def test_a_part_of_the_range(body, expected):
    kind = "float16" if "Cast" in body else "float"
    model = parse(f"g (float[N,4] x) => ({kind}[a,b] y) <float low = {{0}}, float high = {{6}}> {{ {body} }}")
    assert rounding(prepare(model)) == pytest.approx(expected)


def test_probabilities_without_digits_are_close():
    """As a detector of text gives them for a page without text: steps of 6e-8 below 1e-6."""
    found, expected = np.array([[6e-8, 8.3e-7]], np.float32), np.array([[0, 7.7e-7]], np.float32)
    assert alike(found, expected, 1e-3, 8 * EPS)
    assert not alike(found, expected, 1e-3, 0.0)
    assert not alike(found + np.float32(2e-6), expected, 1e-3, 8 * EPS)
