"""Graphs are sorted where a node stands before what it reads, and left alone elsewhere."""

import numpy as np
import onnx_ir as ir
import pytest
from support.tiny_graphs import parse, run

from onnxattr import vjp
from onnxattr.graph.subgraphs import nodes_of, sort

CHAIN = "g (float[N] x) => (float[N] y) { a = Neg(x) b = Exp(a) c = Neg(x) y = Add(b, c) }"
BRANCHES = """g (bool go, float[N] x) => (float[N] y) {
  a = Neg(x)
  b = If (go) <
    then_branch = yes () => (float[N] t) { u = Exp(a) t = Neg(u) },
    else_branch = no () => (float[N] f) { f = Identity(x) }
  >
  y = Add(b, a)
}"""


def graph_of(text: str) -> ir.Graph:
    return ir.serde.deserialize_model(parse(text)).graph


def names(graph: ir.Graph) -> list[str]:
    return [node.outputs[0].name for node in nodes_of(graph)]


@pytest.mark.parametrize("text", [CHAIN, BRANCHES])
def test_an_ordered_graph_stays(text, monkeypatch):
    """Where onnx_ir's sort would leave it too."""
    graph, other = graph_of(text), graph_of(text)
    other.sort()
    monkeypatch.setattr(ir.Graph, "sort", None)
    sort(graph)
    assert names(graph) == names(other)


@pytest.mark.parametrize(
    ("text", "moved", "before"),
    [
        (CHAIN, "a", None),
        (CHAIN, "y", "c"),
        (BRANCHES, "a", None),
        (BRANCHES, "a", "y"),
        (BRANCHES, "u", None),
    ],
)
def test_any_other_is_sorted(text, moved, before):
    """A node at the end, or another one before what it reads; one in a branch, and one that a branch reads."""
    graph = graph_of(text)
    node = next(n for n in nodes_of(graph) if n.outputs[0].name == moved)
    part = node.graph
    if before is None:
        part.remove(node)
        part.append(node)
    else:
        part.remove(node)
        part.insert_before(next(n for n in part if n.outputs[0].name == before), node)
    disordered = names(graph)
    sort(graph)
    assert names(graph) != disordered
    seen = {"x", "go"}
    for each in nodes_of(graph):
        assert {v.name for v in each.inputs} <= seen or each.op_type == "If"
        seen.update(v.name for v in each.outputs)


@pytest.mark.parametrize("first", range(4))
def test_a_file_in_any_order_is_differentiated(first):
    """ONNX Runtime runs it; its own converter to float16 writes such files."""
    model, x = parse(CHAIN), np.array([0.5, -1], np.float32)
    nodes = [*model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes[first:] + nodes[:first])
    found = run(vjp(model), x=x, y_cotangent=np.ones_like(x))
    np.testing.assert_allclose(found["y"], np.exp(-x) - x, rtol=1e-6)
    np.testing.assert_allclose(found["x_gradient"], -np.exp(-x) - 1, rtol=1e-6)
