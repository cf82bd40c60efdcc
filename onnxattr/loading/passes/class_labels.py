"""Names of classes that a graph holds where it gives a label, as files of scikit-learn's estimators do."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from onnxattr.graph.intervals import FLOATS
from onnxattr.loading.meaning.class_names import KEY, class_names_text, read_class_names

#: What a label is passed through on its way to an output.
_KEPT = ("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")
#: Attributes of the operators that hold the names of their columns.
_ATTRIBUTES = ("classlabels_strings", "classlabels_int64s", "classlabels_ints")
_MOST = 2**16


def name_classes(model: ir.Model) -> bool:
    """Writes the names of the classes into the metadata where these have none; the graph stays as it is.

    They are those of a ZipMap, of a linear classifier, or of a constant list in which the place of the largest score
    is looked up. Names are left out where two outputs have others, of models with several outputs of scores, to which
    they may not belong, and of support vector machines, whose scores may stand in another order. Names that are the
    places 0, 1, 2 and so on say nothing.
    """
    if read_class_names(model.metadata_props):
        return False
    scores = [value for value in model.graph.outputs if value.dtype is None or value.dtype in FLOATS]
    if len(scores) > 1 or any(node.op_type == "SVMClassifier" for node in model.graph):
        return False
    found = {names for value in model.graph.outputs if (names := _names(value))}
    if len(found) == 1 and (names := found.pop()) != tuple(map(str, range(len(names)))):
        model.metadata_props[KEY] = class_names_text(names)
    return False


def _names(output: ir.Value) -> tuple[str, ...]:
    """The names of the classes that an output of labels, or of scores by label, tells apart; none for others."""
    node = _maker(output)
    if node is None or node.domain not in ("", "ai.onnx.ml"):
        return ()
    if node.op_type in ("ZipMap", "LinearClassifier"):
        labels = [node.attributes[name].value for name in _ATTRIBUTES if name in node.attributes]
        return _texts(next(filter(None, labels), ()))
    if node.op_type == "LabelEncoder":
        given = node.attributes
        keys, texts = given.get_ints("keys_int64s", []), given.get_strings("values_strings", [])
        return _texts(texts) if _is_place(node.inputs[0]) and list(keys) == list(range(len(texts))) else ()
    if node.op_type not in ("ArrayFeatureExtractor", "Gather") or node.attributes.get_int("axis", 0) != 0:
        return ()
    table, place = node.inputs[:2]
    if not _is_place(place) or table is None or table.const_value is None:
        return ()
    sizes = [size for size in table.const_value.shape.numpy() if size != 1]
    array = table.const_value.numpy() if len(sizes) == 1 and sizes[0] <= _MOST else np.empty(0)
    return _texts(array.ravel().tolist()) if array.dtype.kind in "iuOSU" else ()


def _is_place(value: ir.Value | None) -> bool:
    """Whether a value is the place of the largest score."""
    node = _maker(value)
    return node is not None and node.op_type == "ArgMax"


def _maker(value: ir.Value | None) -> ir.Node | None:
    """The node that gives a label, before casts and other shapes of it."""
    while value is not None and (node := value.producer()) is not None:
        if node.op_type not in _KEPT:
            return node if value is node.outputs[0] else None
        value = node.inputs[0]
    return None


def _texts(labels: Iterable[object]) -> tuple[str, ...]:
    texts = [label.decode(errors="replace") if isinstance(label, bytes) else str(label) for label in labels]
    return tuple(texts) if len(set(texts)) == len(texts) <= _MOST else ()
