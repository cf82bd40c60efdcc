"""Which nodes read the sequences that a recurrent node reads, as they are or with time and samples exchanged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import onnx

from onnxattr.graph.subgraphs import is_standard
from onnxattr.graph.values import LAYOUTS

RECURRENT = ("GRU", "LSTM", "RNN")
#: Operators whose result holds the numbers of their first input, negatives apart.
_SAME_NUMBERS = LAYOUTS | {"Neg"}
_EXCHANGED = [1, 0, 2]


class Sequences:
    """The recurrent nodes of a graph, and the Transposes that read what these read.

    OpenVINO (2026.4) keeps sequences with the samples first: it transposes what a recurrent node reads, once for all
    readers. In front of a node that tells all its states it takes the Transpose away again, for the others too.
    """

    def __init__(self, nodes: Iterable[onnx.NodeProto]) -> None:
        #: By a value, the one that it holds the numbers of.
        self._sources: dict[str, str] = {}
        #: By such a value, its readers.
        self._readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        self._makers: dict[str, onnx.NodeProto] = {}
        for node in nodes:
            if is_standard(node, *RECURRENT) or _exchanges(node):
                self._readers[self.source(node.input[0])].append(node)
            if is_standard(node, *_SAME_NUMBERS) and node.input:
                self._sources[node.output[0]] = self.source(node.input[0])
                self._makers[node.output[0]] = node

    def source(self, name: str) -> str:
        """The value whose numbers a value holds; itself if it holds its own."""
        return self._sources.get(name, name)

    def others(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """What reads the sequences of a recurrent node beside it."""
        readers = self._readers[self.source(node.input[0])]
        if len(readers) < 2:
            return []
        on_the_way, name = [node], node.input[0]
        while name in self._makers:
            on_the_way.append(self._makers[name])
            name = self._makers[name].input[0]
        return [one for one in readers if not any(one is passed for passed in on_the_way)]


def tells_all_states(node: onnx.NodeProto) -> bool:
    """Whether a node is recurrent in one direction and has its first output, the states of all steps."""
    directions = [onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == "direction"]
    return is_standard(node, *RECURRENT) and bool(node.output[0]) and b"bidirectional" not in directions


def _exchanges(node: onnx.NodeProto) -> bool:
    """Whether a node exchanges time and samples."""
    return is_standard(node, "Transpose") and any(list(a.ints) == _EXCHANGED for a in node.attribute)
