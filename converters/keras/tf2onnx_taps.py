"""tf2onnx's optimiser passes, made to leave the main path alone where a tap hangs on it.

A tap is a graph output that is taken away later. To tf2onnx it is one more reader of a value, and most of its passes
refuse to touch a Transpose or Squeeze with two readers. So each tap gets a copy of those nodes for itself.
"""

import collections
import sys
from collections.abc import Collection
from typing import Any

from ..common import dependencies
from ..common.graph_edit import LAYOUT_OPERATORS


def optimizers_for_taps(taps: Collection[str]) -> "collections.OrderedDict[str, Any]":
    """tf2onnx's optimisers by name, for a graph that has outputs named `taps` besides its own."""
    dependencies.tf2onnx()
    from tf2onnx import optimizer

    # Asking for another round only when the main path is smaller than ever before makes the rounds end: copies
    # for taps are merged back and made again in each.
    fewest = [sys.maxsize]

    def is_smaller(graph: Any) -> bool:
        count = len(_main_nodes(graph, taps))
        smaller = count < fewest[0]
        fewest[0] = min(count, fewest[0])
        return smaller

    class SplittingBackToBackOptimizer(optimizer.BackToBackOptimizer):
        """Removes pairs like Transpose-Transpose also where a tap reads the value between them."""

        def _optimize(self, graph: Any) -> Any:
            split_for_taps(graph, taps)
            graph = super()._optimize(graph)
            self.graph_been_opt = is_smaller(graph)
            return graph

    class QuietMergeOptimizer(optimizer.MergeDuplicatedNodesOptimizer):
        """Leaves it to the pass above to ask for another round."""

        def _optimize(self, graph: Any) -> Any:
            graph = super()._optimize(graph)
            self.graph_been_opt = False
            return graph

    class TapKeepingIdentityOptimizer(optimizer.IdentityOptimizer):
        """Keeps the Identity before a tap: without it the producer counts as output and nothing moves past it."""

        def _handle_graph_output_identity(self, graph: Any, identity: Any, graph_outputs: Any) -> bool:
            if identity.output[0] in taps:
                return False
            return super()._handle_graph_output_identity(graph, identity, graph_outputs)

    replaced = {
        "merge_duplication": QuietMergeOptimizer,
        "remove_back_to_back": SplittingBackToBackOptimizer,
        "remove_identity": TapKeepingIdentityOptimizer,
    }
    return collections.OrderedDict(
        (name, replaced.get(name, factory)) for name, factory in optimizer._get_optimizers().items()
    )


def split_for_taps(graph: Any, taps: Collection[str]) -> None:
    """Copy every Transpose, Reshape, ... that both a tap and the main path need, so that each has its own.

    Args:
        graph: A tf2onnx graph; changed in place.
        taps: Names of the tap outputs.
    """
    main = _main_nodes(graph, taps)
    graph.topological_sort(graph.get_nodes())
    for node in reversed(list(graph.get_nodes())):
        if node.name not in main or node.type not in LAYOUT_OPERATORS or node.output[0] in graph.outputs:
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
