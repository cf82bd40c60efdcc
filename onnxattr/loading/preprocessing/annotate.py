"""Models with preprocessing in front and more said of their inputs and outputs, to be written to a file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import onnx
import onnx_ir as ir

from onnxattr.errors import one_door
from onnxattr.loading.load import load
from onnxattr.loading.meaning.stated import Stated
from onnxattr.loading.preprocessing.files import preprocessing_of
from onnxattr.loading.preprocessing.front import OLDEST_OPSET, expected, fitted, put_in_front
from onnxattr.loading.reading.source import ModelSource, default_opset, name_of, read_model


def annotated(
    source: ModelSource,
    preprocess: Any = None,
    labels: Any = None,
    attributions_at: str | None = None,
    **more: Any,
) -> onnx.ModelProto:
    """A copy of a model that takes photos, names its classes, or says more of its inputs and outputs.

    Args:
        source: A path, bytes, ``onnx.ModelProto``, ``onnx_ir.Model`` or Keras model.
        preprocess: What is put in front, see ``preprocessing_of``; None for nothing.
        labels: The names of its classes, see ``labels_of``; None to leave those it has.
        attributions_at: "pixels" or "input": what is explained of the file unless somebody asks for the other.
        **more: What else is said of its inputs and outputs, see ``Stated``.

    Returns:
        The model. Its external data are where they were. One of an opset before 15 is brought to opset 18.

    Raises:
        ModelError: If the model cannot be read.
        ParameterError: If the preprocessing, or what is said, does not fit it.
    """
    spec = None if preprocess in (None, "model") else preprocessing_of(preprocess)
    said = Stated(labels=labels, **more).read()
    with one_door(f"{name_of(source)} cannot be prepared"):
        proto = read_model(source).proto
        typed = load(source)
        model = typed if default_opset(proto) < OLDEST_OPSET else ir.serde.deserialize_model(proto)
        spec = expected(typed) if preprocess == "model" else spec
        if spec is not None and attributions_at is not None:
            spec = replace(spec, attributions_at=attributions_at)
        if said:
            said.store(model, typed)
        if spec is not None:
            put_in_front(model, fitted(spec, typed), as_bytes=True)
        return ir.serde.serialize_model(model)
