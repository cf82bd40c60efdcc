"""The list of rewrites, and the backward graph as a rewrite sees it.

A rewrite has the form::

    @rewrite("Mul", why="A product with ones is its other factor.", gains="one node for each")
    def ones(backward, node):
        '''a * 1 -> a.'''
        left, right = node.inputs
        return right if is_ones(left) and same_dims(left, right) else None

It is called for each node of its operators in the backward graph, in graph order, and returns the value that takes the
place of the node's output, or None to leave the node. New nodes, written with ``backward.op``, are moved before the
node. Rewrites run in the order of registration, each on what those before it left.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from onnxattr.errors import ParameterError
from onnxattr.graph.builder import GRADIENT_OF, OpBuilder
from onnxattr.graph.subgraphs import detach, drop, is_standard, nodes_behind

Replacement = Callable[["Backward", ir.Node], ir.Value | None]


@dataclass(frozen=True)
class Rewrite:
    """One way to make a backward graph cheaper without changing what it computes.

    Attributes:
        name: What it is switched on and off by.
        op_types: The operators of the nodes that it may replace.
        replacement: Gives the value that takes the place of a node's output; None to leave the node.
        why: One sentence: why the replacement is cheaper.
        gains: What it saves, as ``benchmarks/rewrites.py`` measures it.
    """

    name: str
    op_types: tuple[str, ...]
    replacement: Replacement
    why: str
    gains: str


#: Every rewrite by name, in the order in which they run.
REWRITES: dict[str, Rewrite] = {}


def rewrite(*op_types: str, why: str, gains: str) -> Callable[[Replacement], Replacement]:
    """Registers a function as the rewrite of its name for nodes of some operators."""

    def register(replacement: Replacement) -> Replacement:
        name = replacement.__name__
        if name in REWRITES:
            raise ValueError(f"There is a rewrite {name!r} already.")
        REWRITES[name] = Rewrite(name, op_types, replacement, why, gains)
        return replacement

    return register


def chosen(names: Collection[str] | None) -> tuple[Rewrite, ...]:
    """The rewrites of some names in the order in which they run; all of them for None.

    Raises:
        ParameterError: If there is no rewrite of a name.
    """
    if names is None:
        return tuple(REWRITES.values())
    unknown = [name for name in names if name not in REWRITES] if not isinstance(names, str) else [names]
    if unknown:
        raise ParameterError(
            f"rewrites={names!r}: expected None for all rewrites, or a list of some of {[*REWRITES]}."
        )
    return tuple(found for name, found in REWRITES.items() if name in names)


class Backward:
    """The nodes that one reverse sweep appended to a graph, while they are rewritten.

    Attributes:
        op: The builder on the graph; what it writes counts as part of the backward graph.
        results: The cotangents that the sweep gives.
    """

    def __init__(self, op: OpBuilder, after: ir.Node | None, results: Sequence[ir.Value]):
        """Takes the nodes of ``op.graph`` behind the node ``after``; all of them for None."""
        self.op, self.results = op, list(results)
        self._nodes: set[ir.Node] = set()
        #: The operators that were among the nodes at any time: most rewrites have nothing to look at.
        self._operators: set[str] = set()
        gone = []
        for node in nodes_behind(self.op.graph, after):
            if self._unused(node):
                detach(node)
                gone.append(node)
            else:
                self._add([node])
        self.op.graph.remove(gone)
        self._after = after

    def producer(self, value: ir.Value | None) -> ir.Node | None:
        """The node of the backward graph that computes a value; None if it comes from elsewhere."""
        node = None if value is None else value.producer()
        return node if node in self._nodes else None

    def only_reader(self, value: ir.Value) -> ir.Node | None:
        """The one node that reads a value once; None if others do, or if the value is a result."""
        uses = value.uses()
        return next(iter(uses)).node if len(uses) == 1 and value not in self.results else None

    def run(self, rewrites: Sequence[Rewrite]) -> list[ir.Value]:
        """Applies rewrites one after another; returns the results, in the order given."""
        for found in rewrites:
            if self._operators.isdisjoint(found.op_types):
                continue
            behind = nodes_behind(self.op.graph, self._after)
            for node in [node for node in behind if is_standard(node, *found.op_types)][::-1]:
                if node in self._nodes:
                    self._replace(node, found)
        return self.results

    def before(self, node: ir.Node, last: ir.Node | None) -> None:
        """Moves the nodes written since ``last`` before another node."""
        new = list(nodes_behind(self.op.graph, last))
        self._add(new)
        if new:
            self.op.graph.insert_before(node, new[::-1])

    def _add(self, nodes: Sequence[ir.Node]) -> None:
        self._nodes.update(nodes)
        self._operators.update(node.op_type for node in nodes)

    def _unused(self, node: ir.Node) -> bool:
        return not any(
            value.uses() or value.is_graph_output() or value in self.results for value in node.outputs
        )

    def _replace(self, node: ir.Node, found: Rewrite) -> None:
        op, old, last = self.op, node.outputs[0], self.op.graph[-1]
        op.gradient_of = node.meta.get(GRADIENT_OF)
        new = found.replacement(self, node)
        op.gradient_of = None
        self.before(node, last)
        if new is None:
            return
        if new.shape is None or (new.producer() in self._nodes and old.shape is not None):
            new.shape = old.shape
        new.type = new.type or old.type
        for use in list(old.uses()):
            use.node.replace_input_with(use.idx, new)
        self.results = [new if value is old else value for value in self.results]
        self._drop_unused([node])

    def _drop_unused(self, waiting: list[ir.Node]) -> None:
        """Removes nodes that nothing needs any more, and those before them that were there for them alone."""
        while waiting:
            node = waiting.pop()
            if node in self._nodes and self._unused(node):
                sources = [self.producer(value) for value in node.inputs]
                self._nodes.discard(node)
                drop(node)
                waiting += [source for source in sources if source is not None]
