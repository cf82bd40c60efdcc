"""Trees of rows with missing features, which go the way that was learned; skl2onnx sends all of them to the right."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock


@contextlib.contextmanager
def missing_sent_on() -> Iterator[None]:
    """Inside the `with` block skl2onnx writes where the nodes of a tree send rows whose feature is missing."""
    from skl2onnx.operator_converters import decision_tree, isolation_forest, random_forest

    with contextlib.ExitStack() as stack:
        for module in (decision_tree, isolation_forest, random_forest):
            write = _sent_on(module.add_tree_to_attribute_pairs)
            stack.enter_context(mock.patch.object(module, "add_tree_to_attribute_pairs", write))
        yield


def _sent_on(write: Callable[..., None]) -> Callable[..., None]:
    def add(attributes: dict[str, Any], is_classifier: bool, tree: Any, *rest: Any, **settings: Any) -> None:
        write(attributes, is_classifier, tree, *rest, **settings)
        attributes["nodes_missing_value_tracks_true"][-tree.node_count :] = tree.missing_go_to_left.tolist()

    return add
