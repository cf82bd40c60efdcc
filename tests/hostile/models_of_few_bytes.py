"""Small files that ask for much: constants, calls and loops whose results no machine holds."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from support.small_models import build, node

HUGE = 2**40
DIMS = ["N", 4]


def info(
    name: str, dims: Sequence[int | str] | None = DIMS, dtype: int = TensorProto.FLOAT
) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, dims)


def model(
    nodes: Sequence[onnx.NodeProto], opset: int = 18, dims: Sequence[int | str] = DIMS, **arrays
) -> onnx.ModelProto:
    """x to y, of these nodes."""
    return build(nodes, {"x": dims}, {"y": dims}, arrays, opset)


def added(*nodes: onnx.NodeProto, opset: int = 18, **arrays) -> onnx.ModelProto:
    """x + the sum of what the nodes make of constants, ``k``."""
    rest = [
        node("Cast", ["k"], ["as_float"], to=TensorProto.FLOAT),
        node("ReduceMax", ["as_float"], ["most"], keepdims=0),
        node("Add", ["x", "most"], ["y"]),
    ]
    return model([*nodes, *rest], opset, **arrays)


def doubled(op_type: str, levels: int, **attributes) -> onnx.ModelProto:
    """Each node takes the result of the one before twice."""
    tower = [
        node(op_type, [f"k{i}"] * 2, [f"k{i + 1}" if i < levels - 1 else "k"], **attributes)
        for i in range(levels)
    ]
    return added(*tower, k0=np.arange(2))


def in_branch(inner: onnx.ModelProto) -> onnx.ModelProto:
    """A model as a branch of an If."""
    graph = onnx.GraphProto()
    graph.CopyFrom(inner.graph)
    del graph.input[:]
    graph.name, graph.node[-1].output[0], graph.output[0].name = "then", "then_y", "then_y"
    other = helper.make_graph([node("Neg", ["x"], ["else_y"])], "else", [], [info("else_y")])
    decide = [
        node("ReduceMax", ["x"], ["most_of_x"], keepdims=0),
        node("Greater", ["most_of_x", "zero"], ["positive"]),
        node("If", ["positive"], ["y"], then_branch=graph, else_branch=other),
    ]
    return model(decide, zero=np.float32(0))


def in_function(inner: onnx.ModelProto) -> onnx.ModelProto:
    """A model as a function of a model; its weights are constants."""
    weights = [node("Constant", [], [tensor.name], value=tensor) for tensor in inner.graph.initializer]
    imports = [helper.make_opsetid("", 18)]
    function = helper.make_function("local", "F", ["x"], ["y"], [*weights, *inner.graph.node], imports)
    return with_functions(model([node("F", ["x"], ["y"], domain="local")]), [function])


def with_functions(proto: onnx.ModelProto, functions: Sequence[onnx.FunctionProto]) -> onnx.ModelProto:
    proto.opset_import.append(helper.make_opsetid("local", 1))
    proto.functions.extend(functions)
    return proto


def function(name: str, *nodes: onnx.NodeProto) -> onnx.FunctionProto:
    """A function from a to b."""
    return helper.make_function(
        "local", name, ["a"], ["b"], nodes, [helper.make_opsetid(d, v) for d, v in IMPORTS]
    )


IMPORTS = (("", 18), ("local", 1))


def calling(levels: int, twice: bool) -> onnx.ModelProto:
    """Functions that call each other, once or twice each."""

    def call(k: int, source: str, result: str) -> onnx.NodeProto:
        return node(f"F{k}", [source], [result], domain="local")

    functions = [function("F0", node("Tanh", ["a"], ["b"]))]
    for k in range(1, levels):
        second = call(k - 1, "h", "b") if twice else node("Sin", ["h"], ["b"])
        functions.append(function(f"F{k}", call(k - 1, "a", "h"), second))
    return with_functions(model([call(levels - 1, "x", "y")]), functions)


def around(*names: str) -> onnx.ModelProto:
    """Functions that call each other in a circle."""
    following = dict(zip(names, (*names[1:], names[0]), strict=True))
    functions = [function(a, node(b, ["a"], ["b"], domain="local")) for a, b in following.items()]
    return with_functions(model([node(names[0], ["x"], ["y"], domain="local")]), functions)


def heavy_function() -> onnx.ModelProto:
    """A function with a constant of a megabyte, called a thousand times."""
    weights = numpy_helper.from_array(np.ones((2**16, 4), np.float32))
    body = [
        node("Constant", [], ["w"], value=weights),
        node("ReduceMean", ["w"], ["m"], keepdims=0),
        node("Add", ["a", "m"], ["b"]),
    ]
    names = ["x", *(f"v{i}" for i in range(999)), "y"]
    calls = [node("F", [a], [b], domain="local") for a, b in itertools.pairwise(names)]
    return with_functions(model(calls), [function("F", *body)])


def loop(trips: int, *nodes: onnx.NodeProto, scan: Sequence[int] = ()) -> onnx.ModelProto:
    """A Loop of a constant number of steps; with ``scan`` it also gives a value of that shape in each."""
    outputs = [info("go_on", [], TensorProto.BOOL), info("after"), *([info("slice", scan)] if scan else [])]
    inputs = [info("i", [], TensorProto.INT64), info("go", [], TensorProto.BOOL), info("before")]
    body = helper.make_graph([node("Identity", ["go"], ["go_on"]), *nodes], "body", inputs, outputs)
    results = ["y", "slices"] if scan else ["y"]
    return model([node("Loop", ["trips", "", "x"], results, body=body)], trips=np.int64(trips))


def over_sequences(levels: int, trips: int) -> onnx.ModelProto:
    """Loops inside each other, each of which grows a sequence."""

    def sequence(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_sequence_value_info(name, TensorProto.FLOAT, None)

    def level(k: int) -> onnx.NodeProto:
        before, after = f"before{k}", f"after{k}"
        steps = [node("SequenceInsert", [before, "x"], [after])]
        if k:
            steps = [level(k - 1), node("Identity", [f"grown{k - 1}"], [after])]
        body = helper.make_graph(
            [node("Identity", [f"go{k}"], [f"go_on{k}"]), *steps],
            f"body{k}",
            [info(f"i{k}", [], TensorProto.INT64), info(f"go{k}", [], TensorProto.BOOL), sequence(before)],
            [info(f"go_on{k}", [], TensorProto.BOOL), sequence(after)],
        )
        start = f"before{k + 1}" if k < levels - 1 else "empty"
        return node("Loop", ["trips", "", start], [f"grown{k}"], body=body)

    nodes = [
        node("SequenceEmpty", [], ["empty"]),
        level(levels - 1),
        node("SequenceAt", [f"grown{levels - 1}", "zero"], ["y"]),
    ]
    return model(nodes, trips=np.int64(trips), zero=np.int64(0))


def shape_product(squarings: int) -> onnx.ModelProto:
    """A vector whose length the model computes of the shape of its input: 4 squared again and again."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "one"], ["n0"]),
        *(node("Mul", [f"n{i}", f"n{i}"], [f"n{i + 1}"]) for i in range(squarings)),
        node("ConstantOfShape", [f"n{squarings}"], ["k"]),
    ]
    return added(*nodes, one=np.array([1]))


SIZES: dict[str, tuple[Callable[[], onnx.ModelProto], list[str]]] = {
    "Range": (lambda: added(node("Range", ["a", "b", "c"], ["k"]), a=0, b=HUGE, c=1), ["Range node 'k'", "8 TB"]),
    "Range of floats": (
        lambda: added(node("Range", ["a", "b", "c"], ["k"]), a=np.float32(0), b=np.float32(1), c=np.float32(2**-38)),
        ["Range node 'k'", "1 TB"],
    ),
    "Range up to a product": (
        lambda: added(node("Mul", ["b", "b"], ["bb"]), node("Range", ["a", "bb", "c"], ["k"]), a=0, b=2**20, c=1),
        ["Range node 'k'", "8 TB"],
    ),
    "ConstantOfShape": (lambda: added(node("ConstantOfShape", ["s"], ["k"]), s=[HUGE]), ["ConstantOfShape", "4 TB"]),
    "of computed shape": (lambda: shape_product(4), ["ConstantOfShape node 'k'", "GB"]),
    "Expand": (lambda: added(node("Expand", ["a", "s"], ["k"]), a=[1], s=[HUGE]), ["Expand node 'k'", "8 TB"]),
    "Expand of the input": (
        lambda: model([node("Expand", ["x", "s"], ["e"]), node("ReduceMean", ["e", "zero"], ["y"], keepdims=0)],
                      s=[HUGE, 1, 4], zero=[0]),
        ["Expand node 'e'", "16 TB"],
    ),
    "Tile": (lambda: added(node("Tile", ["a", "s"], ["k"]), a=[1], s=[HUGE]), ["Tile node 'k'", "8 TB"]),
    "Tile of the input": (
        lambda: model([node("Tile", ["x", "s"], ["e"]), node("Slice", ["e", "a", "b"], ["y"])],
                      s=[HUGE, 1], a=[0], b=[1]),
        ["Tile node 'e'", "16 TB"],
    ),
    "Pad": (lambda: added(node("Pad", ["a", "s"], ["k"]), a=[1.5], s=[0, HUGE]), ["Pad node 'k'", "8 TB"]),
    "Pad of the input's rows": (
        lambda: model([node("Pad", ["x", "s"], ["e"]), node("Slice", ["e", "a", "b"], ["y"])],
                      s=[0, 0, HUGE, 0], a=[0], b=[1]),
        ["Pad node 'e'", "16 TB"],
    ),
    "EyeLike": (
        lambda: added(node("Reshape", ["a", "s"], ["m"]), node("Expand", ["m", "t"], ["e"]),
                      node("EyeLike", ["e"], ["k"]), a=[1], s=[1, 1], t=[2**20, 2**20]),
        ["Expand node 'e'", "8 TB"],
    ),
    "OneHot": (
        lambda: added(node("OneHot", ["a", "d", "v"], ["k"]), a=[1], d=HUGE, v=np.array([0, 1], np.float32)),
        ["OneHot node 'k'", "4 TB"],
    ),
    "RandomUniform": (
        lambda: added(node("RandomUniform", [], ["k"], shape=[HUGE])), ["RandomUniform node 'k'", "4 TB"]
    ),
    "tower of Concats": (lambda: doubled("Concat", 39, axis=0), ["Concat node 'k21'", "vector of 2097152 elements"]),
    "outer product": (
        lambda: added(node("Reshape", ["a", "s"], ["column"]), node("Mul", ["column", "a"], ["k"]),
                      a=np.arange(2**10).repeat(2**10), s=[-1, 1]),
        ["Mul node 'k'", "8 TB"],
    ),
    "many of a fair size": (
        lambda: model([n for i in range(64) for n in (node("ConstantOfShape", ["s"], [f"k{i}"]),
                       node("Add", [f"y{i}" if i else "x", f"k{i}"], [f"y{i + 1}" if i < 63 else "y"]))],
                      s=[2**22, 4]),
        ["all of them may take", "MB"],
    ),
    "vectors that inference writes down": (
        lambda: added(node("ConstantOfShape", ["s"], ["c0"], value=numpy_helper.from_array(np.array([1]))),
                      *(node("Cast", [f"c{i}"], [f"c{i + 1}" if i < 15 else "k"], to=7 if i % 2 else 6)
                        for i in range(16)), s=[2**20]),
        ["Cast node", "vector of 1048576 elements"],
    ),
    "input": (
        lambda: model([node("Tanh", ["x"], ["y"])], dims=["N", HUGE]),
        ["Input 'x'", "4 TB", "this machine"],
    ),
    "vector in a branch": (
        lambda: in_branch(added(node("Range", ["a", "b", "c"], ["k"]), a=0, b=HUGE, c=1)), ["Range node 'k'", "8 TB"]
    ),
    "vector in a function": (
        lambda: in_function(added(node("Range", ["a", "b", "c"], ["k"]), a=0, b=HUGE, c=1)), ["Range node", "8 TB"]
    ),
    "steps": (lambda: loop(HUGE, node("Sin", ["before"], ["after"])), ["Loop node 'y'", f"{HUGE} steps"]),
    "slices of steps": (
        lambda: loop(2**20, node("Sin", ["before"], ["after"]), node("Constant", [], ["s"], value_ints=[2**18]),
                     node("Constant", [], ["zero"], value_float=0.0), node("Expand", ["zero", "s"], ["slice"]),
                     scan=[2**18]),
        ["Loop node 'y'", "TB"],
    ),
}  # fmt: skip

#: What is answered, or refused for what it is, without becoming large on the way.
SEQUENCES: dict[str, Callable[[], onnx.ModelProto]] = {
    "of 5000": lambda: model(
        [node("SequenceConstruct", ["x"] * 5000, ["s"]), node("ConcatFromSequence", ["s"], ["c"], axis=1),
         node("Slice", ["c", "a", "b", "a1"], ["y"])], a=[0], b=[4], a1=[1],
    ),
    "a tensor split into 2^28 parts": lambda: model(
        [node("Expand", ["zero", "s"], ["k"]), node("SplitToSequence", ["k"], ["parts"], axis=0),
         node("SequenceAt", ["parts", "place"], ["part"]), node("Add", ["x", "part"], ["y"])],
        zero=np.float32(0), s=[2**25], place=7,
    ),
    "parts of no element": lambda: model(
        [node("SplitToSequence", ["x", "none"], ["parts"], axis=1), node("SequenceAt", ["parts", "none"], ["y"])],
        none=0,
    ),
    "2^62 steps that append": lambda: over_sequences(1, 2**62),
    "60 steps at each of 4 levels": lambda: over_sequences(4, 60),
}  # fmt: skip


def open_loop(*count: onnx.NodeProto, trips: str = "") -> onnx.ModelProto:
    """A Loop of as many steps as the nodes compute, or without end, in an old opset."""
    inner = loop(1, node("Sin", ["before"], ["after"]))
    (step,) = inner.graph.node
    step.input[0] = trips
    if not trips:
        step.input[1] = "always"
    return model(
        [*count, step],
        opset=13,
        always=np.array(True),
        large=np.float32(1e12),
        most=np.int64(2**40),
        million=np.float32(2**23),
    )


#: Loops of which no file says how many steps they take; opened without a run.
LOOPS: dict[str, Callable[[], onnx.ModelProto]] = {
    "without end": lambda: open_loop(),
    "as the input says": lambda: open_loop(
        node("Exp", ["x"], ["e"]), node("Mul", ["e", "large"], ["m"]), node("ReduceMax", ["m"], ["f"], keepdims=0),
        node("Cast", ["f"], ["n"], to=TensorProto.INT64), trips="n",
    ),
    "as the input's size says": lambda: open_loop(
        node("Size", ["x"], ["s"]), node("Mul", ["s", "most"], ["n"]), trips="n"
    ),
    "2^23": lambda: open_loop(node("Cast", ["million"], ["n"], to=TensorProto.INT64), trips="n"),
}  # fmt: skip

CALLS: dict[str, tuple[Callable[[], onnx.ModelProto], list[str]]] = {
    "2^40 calls": (lambda: calling(41, twice=True), [f"{2**40} nodes", "'F40'", "supported: up to"]),
    "2^19 calls": (lambda: calling(20, twice=True), [f"{2**19} nodes", "'F19'", "supported: up to"]),
    "of itself": (lambda: around("F"), ["'F' calls itself", "no recursion"]),
    "in a circle": (lambda: around("F", "G", "H"), ["calls itself", "no recursion"]),
    "5000 levels deep": (lambda: calling(5000, twice=False), ["5000 levels deep", "up to 100"]),
    "of a heavy function": (
        heavy_function,
        ["1048709000 bytes", "one call of function 'F'", "inputs of the functions"],
    ),
}
