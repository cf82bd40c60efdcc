"""The list of passes that prepare a model: its order, its claims, and what crosses to protobuf."""

from pathlib import Path

import onnx
import onnx_ir as ir
import pytest

from onnxattr.autodiff.standard import STANDARD
from onnxattr.loading.load import CHANGED_BY, load
from onnxattr.loading.pass_list import PASSES, PASSES_OF_PART, READ
from onnxattr.loading.passes.bridge import CROSSINGS
from onnxattr.loading.passes.contract import Draft, Fact, table

PAGE = Path(__file__).parents[2] / "docs" / "loading.md"
HEADER = (
    '<ir_version: 8, opset_import: ["" : {opset}, "com.microsoft" : 1]> g (float[N,4] x) => (float[N,4] y)'
)
#: By what it is about: the opset of a model, and its nodes.
MODELS = {
    "nothing to do": (18, "y = Tanh(x)"),
    "a branch and a contrib operator": (
        18,
        """h = FastGelu(x) c = Constant<value = bool {1}>()
           y = If<then_branch = t () => (a) { a = Relu(h) }, else_branch = e () => (b) { b = Neg(h) }>(c)""",
    ),
    "an old opset": (12, "t = Softmax(x) y = Dropout(t)"),
    "a new opset": (27, "y = Swish(x)"),
    "a definition of ONNX": (18, "k = Constant<value = int64[1] {4}>() y = CenterCropPad<axes = [1]>(x, k)"),
    "a Loop": (
        18,
        """n = Constant<value = int64 {3}>() go = Constant<value = bool {1}>()
           y = Loop<body = b (int64 i, bool c, float[N,4] s) => (bool d, float[N,4] r) {
             d = Identity(c) r = Add(s, x)
           }>(n, go, x)""",
    ),
    "a copied weight": (18, "w = Constant<value = float {2}>() v = Identity(w) y = Mul(x, v)"),
    "a resize": (
        18,
        """s = Constant<value_floats = [1.0, 0.45]>() u = Constant<value = int64[1] {20}>()
           k = Shape<end = 1>(x) t = Concat<axis = 0>(k, u) e = Expand(f, t) r = Resize(e, , s)
           m = ReduceMean<keepdims = 1>(r) y = Add(x, m)""",
    ),
}


def model_of(name: str) -> onnx.ModelProto:
    opset, nodes = MODELS[name]
    constants = "<float[1,1] f = {1}>"
    return onnx.parser.parse_model(f"{HEADER.format(opset=opset)} {constants} {{ {nodes} }}")


def test_what_a_pass_requires_is_ensured_before():
    true = set(READ)
    for each in (*PASSES, *PASSES_OF_PART):
        missing = each.requires - true
        assert not missing, f"{each.name}: no pass above ensures {missing}"
        true |= each.ensures
    assert true == set(Fact)


def test_the_page_shows_the_list():
    assert table(PASSES, PASSES_OF_PART) in PAGE.read_text()


@pytest.mark.parametrize("name", MODELS)
def test_a_pass_says_whether_it_changed_anything(name):
    """What says that it changed nothing leaves nodes, names and weights as they are; types may be filled in."""
    draft = Draft(model_of(name), None, STANDARD)

    def state():
        if not hasattr(draft, "model"):
            return draft.file.SerializeToString(deterministic=True)
        proto = ir.serde.serialize_model(draft.model)
        for graph in _graphs(proto.graph):
            del graph.value_info[:]
            for value in (*graph.input, *graph.output):
                value.ClearField("type")
        return proto.SerializeToString(deterministic=True)

    before = state()
    for each in (*PASSES, *PASSES_OF_PART):
        changed = each.run(draft)
        after = state()
        assert changed or after == before, each.name
        before = after


def _graphs(graph):
    yield graph
    for body in (a.g for node in graph.node for a in node.attribute if a.HasField("g")):
        yield from _graphs(body)


@pytest.mark.parametrize(
    ("name", "changed_by"),
    [
        ("nothing to do", {"read into onnx_ir", "name nodes"}),
        (
            "a branch and a contrib operator",
            {"write out decompositions", "infer types, resolve what is decided before a run"},
        ),
        ("an old opset", {"upgrade the opset"}),
        ("a new opset", {"downgrade the opset"}),
        ("a definition of ONNX", {"write out functions of ONNX"}),
        ("a copied weight", {"read weights directly", "lift constants"}),
    ],
)
def test_passes_that_change_a_model(name, changed_by):
    assert changed_by <= set(load(model_of(name)).meta[CHANGED_BY])


@pytest.mark.parametrize(
    ("name", "crossings"),
    [
        ("nothing to do", {}),
        ("a branch and a contrib operator", {"checker": 1, "shape inference": 3}),
        ("an old opset", {"version converter": 1, "version converter, back": 1, "shape inference": 1}),
        ("a Loop", {"check sizes of values, back": 1, "shape inference": 1}),
    ],
)
def test_what_crosses_to_protobuf(name, crossings):
    """What no pass has changed is still the protobuf that was read; the version converter gives another model.

    The FastGelu has no domain: giving it one is a change that the checker has to see.
    """
    assert dict(load(model_of(name)).meta[CROSSINGS]) == crossings
