"""Models that are nearly node groups: with and without the groups, gradients are the same."""

import random

import numpy as np
import onnx
import pytest
from support.node_group_models import GROUPS, NEAR_MISSES, X, model_of
from support.tiny_graphs import run

from onnxattr import vjp
from onnxattr.autodiff import engine
from onnxattr.autodiff.groups import Group, grouped
from onnxattr.testing import check_vjp

NODES = [*(nodes for nodes, _ in GROUPS.values()), *NEAR_MISSES.values()]
CONSTANTS = ("g", "b", "eps", "one", "half", "wide")


def mutated(rng: random.Random) -> onnx.ModelProto:
    """A model with one to three changes: other operands, operators and axes, or one more reader of a value."""
    model = model_of(rng.choice(NODES))
    nodes = model.graph.node
    for _ in range(rng.randint(1, 3)):
        index = rng.randrange(len(nodes))
        node, before = nodes[index], [made.output[0] for made in list(nodes)[:index]]
        kind = rng.choice(["operand", "operand", "operator", "order", "reader"])
        if node.op_type == "ReduceMean":
            node.input[1] = rng.choice(["last", "middle", "both"])
        elif kind == "operand":
            others = [*before, "x"] * 2 + [*CONSTANTS]
            node.input[rng.randrange(len(node.input))] = rng.choice(others)
        elif kind == "operator" and node.op_type in ("Add", "Sub", "Mul", "Div"):
            node.op_type = rng.choice(["Add", "Sub", "Mul", "Div"])
        elif kind == "order" and len(node.input) == 2:
            node.input[0], node.input[1] = node.input[1], node.input[0]
        elif kind == "reader":
            nodes[-1].output[0] = "last_value"
            read = rng.choice([made.output[0] for made in nodes])
            nodes.append(onnx.helper.make_node(rng.choice(["Add", "Mul"]), ["last_value", read], ["y"]))
            break
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return model


def gradient_of(model: onnx.ModelProto, ct: np.ndarray) -> np.ndarray:
    return run(vjp(model), x=X, y_cotangent=ct)["x_gradient"]


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 20))])
def test_mutations(seed, monkeypatch):
    rng, groups = random.Random(seed), 0

    def counted(*arguments):
        nonlocal groups
        nodes = grouped(*arguments)
        groups += sum(isinstance(node, Group) for node in nodes)
        return nodes

    for _ in range(60):
        model = mutated(rng)
        try:
            y = run(model, x=X)["y"]
            ct = np.random.default_rng(0).normal(size=y.shape).astype(np.float32)
            monkeypatch.setattr(engine, "grouped", lambda nodes, *_: list(nodes))
            expected = gradient_of(model, ct)
        except Exception:
            # The changes made no model of it.
            continue
        before = groups
        monkeypatch.setattr(engine, "grouped", counted)
        found = gradient_of(model, ct)
        if groups == before or not (np.isfinite(expected).all() and np.abs(y).max() < 1e4):
            continue
        if np.abs(found - expected).max() > 2e-3 * np.abs(expected).max():
            # Where it is the order of additions that differs, float64 differences say so.
            check_vjp(model, {"x": X})
    assert groups
