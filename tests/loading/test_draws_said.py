"""A model that draws random numbers predicts something else in each run: methods and inspect say so."""

import warnings

import numpy as np
import pytest
from onnx import parser

from onnxattr import GradientInput, IntegratedGradients
from onnxattr.inspection import facts, inspect

BRANCH = """m = ReduceMax<keepdims = 0>(x) k = Constant<value = float {0}>() c = Greater(m, k) z = If (c) <
  then_branch = a () => (float[N,3] p) { r = RandomUniformLike(x) p = Mul(x, r) },
  else_branch = b () => (float[N,3] q) { q = Neg(x) }>"""
SAID = {
    "noise of a latent value": ("r = RandomNormalLike(x) z = Add(x, r)", "RandomNormalLike 'RandomNormalLike_0'"),
    "one draw for all rows": ("r = RandomUniform<shape = [3]>() z = Mul(x, r)", "RandomUniform 'RandomUniform_0'"),
    "with a seed": ("r = RandomNormal<shape = [3], seed = 1.0>() z = Mul(x, r)", "RandomNormal 'RandomNormal_0'"),
    "a mask": ("p = Sigmoid(x) r = Bernoulli(p) z = Mul(x, r)", "Bernoulli 'Bernoulli_1'"),
    "in a branch": (BRANCH, "RandomUniformLike"),
}  # fmt: skip
SILENT = {
    "nothing drawn": "z = Sin(x)",
    "its shape alone": "r = RandomNormalLike(x) s = Shape(r) f = Cast<to = 1>(s) m = ReduceMax(f) z = Add(x, m)",
    "of another output": "z = Sin(x) aside = RandomNormalLike(x)",
}


def _model(body, aside=False):
    outputs = "float[N,3] y, float[N,3] aside" if aside else "float[N,3] y"
    return parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 18]> g (float[N,3] x) => ({outputs}) {{ {body} y = Tanh(z) }}'
    )


def _heard(model):
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        IntegratedGradients(model, output="y")
    return [str(one.message) for one in heard if "draws random numbers" in str(one.message)]


@pytest.mark.parametrize("case", SAID)
def test_said(case):
    body, name = SAID[case]
    (text,) = _heard(_model(body))
    assert name in text
    assert name in "".join(facts(_model(body))["draws"])
    assert "the model draws random numbers" in inspect(_model(body))


@pytest.mark.parametrize("case", SILENT)
def test_not_said(case):
    assert _heard(_model(SILENT[case], case == "of another output")) == []


def test_the_maps_are_of_one_draw():
    """z = r x, so that the map of the only draw of a run is tanh'(r x) r x, of the r that another run has not."""
    x = np.full((1, 3), 0.5, np.float32)
    with pytest.warns(UserWarning, match="draws random numbers.*make what it draws an input"):
        method = GradientInput(_model(SAID["one draw for all rows"][0]))
    first, second = method.explain(x, [0]), method.explain(x, [0])
    assert 0 < first[0, 0] != second[0, 0] > 0
    assert not first[0, 1:].any()
