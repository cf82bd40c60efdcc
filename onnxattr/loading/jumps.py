"""Values that jump where another value passes a number: functions of one element that comparisons or roundings break.

A mask times what it masks, a choice between two functions of one number and a remainder have a gradient on both sides
of their steps. Whether they jump there is no question of the form: z * (z > c) does unless c is 0, the pieces of a hard
sigmoid meet. So the function is computed on both sides of each step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from onnxattr.autodiff.paths import inputs_of, is_float, needed_nodes
from onnxattr.graph.elementwise import OPERATORS
from onnxattr.graph.intervals import FLOATS
from onnxattr.graph.subgraphs import is_standard

_COMPARISONS = frozenset(("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Sign"))
_PERIODIC = frozenset(("Ceil", "Floor", "Mod", "Round"))
_BROKEN = frozenset(("Shrink", "ThresholdedRelu"))
_OF_ONE_ELEMENT = OPERATORS | _COMPARISONS | _PERIODIC | _BROKEN | frozenset(
    "Cast Celu Clip Elu Gelu HardSigmoid HardSwish LeakyRelu Max Mean Min Mish PRelu Selu Sum".split()
)  # fmt: skip
#: Nodes of a function that is looked at, and steps of it, those nearest to 0.
_MOST_NODES, _MOST_STEPS = 200, 64
#: Of its usual size, what a function jumps by at least, and what is rounding.
_JUMP, _ROUNDING = 1e-2, 1e-5
#: Steps nearer to 0 guard what is singular there.
_GUARD = 1e-3
#: How many times its argument's size what a function gives leaves out what it is added to.
_LEAVES_OUT = 100
_POINTS = np.unique(
    np.concatenate([np.linspace(-16, 16, 1025), *(s * np.logspace(-3.1, 3.1, 400) for s in (1, -1))])
)
#: Rounds in which the cell of a step is divided, and its parts.
_ROUNDS, _PARTS = 6, 32


class Jump(NamedTuple):
    """Where a function of one number jumps: at which number, from what, to what."""

    at: float
    left: float
    right: float


class Broken(NamedTuple):
    """A function of one element that steps.

    Attributes:
        root: The value whose elements it takes.
        result: The only value by which its steps reach what follows, if it has a gradient.
        steps: The nodes that step.
        jump: Its jump nearest to 0 of the large ones; None where it is continuous.
        alone: Whether no other function of the same elements steps.
    """

    root: ir.Value
    result: ir.Value
    steps: frozenset[ir.Node]
    jump: Jump | None
    alone: bool


def broken_functions(
    graph: ir.Graph, outputs: Collection[ir.Value], smooth: Collection[ir.Value], opset: int
) -> Iterator[Broken]:
    """The functions of one element of which it is known whether they jump.

    Args:
        graph: The model, each node after what it reads.
        outputs: What is computed of it.
        smooth: The values that gradients of what is explained reach.
        opset: The opset of the model.
    """
    among = dict.fromkeys(needed_nodes(outputs))
    ends, roots, known = set(outputs), dict[ir.Value, ir.Value](), dict[Any, Any]()
    steps: dict[ir.Value, frozenset[ir.Node]] = {}
    members: dict[ir.Value, list[ir.Node]] = {}
    for node in among:
        before = frozenset[ir.Node]().union(*(steps.get(value, ()) for value in inputs_of(node)))
        root = _root(node, roots, smooth)
        if root is not None and len(before) < _MOST_STEPS:
            roots[node.outputs[0]] = root
            members.setdefault(root, []).append(node)
            steps[node.outputs[0]] = before | {node} if _steps(node) else before
    for root, nodes in members.items():
        within = set(nodes)
        leaving = [
            value
            for value in (node.outputs[0] for node in nodes)
            if steps[value]
            and (value in ends or any(use.node in among and use.node not in within for use in value.uses()))
        ]
        ways = Counter(step for value in leaving for step in steps[value])
        for value in leaving:
            if value in smooth and all(ways[step] == 1 for step in steps[value]):
                function = _Function(root, value, steps[value], nodes, opset)
                if function.key not in known:
                    known[function.key] = _looked_at(function)
                if (found := known[function.key]) is not None:
                    yield Broken(root, value, steps[value], found or None, len(leaving) == 1)


def _root(node: ir.Node, roots: dict[ir.Value, ir.Value], smooth: Collection[ir.Value]) -> ir.Value | None:
    """The only value that a node's elements are functions of, beside numbers."""
    if not is_standard(node, *_OF_ONE_ELEMENT) or len(node.outputs) != 1:
        return None
    varying = [value for value in node.inputs if value is not None and value.const_value is None]
    found = {roots.get(value, value) for value in varying}
    if len(found) != 1 or any(_number(v) is None for v in node.inputs if v is not None and v not in varying):
        return None
    (root,) = found
    return root if root in smooth else None


def _steps(node: ir.Node) -> bool:
    return node.op_type in _COMPARISONS | _PERIODIC | _BROKEN or _to_integers(node)


def _to_integers(node: ir.Node) -> bool:
    dtype, source = node.outputs[0].dtype, node.inputs[0]
    return node.op_type == "Cast" and dtype is not None and dtype.is_integer() and is_float(source)


def _number(value: ir.Value) -> np.ndarray | None:
    """The number that all elements of a constant are."""
    tensor = value.const_value
    if tensor is None or tensor.dtype == ir.DataType.STRING or not 0 < tensor.size <= 4096:
        return None
    array = tensor.numpy().ravel()
    if not (array == array[0]).all():
        return None
    return np.asarray(array[0], np.float64) if tensor.dtype.is_floating_point() else np.asarray(array[0])


class _Function:
    """The nodes between a root and a value, computed for numbers.

    Attributes:
        key: The same for the same functions of other values.
    """

    def __init__(
        self, root: ir.Value, value: ir.Value, steps: frozenset[ir.Node], nodes: list[ir.Node], opset: int
    ):
        wanted = {value}
        for node in reversed(nodes):
            if node.outputs[0] in wanted:
                wanted.update(source for source in node.inputs if source is not None)
        self._nodes = [node for node in nodes if node.outputs[0] in wanted]
        names: dict[ir.Value | None, str] = {None: "", root: "x"}
        self._numbers, self._opset = dict[str, np.ndarray](), opset
        protos: list[onnx.NodeProto] = []
        told, read = list[str](), list[str]()
        for node in self._nodes:
            proto = _in_double(node)
            for source in (*node.inputs, *node.outputs):
                if source not in names:
                    names[source] = f"v{len(names)}"
                    if source is not None and (number := _number(source)) is not None:
                        self._numbers[names[source]] = number
            proto.name, proto.doc_string = "", ""
            proto.input[:] = [names[source] for source in node.inputs]
            proto.output[:] = [names[node.outputs[0]]]
            protos.append(proto)
            if node in steps:
                told.append(f"step{len(told)}")
                protos += _told(proto, told[-1])
                # A comparison with NaN is False: what is out of a root's or logarithm's range does not step there.
                read.append(f"read{len(read)}")
                protos.append(onnx.helper.make_node("Sub", [proto.input[0], proto.input[-1]], [read[-1]]))
        self._results, self._protos = [names[value], *told, *read], protos
        numbers = tuple((name, str(number.dtype), number.item()) for name, number in self._numbers.items())
        self.key = tuple(proto.SerializeToString(deterministic=True) for proto in protos), numbers
        self._evaluator: ReferenceEvaluator | None = None

    def __len__(self) -> int:
        return len(self._nodes)

    def __call__(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The function at points, and of each step on which side of it they are."""
        if self._evaluator is None:
            domain = onnx.helper.make_opsetid("", self._opset)
            inputs = ["x", *self._numbers]
            self._evaluator = ReferenceEvaluator(
                onnx.helper.make_function("jumps", "f", inputs, self._results, self._protos, [domain])
            )
        results: Any = self._evaluator.run(None, {**self._numbers, "x": points}, attributes={})
        value, *rest = (np.broadcast_to(np.asarray(one, np.float64), points.shape) for one in results)
        sides, read = np.split(np.stack(rest), 2)
        return np.where(np.isnan(read).any(0), np.nan, value), sides


def _in_double(node: ir.Node) -> onnx.NodeProto:
    """The node with floats of 64 bits."""
    proto = ir.serde.serialize_node(node)
    dtype = node.outputs[0].dtype
    for attribute in proto.attribute if node.op_type == "Cast" and dtype in FLOATS else ():
        attribute.i = onnx.TensorProto.DOUBLE if attribute.name == "to" else attribute.i
    return proto


def _told(node: onnx.NodeProto, name: str) -> list[onnx.NodeProto]:
    """The nodes that give another number on the other side of each step of a node."""
    make = onnx.helper.make_node
    if node.op_type == "Mod":
        return [make("Div", node.input, [f"{name}/"]), make("Floor", [f"{name}/"], [name])]
    return [make("Sign" if node.op_type in _BROKEN else "Identity", node.output, [name])]


def _looked_at(function: _Function) -> Jump | tuple[()] | None:
    """Where a function jumps; () if nowhere, None if that cannot be told."""
    if len(function) > _MOST_NODES:
        return None
    try:
        with np.errstate(all="ignore"):
            return _jump_of(function)
    except Exception:
        # Whatever the evaluator stumbled over: of what cannot be computed nothing is said.
        return None


def _jump_of(function: _Function) -> Jump | tuple[()] | None:
    """See ``_looked_at``."""
    _, sides = function(_POINTS)
    cells = np.flatnonzero((sides[:, 1:] != sides[:, :-1]).any(0))
    cells = cells[np.argsort(np.abs(_POINTS[cells]), kind="stable")[:_MOST_STEPS]]
    if not len(cells):
        return None
    at, beyond = _narrowed(function, _POINTS[cells], _POINTS[cells + 1])
    inside = ~np.isnan(function(at - 1e-7)[0] + function(beyond + 1e-7)[0])
    at, beyond = at[inside], beyond[inside]
    if not len(at):
        return None
    scale = np.maximum(1, np.abs(at))
    left, right = function(at - 1e-7 * scale)[0], function(beyond + 1e-7 * scale)[0]
    before, after = function(at - 1e-4 * scale)[0], function(beyond + 1e-4 * scale)[0]
    height, larger = np.abs(right - left), np.maximum(np.abs(left), np.abs(right))
    if not np.isfinite(height).all():
        return None
    around = function(at + scale * np.array([[-1], [-0.5], [0.5], [1]]))[0]
    usual = np.nan_to_num(np.abs(around), posinf=0).max(0)
    relative = height / np.maximum(np.maximum(larger, usual), 1e-30)
    if (relative < _ROUNDING).all():
        return ()
    goes_to_infinity = np.maximum(np.abs(left - before), np.abs(right - after)) > height / 4
    guards = (np.abs(at) < _GUARD) & (np.abs(at) > 1e-9)
    jumps = (relative > _JUMP) & ~goes_to_infinity & ~guards & (larger < _LEAVES_OUT * scale)
    if not jumps.any():
        return None
    first = int(np.argmax(jumps & (relative >= relative[jumps].max() / 2)))
    ends = ((at, scale), (left, larger), (right, larger))
    return Jump(*(float(x[first]) if abs(x[first]) > 1e-5 * size[first] else 0.0 for x, size in ends))


def _narrowed(function: _Function, left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cells between numbers, made small around the first step in each."""
    for _ in range(_ROUNDS):
        points = np.linspace(left, right, _PARTS + 1)
        _, sides = function(points)
        part = (sides[:, 1:] != sides[:, :-1]).any(0).argmax(0)
        cell = np.arange(len(left))
        left, right = points[part, cell], points[part + 1, cell]
    return left, right
