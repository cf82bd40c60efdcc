"""The rule table: which function differentiates which operator.

A rule has the form::

    @vjp("Softplus")
    def softplus(op, node, ct):
        '''y = log(1 + exp(x));  xbar = ybar * sigmoid(x).'''
        return (op.Mul(ct, op.Sigmoid(node.inputs[0])),)

It returns one entry per node input: a cotangent; ``None`` where no gradient exists (shapes, indices, masks);
``NOT_IMPLEMENTED`` where one exists but is not written, an error only if that input is active; or a function without
arguments that builds the cotangent, called only if the input is active. Nodes with several outputs get a tuple of
cotangents, ``None`` for outputs that do not reach the score. Nodes with subgraphs come as a ``Closure``, whose inputs
include the values that the subgraphs capture.

Zero contributes zero: in the products and quotients of a rule, 0 times anything is 0, also 0 times infinity or NaN. The
builder sees to it, at no cost where the graph tells that the operands are finite; a rule has to choose (``op.Where``)
only where it would multiply by a mask of its own or subtract infinities.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from onnxattr.graph.builder import OpBuilder


class _NotImplementedGradient:
    def __repr__(self) -> str:
        return "NOT_IMPLEMENTED"


NOT_IMPLEMENTED = _NotImplementedGradient()

Cotangent = ir.Value | None | _NotImplementedGradient | Callable[[], ir.Value]
Rule = Callable[[OpBuilder, Any, Any], Sequence[Cotangent]]


class RuleTable(Mapping[str, Rule]):
    """A read-only table of VJP rules; ``table | {...}`` makes a new one, nothing global changes.

    From loading to the sweep it is the only one: what it has a rule for is neither written out in other operators nor
    taken for an operator without gradient.
    """

    def __init__(self, rules: Mapping[str, Rule]):
        self._rules = rules

    def __getitem__(self, op_type: str) -> Rule:
        return self._rules[op_type]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rules)

    def __len__(self) -> int:
        return len(self._rules)

    __hash__ = object.__hash__

    def __or__(self, overrides: Mapping[str, Rule]) -> RuleTable:
        return RuleTable({**self._rules, **overrides})


_RULES: dict[str, Rule] = {}

#: Every standard rule, by operator name ("Relu", or "domain::Name" outside ai.onnx).
STANDARD = RuleTable(_RULES)

#: Operators whose outputs carry no gradient: integer or boolean results, shapes, generators, step functions.
NON_DIFFERENTIABLE = frozenset(
    """
    And ArgMax ArgMin BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Ceil Constant ConstantOfShape Equal EyeLike
    Floor Greater GreaterOrEqual Hardmax IsInf IsNaN Less LessOrEqual NonZero Not Or RandomNormal
    RandomNormalLike RandomUniform RandomUniformLike Round Shape Sign Size Xor Bernoulli Multinomial
    StringNormalizer NonMaxSuppression HannWindow HammingWindow BlackmanWindow MelWeightMatrix BitCast ImageDecoder
    RegexFullMatch StringConcat StringSplit TfIdfVectorizer
    """.split()
)


def op_name(node: Any) -> str:
    """The name of a node's operator as the table spells it."""
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"


def attributes_of(node: Any) -> dict[str, Any]:
    """The attributes of a node by name, for a node that has them too."""
    return {name: attribute.value for name, attribute in node.attributes.items()}


#: Where the local derivative of an operator is infinite or undefined, by operator name; others have no such points.
SINGULAR: dict[str, str] = {}


def vjp(*op_types: str, singular: str = "") -> Callable[[Rule], Rule]:
    """Registers a function as the standard VJP rule of one or more operators.

    Args:
        op_types: The operators.
        singular: Where the local derivative is infinite or undefined, for operands that are numbers.
    """

    def register(rule: Rule) -> Rule:
        SINGULAR.update(dict.fromkeys(op_types if singular else (), singular))
        for op_type in op_types:
            if op_type in _RULES or op_type in NON_DIFFERENTIABLE:
                raise ValueError(f"{op_type} has a rule already.")
            _RULES[op_type] = rule
        return rule

    return register


def unary(*op_types: str, singular: str = "") -> Callable[[Callable[..., ir.Value]], Callable[..., ir.Value]]:
    """Registers ``f(op, x, y, ct) -> xbar`` as the rule of operators with one input and one output."""

    def register(function: Callable[..., ir.Value]) -> Callable[..., ir.Value]:
        def rule(op: OpBuilder, node: Any, ct: ir.Value) -> Sequence[Cotangent]:
            return (function(op, node.inputs[0], node.outputs[0], ct),)

        rule.__name__, rule.__doc__ = function.__name__, function.__doc__
        vjp(*op_types, singular=singular)(rule)
        return function

    return register


@dataclass(frozen=True)
class Span:
    """Several nodes that are differentiated as one, such as the Relu, Min and Max of a ReLU with a ceiling.

    It stands in for a node in the reverse sweep: a rule sees its inputs and outputs as those of a node of type
    ``op_type``.
    """

    op_type: str
    inputs: tuple[ir.Value, ...]
    outputs: tuple[ir.Value, ...]
    name: str
    domain: str = ""


@dataclass(frozen=True, kw_only=True)
class Closure(Span):
    """A node with subgraphs, as its rule sees it: the values that they capture follow its inputs.

    Attributes:
        node: The node itself.
        active: The values that need a cotangent, those among the inputs included.
        rules: The table to differentiate the subgraphs with.
        spans: What is to be differentiated as one inside them.
    """

    inputs: tuple[Any, ...]
    node: ir.Node
    active: Collection[ir.Value]
    rules: RuleTable
    spans: Mapping[ir.Node, Span]
