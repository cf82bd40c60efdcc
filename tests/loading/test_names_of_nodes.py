"""Names of nodes: those of one name are told apart, and errors about types say which nodes they are about."""

import numpy as np
import onnx
import pytest
from support.tiny_graphs import parse, run

from onnxattr import IntegratedGradients, Saliency
from onnxattr.errors import ModelError
from onnxattr.graph.subgraphs import nodes_in, nodes_of
from onnxattr.loading.load import load

X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
CHAIN = "g (float[N,4] x) => (float[N,4] y) { [same] a = Sin(x) [same] b = Neg(a) [same_1] y = Exp(b) }"
BRANCHES = """g (float[N,4] x, bool c) => (float[N,4] y) {
    [same] y = If(c) <then_branch = t () => (float[N,4] p) { [same] q = Sin(x) [same] p = Neg(q) },
                      else_branch = e () => (float[N,4] r) { [same] r = Sin(x) }> }"""


@pytest.mark.parametrize("rendering", ["batch", "loop"])
def test_equal_names(rendering, tmp_path):
    model = parse(CHAIN)
    assert [node.name for node in load(model).graph] == ["same", "same_1_", "same_1"]
    expected = np.abs(np.cos(X) * np.exp(-np.sin(X))) * np.eye(4)[[0, 1, 3]]
    np.testing.assert_allclose(Saliency(model).explain(X, [0, 1, 3]), expected, atol=1e-6)
    method = IntegratedGradients(model, steps=3)
    method.export(tmp_path / "file.onnx", rendering)
    found = run(onnx.load(tmp_path / "file.onnx"), x=X, target=np.array([0, 1, 3]))["attribution"]
    np.testing.assert_allclose(found, method.explain(X, [0, 1, 3]), atol=1e-6)


def test_equal_names_of_several_graphs_stay():
    model = parse(BRANCHES)
    names = [node.name for node in nodes_of(load(model).graph)]
    assert names.count("same") == 3
    assert len(names) == 4
    once = parse(BRANCHES.replace("[same] p", "[other] p"))
    assert [node.name for node in nodes_of(load(once).graph)] == [node.name for node in nodes_in(once.graph)]


#: Nodes of a half-precision model in which a Cast still gives float32, and a node that cannot take it.
LEFT = {
    "the operand itself": ("[left] c = Cast<to = 1>(n) [odd] y = Mul(h, c)", "Mul, node name: odd"),
    "behind others": ("[left] c = Cast<to = 1>(n) d = Sqrt(c) [odd] y = Div(h, d)", "Div, node name: odd"),
    "a product": (
        "[left] c = Cast<to = 1>(n) d = Expand(c, size) [odd] y = MatMul(h, d)",
        "MatMul, node name: odd",
    ),
    "no name": ("c = Cast<to = 1>(n) [odd] y = Add(h, c)", "Add, node name: odd"),
}


@pytest.mark.parametrize("case", LEFT)
def test_casts_that_a_conversion_left(case):
    nodes, named = LEFT[case]
    text = (
        f"g (float16[N,4] h, int64 n) => (float16[A,B] y) <int64[2] size = {{4, 3}}, float16 c> {{ {nodes} }}"
    )
    with pytest.raises(ModelError, match=named) as error:
        load(parse(text))
    cast = "c" if case == "no name" else "left"
    assert f"The Cast nodes ['{cast}'] give FLOAT where the file declares FLOAT16 (10)" in str(error.value)
    # The advice helps.
    load(parse(text.replace("<to = 1>", "<to = 10>")))


def test_other_types_are_not_laid_to_casts():
    with pytest.raises(ModelError, match="Add, node name: odd") as error:
        load(parse("g (float[N] x, int64[N] n) => (float[N] y) { c = Cast<to = 1>(n) [odd] y = Add(x, n) }"))
    assert "Cast" not in str(error.value)
