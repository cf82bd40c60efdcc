"""Random models: none is explained wrongly, and what would be wrong is found."""

import functools

import numpy as np
import pytest
from fuzz import judge as judging
from fuzz.generate import Case, draw
from fuzz.judge import CRASHED, WRONG, judge
from fuzz.minimise import minimise
from onnx import parser

from onnxattr import vjp
from onnxattr.rules.standard import STANDARD

BLOCK = 20
MODEL = """<ir_version: 8, opset_import: ["" : 18]>
g (float[N,4] x) => (float[N,4] y) <float[4] w = {0.5, -1, 2, 1.5}> {
  a = Mul(x, w)
  b = Tanh(a)
  c = Sin(b)
  d = Relu(c)
  y = Add(d, x)
}"""
MIXING = """<ir_version: 8, opset_import: ["" : 18]>
g (float[N,4] x) => (float[N,4] y) <int64 zero = {0}> {
  y = CumSum(x, zero)
}"""


@pytest.mark.parametrize("first", range(0, 200, BLOCK))
def test_no_random_model_is_explained_wrongly(first):
    """The same 200 models every time; `make fuzz` takes others."""
    found = {seed: judge(draw(seed)) for seed in range(first, first + BLOCK)}
    assert not {seed: verdict for seed, verdict in found.items() if verdict.status in (WRONG, CRASHED)}


def test_a_seed_gives_one_model():
    assert draw(7).model == draw(7).model
    assert draw(7).model != draw(8).model


def case(text):
    rng = np.random.default_rng(0)
    points = [rng.normal(size=(3, 4)).astype(np.float32) for _ in range(3)]
    return Case(0, parser.parse_model(text), True, points, "symbolic")


def half(op, node, ct):
    """A rule that is wrong by a factor."""
    return (op.Mul(ct, 0.5),)


def nan(op, node, ct):
    """A rule that is never finite."""
    return (op.Div(op.Mul(ct, 0), 0),)


@pytest.mark.parametrize(("rule", "check"), [(half, "gradient"), (nan, "gradient")])
def test_a_wrong_rule_is_found_and_the_model_made_small(monkeypatch, rule, check):
    monkeypatch.setattr(judging, "vjp", functools.partial(vjp, rules=STANDARD | {"Tanh": rule}))
    verdict = judge(case(MODEL))
    assert (verdict.status, verdict.check) == (WRONG, check)
    small = minimise(case(MODEL), verdict)
    assert sorted(node.op_type for node in small.model.graph.node if node.op_type != "Identity") == ["Tanh"]


def test_another_prediction_is_found(monkeypatch):
    def other(model, *arguments):
        return vjp(parser.parse_model(MODEL.replace("0.5, -1", "0.5, -1.01")), *arguments)

    monkeypatch.setattr(judging, "vjp", other)
    verdict = judge(case(MODEL))
    assert (verdict.status, verdict.check) == (WRONG, "forward")


def test_samples_that_mix_are_found():
    """The same model passes where mixing is what is expected."""
    mixing = case(MIXING)
    assert judge(mixing).status == WRONG
