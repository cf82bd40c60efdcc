"""tf2onnx's optimiser passes, made to leave the main path alone where a tap hangs on it.

A tap is a graph output that is taken away later. To tf2onnx it is one more reader of a value, and most of its passes
refuse to touch a Transpose or Squeeze with two readers. So each tap gets a copy of those nodes for itself.
"""

import sys
from collections.abc import Callable, Collection, Iterable
from typing import Any

from onnxattr.graph.values import LAYOUTS

Method = Callable[..., Any]


class Taps:
    """The names of the taps of a conversion, and methods of tf2onnx's optimiser passes that know them."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)
        self._fewest = sys.maxsize

    def splitting(self, optimize: Method) -> Method:
        """`BackToBackOptimizer._optimize` that removes pairs also where a tap reads the value between them."""

        def _optimize(optimizer: Any, graph: Any) -> Any:
            split_for_taps(graph, self.names)
            graph = optimize(optimizer, graph)
            # Copies for taps are merged back and made again in each round: another one is asked for only where the
            # main path is smaller than ever before, or the rounds would not end.
            count = len(_main_nodes(graph, self.names))
            optimizer.graph_been_opt = count < self._fewest
            self._fewest = min(count, self._fewest)
            return graph

        return _optimize

    def quiet(self, optimize: Method) -> Method:
        """`MergeDuplicatedNodesOptimizer._optimize` that leaves it to `splitting` to ask for another round."""

        def _optimize(optimizer: Any, graph: Any) -> Any:
            graph = optimize(optimizer, graph)
            optimizer.graph_been_opt = False
            return graph

        return _optimize

    def keeping(self, handle: Method) -> Method:
        """`IdentityOptimizer._handle_graph_output_identity` that leaves the Identity before a tap."""

        def _handle(optimizer: Any, graph: Any, identity: Any, graph_outputs: Any) -> Any:
            return identity.output[0] not in self.names and handle(optimizer, graph, identity, graph_outputs)

        return _handle


def split_for_taps(graph: Any, taps: Collection[str]) -> None:
    """Copy every Transpose, Reshape, ... that both a tap and the main path need, so that each has its own.

    Args:
        graph: A tf2onnx graph; changed in place.
        taps: Names of the tap outputs.
    """
    main = _main_nodes(graph, taps)
    graph.topological_sort(graph.get_nodes())
    for node in reversed(list(graph.get_nodes())):
        if node.name not in main or node.type not in LAYOUTS or node.output[0] in graph.outputs:
            continue
        consumers = graph.find_output_consumers(node.output[0])
        side = [consumer for consumer in consumers if consumer.name not in main]
        if not side or len(side) == len(consumers):
            continue
        copy = graph.make_node(
            node.type,
            list(node.input),
            attr=node.get_onnx_attrs(),
            shapes=list(node.output_shapes),
            dtypes=list(node.output_dtypes),
        )
        for consumer in side:
            graph.replace_input(consumer, node.output[0], copy.output[0])


def _main_nodes(graph: Any, taps: Collection[str]) -> set[str]:
    """Names of the nodes that the outputs other than taps need."""
    found: set[str] = set()
    pending = [graph.get_node_by_output(name) for name in graph.outputs if name not in taps]
    while pending:
        node = pending.pop()
        if node is None or node.name in found:
            continue
        found.add(node.name)
        pending.extend(node.inputs)
        pending.extend(graph.get_node_by_output(name) for name in node.get_implicit_inputs())
    return found
