"""Preparing a model takes work in proportion to its nodes, whatever the graph looks like; nothing recurses along it."""

import cProfile
import inspect
import pstats
import sys
import time
import tracemalloc

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.small_models import build, node

from onnxattr.attributions import Saliency
from onnxattr.compile.gradient import vjp
from onnxattr.graph.builder import OpBuilder
from onnxattr.loading.missing import may_be_missing
from onnxattr.session import Session

VECTOR = ["N", 4]


def info(name, dims=VECTOR, dtype=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, dims)


def model(nodes, inputs=("x",), outputs=("y",), **weights):
    return build(nodes, dict.fromkeys(inputs, VECTOR), dict.fromkeys(outputs, VECTOR), weights)


def names(count, first="x", last="y", stem="v"):
    return [first, *(f"{stem}{i}" for i in range(count - 1)), last]


def chain(count, op_type="Tanh", first="x", last="y"):
    given = names(count, first, last)
    return [node(op_type, [given[i]], [given[i + 1]], name=f"n{i}") for i in range(count)]


def vectors(count, stem="w"):
    return {f"{stem}{i}": np.linspace(-1, 1, 4, dtype=np.float32) * (i % 7 + 1) / 8 for i in range(count)}


def residual(count):
    given = names(count // 3)
    nodes = []
    for i in range(count // 3):
        nodes += [
            node("Gemm", [given[i], f"m{i}", f"w{i}"], [f"g{i}"]),
            node("Relu", [f"g{i}"], [f"r{i}"]),
            node("Add", [given[i], f"r{i}"], [given[i + 1]]),
        ]
    matrices = {f"m{i}": np.eye(4, dtype=np.float32) * 0.1 for i in range(count // 3)}
    return model(nodes, **matrices, **vectors(count // 3))


def initializers(count):
    given = names(count)
    nodes = [node("Add" if i % 2 else "Mul", [given[i], f"w{i}"], [given[i + 1]]) for i in range(count)]
    return model(nodes, **vectors(count))


def fan_out(count):
    products = [node("Mul", ["x", f"w{i}"], [f"p{i}"]) for i in range(count)]
    return model([*products, node("Sum", [f"p{i}" for i in range(count)], ["y"])], **vectors(count))


def joined(count):
    return model([node("Sum", [f"x{i}" for i in range(count)], ["y"])], [f"x{i}" for i in range(count)])


def in_loop(count):
    inputs = [info("i", [], TensorProto.INT64), info("go", [], TensorProto.BOOL), info("before")]
    outputs = [info("go_on", [], TensorProto.BOOL), info("after")]
    nodes = [node("Identity", ["go"], ["go_on"]), *chain(count, first="before", last="after")]
    body = helper.make_graph(nodes, "body", inputs, outputs)
    return model([node("Loop", ["trips", "", "x"], ["y"], body=body)], trips=np.int64(2))


DECIDED = [
    node("ReduceMax", ["x"], ["most"], keepdims=0), node("Greater", ["most", "zero"], ["positive"]),
]  # fmt: skip


def in_if(count):
    branch = helper.make_graph(chain(count, last="then"), "then", [], [info("then")])
    other = helper.make_graph([node("Neg", ["x"], ["other"])], "else", [], [info("other")])
    nodes = [*DECIDED, node("If", ["positive"], ["y"], then_branch=branch, else_branch=other)]
    return model(nodes, zero=np.float32(0))


def ifs(count):
    given = names(count)
    nodes = [*DECIDED]
    for i in range(count):
        branches = {
            f"{kind}_branch": helper.make_graph(
                [node(op_type, [given[i]], [f"{kind}{i}"])], kind, [], [info(f"{kind}{i}")]
            )
            for kind, op_type in (("then", "Tanh"), ("else", "Neg"))
        }
        nodes.append(node("If", ["positive"], [given[i + 1]], **branches))
    return model(nodes, zero=np.float32(0))


def calls(count):
    proto = model(chain(count, "F"))
    for called in proto.graph.node:
        called.domain = "local"
    proto.opset_import.append(helper.make_opsetid("local", 1))
    imports = [helper.make_opsetid("", 18)]
    body = [node("Tanh", ["a"], ["b"])]
    proto.functions.append(helper.make_function("local", "F", ["a"], ["b"], body, imports))
    return proto


def running_sum(count):
    """Sums of more and more activations, each of which depends on all before it."""
    given = names(count // 3)
    nodes = []
    for i in range(count // 3):
        nodes += [
            node("Sigmoid", ["x"], [f"s{i}"]),
            node("Add", [given[i], f"s{i}"], [f"a{i}"]),
            node("Log", [f"a{i}"], [given[i + 1]]),
        ]
    return model(nodes)


SHAPES = {
    "chain": lambda n: model(chain(n)),
    "residual blocks": residual,
    "initializers": initializers,
    "fan-out": fan_out,
    "outputs": lambda n: model(chain(n), outputs=names(n)[1:]),
    "inside a Loop": in_loop,
    "inside an If": in_if,
    "Ifs": ifs,
    "calls": calls,
    "running sum": running_sum,
}


def work(action):
    """The function calls that an action takes, those into C included: a measure of work that no other load changes."""
    profile = cProfile.Profile()
    profile.runcall(action)
    return pstats.Stats(profile).total_calls


SHAPES_BY_TIME = [
    pytest.param(shape, marks=[pytest.mark.slow] * (shape in ("Ifs", "outputs"))) for shape in SHAPES
]


@pytest.mark.parametrize("shape", SHAPES_BY_TIME)
def test_gradient(shape):
    small, large = (SHAPES[shape](count) for count in (30, 240))
    vjp(small)
    first, second = work(lambda: vjp(small)), work(lambda: vjp(large))
    assert second / first < 8.8, (first, second)


def peak(action):
    """The most bytes that Python's objects take during an action."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_memory_of_values_that_depend_on_all_before_them():
    small, large = running_sum(90), running_sum(1440)
    vjp(small)
    first, second = peak(lambda: vjp(small)), peak(lambda: vjp(large))
    assert second / first < 17.6, (first, second)


@pytest.mark.parametrize("shape", ["chain", "fan-out", "inputs"])
def test_method(shape):
    make = joined if shape == "inputs" else SHAPES[shape]
    small, large = make(60), make(480)
    Saliency(small).explainer()
    first, second = work(lambda: Saliency(small).explainer()), work(lambda: Saliency(large).explainer())
    assert second / first < 8.8, (first, second)


def test_named_inputs():
    """What reaches the score is found once, not for each name."""
    small, large = joined(60), joined(480)
    first, second = (
        work(lambda p=p: Saliency(p, wrt=[value.name for value in p.graph.input])) for p in (small, large)
    )
    assert second / first < 8.8, (first, second)


def test_where_inputs_may_miss_values_is_found_for_all_at_once():
    small, large = joined(60), joined(480)
    for proto in (small, large):
        outputs = [f"m{i}" for i in range(len(proto.graph.input))]
        for i, name in enumerate(outputs):
            proto.graph.node.insert(0, node("Where", [f"nan{i}", "zero", f"x{i}"], [name]))
            proto.graph.node.insert(0, node("IsNaN", [f"x{i}"], [f"nan{i}"]))
        proto.graph.node[-1].input[:] = outputs
        proto.graph.initializer.append(numpy_helper.from_array(np.float32(0), "zero"))
    loaded = [ir.serde.deserialize_model(proto).graph for proto in (small, large)]
    first, second = (work(lambda g=g: may_be_missing(g.inputs, g.outputs[0])) for g in loaded)
    assert all(may_be_missing(loaded[0].inputs, loaded[0].outputs[0]))
    assert second / first < 8.8, (first, second)


@pytest.mark.parametrize("shape", SHAPES_BY_TIME)
def test_no_recursion_along_the_graph(shape):
    proto, limit = SHAPES[shape](450), sys.getrecursionlimit()
    vjp(SHAPES[shape](6))
    sys.setrecursionlimit(len(inspect.stack()) + 200)
    try:
        vjp(proto)
    finally:
        sys.setrecursionlimit(limit)


def test_names_are_not_tried_twice():
    class Counted(set):
        tried = 0

        def __contains__(self, name):
            Counted.tried += 1
            return super().__contains__(name)

    op = OpBuilder(ir.Graph([], [], nodes=[], opset_imports={"": 18}), 18, prefix="p")
    op._names = Counted({"p/Add_1", "p/Add_3"})
    given = [op.unique_name("Add") for _ in range(500)]
    assert given[:4] == ["p/Add", "p/Add_2", "p/Add_4", "p/Add_5"]
    assert len(set(given)) == 500
    assert Counted.tried < 1100


@pytest.mark.slow
def test_chain_of_50000():
    """In under a minute of one thread's time; numbers of the first thousandth are checked against the closed form."""
    began = time.process_time()
    gradient = vjp(model(chain(50_000)))
    assert time.process_time() - began < 60
    assert len(gradient.graph.node) > 150_000
    onnx.checker.check_model(gradient)
    short = vjp(model(chain(50)))
    x, expected = np.array([[-1.5, -0.2, 0.3, 2.0]], np.float32), np.ones((1, 4))
    y = x.astype(np.float64)
    for _ in range(50):
        y = np.tanh(y)
        expected = expected * (1 - y**2)
    outputs = Session(short)
    results = dict(zip(outputs.outputs, outputs.run({"x": x, "y_cotangent": np.ones_like(x)}), strict=True))
    np.testing.assert_allclose(results["x_gradient"], expected, rtol=1e-5)
