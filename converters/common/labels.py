"""The names of the classes that a framework's model knows, into the metadata of its ONNX model."""

import contextlib
import re
from typing import Any

import onnx

from onnxattr.loading.meaning.class_names import KEY, class_names_text

from . import onnx_model

#: Attributes of a model that hold names: Ultralytics' ``names``, and what others call them.
_ATTRIBUTES = ("names", "class_names", "classes", "classes_")
#: What the configuration of a Hugging Face model holds where nobody has named the classes.
_PLACEHOLDER = re.compile(r"LABEL_\d+")


def class_names_of(model: Any) -> tuple[str, ...]:
    """The names of a model's classes in their order, as far as the object tells them; else none.

    They are in ``config.id2label`` of Hugging Face's models, else in an attribute: a list, or a dict by index.
    """
    found = [getattr(_attribute(model, "config"), "id2label", None)]
    found += [_attribute(model, name) for name in _ATTRIBUTES]
    return next((names for given in found if (names := _in_order(given))), ())


def write_class_names(converted: onnx.ModelProto, model: Any) -> None:
    """Writes them if an output has as many classes."""
    names = class_names_of(model)
    shapes = [value.type.tensor_type.shape.dim for value in converted.graph.output]
    if names and any(len(dims) > 1 and dims[-1].dim_value == len(names) for dims in shapes):
        onnx_model.set_property(converted, KEY, class_names_text(names))


def _attribute(model: Any, name: str) -> Any:
    with contextlib.suppress(
        Exception
    ):  # a property of somebody's class may fail in any way; names are an extra
        return getattr(model, name, None)
    return None


def _in_order(given: Any) -> tuple[str, ...]:
    if isinstance(given, dict):
        with contextlib.suppress(TypeError, ValueError):
            given = {int(index): name for index, name in given.items()}
        given = [given.get(index) for index in range(len(given))]
    names = list(given) if isinstance(given, (list, tuple)) else []
    if len(names) < 2 or not all(isinstance(name, str) for name in names):
        return ()
    return () if all(_PLACEHOLDER.fullmatch(name) for name in names) else tuple(names)
