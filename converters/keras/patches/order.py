"""Parts of tf2onnx made to give the same names and the same order each time: the same model is the same file."""

import re
from collections.abc import Callable, Iterable, Iterator, MutableSet
from typing import Any

#: Modules of tf2onnx that walk over sets of names, in an order that differs between processes.
MODULES_WITH_SETS = (
    "tf2onnx.graph",
    "tf2onnx.optimizer.back_to_back_optimizer",
    "tf2onnx.rewriter.rnn_utils",
    "tf2onnx.utils",
)


class OrderedSet(MutableSet[Any]):
    """What tf2onnx uses of `set`, in the order in which members were added."""

    def __init__(self, members: Iterable[Any] = ()) -> None:
        self._members = dict.fromkeys(members)

    def __contains__(self, member: object) -> bool:
        return member in self._members

    def __iter__(self) -> Iterator[Any]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def add(self, value: Any) -> None:
        """Add a member, as the last one unless it is there."""
        self._members[value] = None

    def discard(self, value: Any) -> None:
        """Remove a member if it is there."""
        self._members.pop(value, None)

    def union(self, other: Iterable[Any]) -> "OrderedSet":
        """Its own members, and then those of `other`."""
        return OrderedSet([*self, *other])

    def intersection(self, other: Iterable[Any]) -> "OrderedSet":
        """The members that are in `other` too."""
        others = frozenset(other)
        return OrderedSet(member for member in self if member in others)

    def issubset(self, other: Iterable[Any]) -> bool:
        """Whether `other` has all members."""
        others = frozenset(other)
        return all(member in others for member in self)


class SortedSet(OrderedSet):
    """The same in the order of the members, for what is added in any order."""

    def __iter__(self) -> Iterator[Any]:
        return iter(sorted(self._members))


def numbered_parts(to_onnx: Callable[..., Any]) -> Callable[..., Any]:
    """`GraphEinsumSubOp.to_onnx` that tells each part of an Einsum its number in it, for `name_by_number`."""

    def numbered(graph: Any, *args: Any, **kwargs: Any) -> Any:
        for number, part in enumerate(graph):
            part.number = number
        return to_onnx(graph, *args, **kwargs)

    return numbered


def name_by_number(part: Any) -> str:
    """`EinsumSubOp._onnx_name` from its number, and not from its address in memory."""
    return f"einsum{part.number}_{part.name[:2]}"


def number_functions(graph_def: Any) -> Any:
    """A graph whose functions are numbered in the order in which they are called.

    TensorFlow numbers them on from model to model, as `while_cond_274`, and tf2onnx names values after them.
    """
    functions = {function.signature.name: function for function in graph_def.library.function}
    names: dict[str, str] = {}
    calls = [call for node in graph_def.node for call in _calls(node)]
    for call in calls:  # which grows as functions are met that call others
        if call.name in functions and call.name not in names:
            names[call.name] = f"{re.sub('_[0-9]+$', '', call.name)}_{len(names) + 1}"
            calls += [inner for node in functions[call.name].node_def for inner in _calls(node)]
    for call in calls:
        call.name = names.get(call.name, call.name)
    kept = [functions[name] for name in names]
    for function in kept:
        function.signature.name = names[function.signature.name]
    library = type(graph_def.library)(function=kept)  # what nobody calls could have one of the new names
    graph_def.library.CopyFrom(library)
    return graph_def


def _calls(node: Any) -> list[Any]:
    """Where a node names functions."""
    found = []
    for _, attribute in sorted(node.attr.items()):
        found += [attribute.func] if attribute.HasField("func") else list(attribute.list.func)
    return found
