"""Counts the nodes that a model has once its functions are written out where they are called, before that is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import onnx
import onnx_ir as ir

from onnxattr.errors import ModelError
from onnxattr.graph.subgraphs import nodes_of

#: Most nodes and bytes that the calls of functions may make, beside a multiple of what the file holds.
_MOST_NODES, _MOST_BYTES, _TIMES_FILE = 100_000, 2**28, 4
#: How deep calls may be nested: onnx's checker reads no more.
_DEEPEST = 100

_Key = tuple[str, str, str]


class _Cost(NamedTuple):
    """What one call makes: nodes, bytes and levels of calls."""

    nodes: int
    size: int
    depth: int


def check_calls(model: ir.Model, protobuf: Callable[[str], onnx.ModelProto]) -> None:
    """Checks that the calls of a model's functions can be written out.

    Args:
        model: The model.
        protobuf: Gives it as protobuf, by what for; called if there are functions.

    Raises:
        ModelError: If functions call themselves, are nested too deep, or make too many nodes.
    """
    functions = dict(model.functions)
    if not functions:
        return
    proto = protobuf("check calls of functions")
    costs = _costs(functions, {(f.domain, f.name, f.overload): f.ByteSize() for f in proto.functions})
    nodes_written = list(nodes_of(model.graph))
    written = len(nodes_written) + sum(len(f) for f in functions.values())
    called = [(key, costs[key]) for key in _calls(nodes_written, functions)]
    nodes, size = sum(c.nodes for _, c in called), sum(c.size for _, c in called)
    if not called:
        return
    (_, name, _), most = max(called, key=lambda entry: (entry[1].nodes, entry[1].size))
    advice = "Export the model without functions, or in parts."
    if most.depth > _DEEPEST:
        raise ModelError(
            f"The model's functions call each other {most.depth} levels deep (function {name!r}); supported: up to "
            f"{_DEEPEST}. {advice}"
        )
    if nodes > _MOST_NODES + _TIMES_FILE * written:
        raise ModelError(
            f"Written out where they are called, the model's functions make {nodes} nodes ({most.nodes} in one call of "
            f"function {name!r}) from the {written} in the file; supported: up to "
            f"{_MOST_NODES + _TIMES_FILE * written}. {advice}"
        )
    most_bytes = _MOST_BYTES + _TIMES_FILE * proto.ByteSize()
    if size > most_bytes:
        raise ModelError(
            f"Written out where they are called, the model's functions make {size} bytes ({most.size} in one call of "
            f"function {name!r}); supported: up to {most_bytes}. Make their constants inputs of the functions."
        )


def _calls(nodes: Iterable[ir.Node], functions: dict[_Key, ir.Function]) -> list[_Key]:
    """The functions that some nodes call, one entry a call."""
    return [key for node in nodes if (key := node.op_identifier()) in functions]


def _costs(functions: dict[_Key, ir.Function], sizes: dict[_Key, int]) -> dict[_Key, _Cost]:
    """The cost of a call of each function; functions are visited after those that they call.

    Raises:
        ModelError: If a function calls itself, through others or not.
    """
    inside = {key: list(nodes_of(function.graph)) for key, function in functions.items()}
    calls = {key: _calls(nodes, functions) for key, nodes in inside.items()}
    costs: dict[_Key, _Cost] = {}
    for start in functions:
        path = {start: iter(calls[start])} if start not in costs else {}
        while path:
            key = next(reversed(path))
            callee = next((called for called in path[key] if called not in costs), None)
            if callee is None:
                costs[key] = _cost(len(inside[key]), sizes[key], [costs[c] for c in calls[key]])
                del path[key]
            elif callee in path:
                raise ModelError(
                    f"Function {callee[1]!r} calls itself, directly or through {key[1]!r}; ONNX has no recursion. "
                    "Export the model without functions, or with a Loop."
                )
            else:
                path[callee] = iter(calls[callee])
    return costs


def _cost(nodes: int, size: int, called: list[_Cost]) -> _Cost:
    return _Cost(
        nodes - len(called) + sum(c.nodes for c in called),
        size + sum(c.size for c in called),
        1 + max((c.depth for c in called), default=0),
    )
