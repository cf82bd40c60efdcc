"""Every rule where a node of a real model stands: between Transposes, in and behind an If, in and behind a Loop.

What is right alone may go wrong there: ONNX Runtime moves Transposes, and shapes are lost behind a body.
The gradients are those of the node alone, which test_rules.py holds to float64 differences.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.gradient_graphs import assert_close, cotangents_of, gradients_of, run
from support.rule_cases import Case
from support.rule_cases.tables import CASES

from onnxattr.compile.gradient import vjp
from onnxattr.errors import ModelError

BOOL, INT64 = TensorProto.BOOL, TensorProto.INT64


class Placed:
    """The model of a row, with room for nodes before and behind the one that it is about."""

    def __init__(self, row: Case):
        self.row, self.model = row, row.model()
        self.graph = self.model.graph
        (self.node,) = self.graph.node
        self.wrt = row.wrt()
        self.results = [value.name for value in self.graph.output]

    def inside(self, name: str) -> str:
        """Lets the node read or give another value in the place of a graph's input or output; returns its name."""
        for names in (self.node.input, self.node.output):
            names[:] = [f"{n}_inside" if n == name else n for n in names]
        return f"{name}_inside"

    def give(self, before: Sequence[onnx.NodeProto], node: onnx.NodeProto, behind: Sequence[onnx.NodeProto]):
        del self.graph.node[:]
        self.graph.node.extend([*before, node, *behind])

    def constant(self, name: str, value: object, dtype: type) -> str:
        self.graph.initializer.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def typed(self, name: str, inside: str, dims: Sequence[int] | None) -> onnx.ValueInfoProto:
        kind = next(v for v in self.graph.output if v.name == name).type.tensor_type.elem_type
        return helper.make_tensor_value_info(inside, kind, dims)


def between_transposes(placed: Placed) -> Callable[[np.ndarray], np.ndarray]:
    """All axes of the operands and results come in the opposite order."""
    before = []
    for value in placed.graph.input:
        if value.name in placed.wrt:
            shape = value.type.tensor_type.shape
            shape.CopyFrom(onnx.TensorShapeProto(dim=[*shape.dim][::-1]))
            before.append(helper.make_node("Transpose", [value.name], [placed.inside(value.name)]))
    behind = [helper.make_node("Transpose", [placed.inside(name)], [name]) for name in placed.results]
    placed.give(before, placed.node, behind)
    return np.transpose


def in_if(placed: Placed) -> None:
    """The other branch gives zeros of other shapes."""
    placed.graph.input.append(helper.make_tensor_value_info("yes", BOOL, []))
    primal, zeros = placed.row.primal(), []
    results = [(name, placed.inside(name)) for name in placed.results]
    for name, _ in results:
        other = np.zeros([1] * primal[name].ndim, primal[name].dtype)
        zeros.append(helper.make_node("Constant", [], [f"{name}_no"], value=numpy_helper.from_array(other)))
    yes = helper.make_graph([placed.node], "yes_branch", [], [placed.typed(n, i, None) for n, i in results])
    no = helper.make_graph(zeros, "no_branch", [], [placed.typed(n, f"{n}_no", None) for n, _ in results])
    node = helper.make_node("If", ["yes"], placed.results, then_branch=yes, else_branch=no)
    placed.give([], node, [])


def behind_if(placed: Placed) -> None:
    """Every operand is that of a branch that is taken; the other would give its opposite."""
    placed.graph.input.append(helper.make_tensor_value_info("yes", BOOL, []))
    before = []
    for name in placed.wrt:
        branches = [
            helper.make_graph(
                [helper.make_node(op_type, [name], [f"{name}_{op_type}"])],
                f"{name}_branch_{op_type}",
                [],
                [helper.make_tensor_value_info(f"{name}_{op_type}", TensorProto.FLOAT, None)],
            )
            for op_type in ("Identity", "Neg")
        ]
        attributes = dict(zip(("then_branch", "else_branch"), branches, strict=True))
        before.append(helper.make_node("If", ["yes"], [placed.inside(name)], **attributes))
    placed.give(before, placed.node, [])


def in_loop(placed: Placed) -> None:
    """One step, whose results are the slices of the Loop's."""
    trips, first = placed.constant("trips", 1, np.int64), placed.constant("first", 0, np.int64)
    count, same = (helper.make_tensor_value_info(name, INT64, []) for name in ("count", "same"))
    results = [(name, placed.inside(name)) for name in placed.results]
    step = helper.make_tensor_value_info("step", INT64, [])
    go, on = (helper.make_tensor_value_info(name, BOOL, []) for name in ("go", "on"))
    nodes = [helper.make_node("Identity", pair[:1], pair[1:]) for pair in (["go", "on"], ["count", "same"])]
    nodes.append(placed.node)
    outputs = [placed.typed(n, i, list(placed.row.primal()[n].shape)) for n, i in results]
    body = helper.make_graph(nodes, "body", [step, go, count], [on, same, *outputs])
    node = helper.make_node(
        "Loop", [trips, "", first], ["counted", *(f"{n}_all" for n in placed.results)], body=body
    )
    placed.give(
        [], node, [helper.make_node("Gather", [f"{n}_all", first], [n], axis=0) for n in placed.results]
    )


def behind_loop(placed: Placed) -> None:
    """Every operand is turned to its opposite and back; its shape is lost on the way, but for the rank."""
    trips, before = placed.constant("trips", 2, np.int64), []
    for name in placed.wrt:
        rank = placed.row.feeds()[name].ndim
        names = [f"{name}_{part}" for part in ("step", "go", "state", "on", "next")]
        kinds = [
            (INT64, []),
            (BOOL, []),
            (TensorProto.FLOAT, [None] * rank),
            (BOOL, []),
            (TensorProto.FLOAT, None),
        ]
        values = [helper.make_tensor_value_info(n, *kind) for n, kind in zip(names, kinds, strict=True)]
        nodes = [helper.make_node("Identity", [names[1]], [names[3]])]
        nodes += [helper.make_node("Neg", [names[2]], [names[4]])]
        body = helper.make_graph(nodes, f"{name}_body", values[:3], values[3:])
        before.append(helper.make_node("Loop", [trips, "", name], [placed.inside(name)], body=body))
    placed.give(before, placed.node, [])


PLACES = (between_transposes, in_if, behind_if, in_loop, behind_loop)
#: ONNX Runtime itself, without any gradient, multiplies a transposed matrix with a vector wrongly: the prepared model's
#: prediction, which is right, is another one.
WRONG_IN_RUNTIME = {("MatMul-2x3,3", between_transposes)}


def check(row: Case, place: Callable) -> None:
    if (str(row), place) in WRONG_IN_RUNTIME:
        with pytest.raises(ModelError, match="changed its prediction"):
            compare(row, place)
    else:
        compare(row, place)


def compare(row: Case, place: Callable) -> None:
    alone = row.gradient()
    primal, feeds = row.primal(), row.feeds()
    cotangents = cotangents_of(alone, primal)
    expected = gradients_of(run(alone, feeds | cotangents))
    placed = Placed(row)
    view = place(placed) or (lambda array: array)
    gradient = vjp(placed.model, row.wrt())
    onnx.checker.check_model(gradient, full_check=True)
    given = {name: view(array) if name in row.wrt() else array for name, array in feeds.items()}
    given |= {name: view(array) for name, array in cotangents.items()}
    given |= {"yes": np.array(True)} if any(v.name == "yes" for v in gradient.graph.input) else {}
    results = run(gradient, given)
    for name, array in primal.items():
        assert_close(view(results[name]), array, name)
    for name, array in expected.items():
        assert_close(view(results[name]), array, name)


@pytest.mark.parametrize("row", CASES, ids=str)
def test_one_place_of_each_rule(row: Case):
    check(row, PLACES[zlib.crc32(str(row).encode()) % len(PLACES)])


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
@pytest.mark.parametrize("row", CASES, ids=str)
def test_every_place_of_each_rule(row: Case, place: Callable):
    check(row, place)
