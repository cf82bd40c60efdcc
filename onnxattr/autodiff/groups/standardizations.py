"""Values standardised over axes, as exporters write layer, instance and root mean square normalisation."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from onnxattr.autodiff.groups.matching import both_ways, made_by, number_of
from onnxattr.autodiff.groups.registry import Group, group
from onnxattr.autodiff.node import Span
from onnxattr.autodiff.registry import Cotangent
from onnxattr.autodiff.standardize import standardize_ct
from onnxattr.graph.builder import OpBuilder
from onnxattr.graph.values import dims_of, ints_of


@dataclass(frozen=True)
class _Deviation:
    """What a value is divided by to be standardised.

    Attributes:
        value: The deviation s, or 1 / s.
        inverse: Whether it is 1 / s.
        centred: What the mean of squares is taken of: x - mean(x), or x itself.
        x: What is standardised.
        mean: The mean of x; None where it counts as 0.
        axes: The axes of the means, counted from the last: what is multiplied or added may have more axes before.
        nodes: The nodes that compute it.
    """

    value: ir.Value
    inverse: bool
    centred: ir.Value
    x: ir.Value
    mean: ir.Value | None
    axes: tuple[int, ...]
    nodes: frozenset[ir.Node]


@group("Div", "Mul")
def standardized(node: ir.Node) -> Group | None:
    """z = (x - m) / s with m = mean(x) and s = sqrt(mean((x - m)^2) + eps), or the same with m = 0."""
    for centred, other in both_ways(node):
        found = _deviation(other)
        if found is None or found.inverse != (node.op_type == "Mul"):
            continue
        if node.op_type == "Div" and node.inputs[0] is not centred:
            continue
        own = _is_centred(centred, found)
        if own is not None:
            return Group(
                op_type="Standardize",
                inputs=(found.x,),
                outputs=(node.outputs[0],),
                name=node.name or "",
                nodes=found.nodes | own | {node},
                rule=functools.partial(_standardized_rule, found),
            )
    return None


def _standardized_rule(found: _Deviation, op: OpBuilder, span: Span, ct: ir.Value) -> Sequence[Cotangent]:
    """xbar = (zbar - mean(zbar) - z * mean(zbar * z)) / s."""
    inverse = found.value if found.inverse else op.Reciprocal(found.value)
    return (standardize_ct(op, span.y, inverse, ct, found.axes, found.mean is not None),)


@group("Add", "Sub")
def shifted(node: ir.Node) -> Group | None:
    """y = x * f + (b - m * f) with f = g / s, as TensorFlow normalises; b and g may be left out."""
    for product, rest in both_ways(node):
        if node.op_type == "Sub" and node.inputs[0] is not product:
            continue
        times = made_by(product, "Mul")
        for x, factor in both_ways(times) if times is not None else ():
            scaled = _scaled(factor)
            if scaled is None:
                continue
            found, scale, own = scaled
            if found.x is not x or found.mean is None:
                continue
            offset: tuple[ir.Value | None, frozenset[ir.Node]] | None
            if node.op_type == "Sub":
                subtracted = _times(rest, found.mean, factor)
                nodes = None if subtracted is None else frozenset([subtracted])
                offset = None if nodes is None else (None, nodes)
            else:
                offset = _offset(rest, factor, found.mean)
            if offset is None:
                continue
            shift, more = offset
            inputs = (x, scale, shift)
            return Group(
                op_type="LayerNormalization",
                inputs=inputs,
                outputs=(node.outputs[0],),
                name=node.name or "",
                nodes=found.nodes | own | more | {times, node},  # type: ignore[arg-type]
                rule=functools.partial(_shifted_rule, found),
            )
    return None


def _shifted_rule(found: _Deviation, op: OpBuilder, span: Span, ct: ir.Value) -> Sequence[Cotangent]:
    """y = z * g + b with z = (x - m) / s;  zbar = ybar * g, gbar = ybar * z, bbar = ybar."""
    _, scale, shift = span.inputs
    inverse = found.value if found.inverse else op.Reciprocal(found.value)
    z = op.Mul(found.centred, inverse)
    z_ct = ct if scale is None else op.Mul(ct, scale)
    x_ct = functools.partial(standardize_ct, op, z, inverse, z_ct, found.axes)
    return x_ct, None if scale is None else lambda: op.Mul(ct, z), None if shift is None else ct


def _scaled(factor: ir.Value) -> tuple[_Deviation, ir.Value | None, frozenset[ir.Node]] | None:
    """The deviation that g / s has, with g and the product's node; g is None in 1 / s."""
    found = _deviation(factor)
    if found is not None:
        return (found, None, frozenset()) if found.inverse else None
    node = made_by(factor, "Mul", "Div")
    for scale, other in both_ways(node) if node is not None else ():
        found = _deviation(other)
        right = node is not None and (node.op_type == "Mul" or node.inputs[0] is scale)
        if found is not None and found.inverse == (node is not None and node.op_type == "Mul") and right:
            return found, scale, frozenset([node])  # type: ignore[list-item]
    return None


def _offset(
    rest: ir.Value, factor: ir.Value, mean: ir.Value
) -> tuple[ir.Value | None, frozenset[ir.Node]] | None:
    """b of b - m * f, None in - m * f alone, with the nodes; None if a value is something else."""
    if (nodes := _minus_mean(rest, factor, mean)) is not None:
        return None, nodes
    node = made_by(rest, "Add", "Sub")
    if node is None:
        return None
    if node.op_type == "Sub":
        product = _times(node.inputs[1], mean, factor)
        return None if product is None else (node.inputs[0], frozenset([node, product]))
    for part, shift in both_ways(node):
        if (nodes := _minus_mean(part, factor, mean)) is not None:
            return shift, nodes | {node}
    return None


def _minus_mean(value: ir.Value | None, factor: ir.Value, mean: ir.Value) -> frozenset[ir.Node] | None:
    """The nodes of - m * f."""
    negative = made_by(value, "Neg")
    if negative is not None and (product := _times(negative.inputs[0], mean, factor)) is not None:
        return frozenset([negative, product])
    node = made_by(value, "Mul")
    for a, b in both_ways(node) if node is not None else ():
        for part, whole in ((mean, factor), (factor, mean)):
            negative = made_by(a, "Neg")
            if negative is not None and negative.inputs[0] is part and b is whole:
                return frozenset([node, negative])  # type: ignore[list-item]
    return None


def _times(value: ir.Value | None, left: ir.Value, right: ir.Value) -> ir.Node | None:
    node = made_by(value, "Mul")
    matches = node is not None and any(a is left and b is right for a, b in both_ways(node))
    return node if matches else None


def _is_centred(value: ir.Value, found: _Deviation) -> frozenset[ir.Node] | None:
    """The nodes beside those of the deviation that x - mean(x) takes; None if a value is something else."""
    if value is found.centred:
        return frozenset()
    node = made_by(value, "Sub") if found.mean is not None else None
    if node is None or node.inputs[0] is not found.x:
        return None
    if node.inputs[1] is found.mean:
        return frozenset([node])
    mean = _mean(node.inputs[1])
    return frozenset([node, mean[2]]) if mean is not None and mean[:2] == (found.x, found.axes) else None


def _deviation(value: ir.Value | None) -> _Deviation | None:
    """A value as sqrt(mean(c^2) + eps) or its reciprocal, for an eps above 0."""
    nodes, inverse = [], False
    node = made_by(value, "Reciprocal", "Div")
    if node is not None:
        if node.op_type == "Div" and number_of(node.inputs[0]) != 1:
            return None
        nodes.append(node)
        inverse, root = True, made_by(node.inputs[-1], "Sqrt")
    else:
        root = made_by(value, "Sqrt", "Pow")
    if root is None or value is None:
        return None
    if root.op_type == "Pow":
        power = number_of(root.inputs[1])
        if power not in (0.5, -0.5):
            return None
        inverse = power < 0
    inside = made_by(root.inputs[0], "Add")
    for variance, epsilon in both_ways(inside) if inside is not None else ():
        number, mean = number_of(epsilon), _mean(variance)
        if number is None or number <= 0 or mean is None:
            continue
        square, axes, node = mean
        found = _squared(square)
        if found is None:
            continue
        centred, power_node = found
        nodes += [root, inside, node, power_node]  # type: ignore[list-item]
        difference = made_by(centred, "Sub")
        own = None if difference is None else _mean(difference.inputs[1])
        if difference is not None and own is not None and own[:2] == (difference.inputs[0], axes):
            x = difference.inputs[0]
            assert x is not None
            return _Deviation(
                value,
                inverse,
                centred,
                x,
                difference.inputs[1],
                axes,
                frozenset([*nodes, difference, own[2]]),
            )
        return _Deviation(value, inverse, centred, centred, None, axes, frozenset(nodes))
    return None


def _squared(value: ir.Value | None) -> tuple[ir.Value, ir.Node] | None:
    node = made_by(value, "Mul", "Pow")
    if node is None or node.inputs[0] is None:
        return None
    if node.op_type == "Mul":
        return (node.inputs[0], node) if node.inputs[0] is node.inputs[1] else None
    return (node.inputs[0], node) if number_of(node.inputs[1]) == 2 else None


def _mean(value: ir.Value | None) -> tuple[ir.Value, tuple[int, ...], ir.Node] | None:
    """What a mean over axes that stay is taken of, the axes, counted from the last, and the node."""
    node = made_by(value, "ReduceMean", "GlobalAveragePool")
    x = None if node is None else node.inputs[0]
    dims = dims_of(x)
    if node is None or x is None or dims is None:
        return None
    rank = len(dims)
    if node.op_type == "GlobalAveragePool":
        return (x, tuple(range(2 - rank, 0)), node) if rank > 2 else None
    if len(node.inputs) > 1 and node.inputs[1] is not None:
        axes = ints_of(node.inputs[1])
    else:
        axes = list(node.attributes.get_ints("axes", []))
    if not axes or node.attributes.get_int("keepdims", 1) != 1:
        return None
    return x, tuple(sorted({axis % rank - rank for axis in axes})), node
