"""Defaults of functions' attributes, written into the calls that leave them out: onnx's inliner (1.23) forgets them."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from onnxattr.graph.subgraphs import nodes_in

Key = tuple[str, str, str]
Defaults = dict[str, onnx.AttributeProto]


def state_function_defaults(proto: onnx.ModelProto) -> None:
    """Gives each call of a function the attributes that it leaves out and the function has defaults of, in place.

    An attribute without a default that a function only hands on to other functions has theirs.
    """
    defaults = _defaults(proto)
    for node in _nodes(proto):
        known = defaults.get(_key(node), {})
        given = {attribute.name for attribute in node.attribute}
        node.attribute.extend(value for name, value in known.items() if name not in given)


def _defaults(proto: onnx.ModelProto) -> dict[Key, Defaults]:
    """The defaults of each function, those that it takes from the functions it calls included."""
    found: dict[Key, Defaults] = {
        (function.domain, function.name, function.overload): {a.name: a for a in function.attribute_proto}
        for function in proto.functions
    }
    # A function may stand before or behind those that it calls.
    changed = any(found.values())
    while changed:
        changed = False
        for function in proto.functions:
            own = found[function.domain, function.name, function.overload]
            for name in function.attribute:
                value = None if name in own else _handed_on(function, name, found)
                if value is not None:
                    own[name], changed = value, True
    return found


def _handed_on(
    function: onnx.FunctionProto, name: str, found: dict[Key, Defaults]
) -> onnx.AttributeProto | None:
    """What an attribute is by default where a function hands it on, the same everywhere; else None."""
    values = [
        found.get(_key(node), {}).get(attribute.name)
        for node in nodes_in(function)
        for attribute in node.attribute
        if attribute.ref_attr_name == name
    ]
    contents = {None if value is None else _content(value) for value in values}
    if len(contents) != 1 or values[0] is None:
        return None
    value = onnx.AttributeProto()
    value.CopyFrom(values[0])
    value.name = name
    return value


def _content(value: onnx.AttributeProto) -> bytes:
    """An attribute's value, whatever its name."""
    nameless = onnx.AttributeProto()
    nameless.CopyFrom(value)
    nameless.name = ""
    return bytes(nameless.SerializeToString(deterministic=True))


def _key(node: onnx.NodeProto) -> Key:
    return node.domain, node.op_type, node.overload


def _nodes(proto: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    yield from nodes_in(proto.graph)
    for function in proto.functions:
        yield from nodes_in(function)
