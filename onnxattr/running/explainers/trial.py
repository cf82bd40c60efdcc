"""One run of an explainer's file before it gets its name, so that nothing fails at the customer's first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from onnxattr.callers import warn_caller
from onnxattr.compile.explainer_file import describe
from onnxattr.errors import ModelError, ShapeError, TargetError
from onnxattr.graph.values import dims_of
from onnxattr.loading.checks.trial_run import check_lengths
from onnxattr.loading.prepared import Prepared
from onnxattr.loading.reading.source import metadata_of
from onnxattr.loading.rows.independence import MIXED, SINGLE
from onnxattr.running.drawn import Drawn, Feeds, draws, filled
from onnxattr.running.explainers.metadata import results_named
from onnxattr.running.given.fitting import fitting
from onnxattr.running.rounding import alike, rounding
from onnxattr.session import Session

#: A model above this size cannot be handed to the runtime but as a file.
_LARGEST = 2**31 - 2**24
#: How far the prediction may be from the model's own, relative to the largest: other numbers of rows round otherwise.
_CLOSE, _CLOSE_HALF = 1e-3, 5e-2


@dataclass(frozen=True)
class Ran:
    """A run of an explainer's file.

    Attributes:
        row: What it was given.
        outputs: What it gave, by name.
        told: The outputs that are predictions, scores and attributions.
    """

    row: list[Drawn]
    outputs: Feeds
    told: list[str]


def trial_of(
    proto: onnx.ModelProto, prepared: Prepared, providers: Sequence[Any] | None, sizes: Mapping[str, int]
) -> Callable[[Path], Ran | None]:
    """What runs an explainer's file on a drawn row: it loads, predicts what the model does, its maps have their shapes.

    Where no inputs can be drawn that the model itself takes, a warning says so, and the file is not run.

    Args:
        proto: The explainer.
        prepared: The model that it explains.
        providers: ONNX Runtime's providers.
        sizes: What sizes the model leaves open have to be, by their names, as a baseline has them.

    Returns:
        A function of the path of the file, which tells what it gave, None where it is not run; it raises a ModelError
        if the runtime refuses the file, or it gives something else.
    """
    own, reason = _own_run(proto, prepared, providers, sizes)
    if own is None:
        warn_caller(f"The explainer was not run before it is written: {reason}. Run it once on real inputs.")
        return lambda path: None
    row, prediction, model = own
    feeds = filled(row)
    about = describe(metadata_of(proto)) or {}
    extra = _extra_feeds(proto, about, feeds, prediction)
    outputs, least = list(proto.graph.output), rounding(prepared)
    part = _CLOSE_HALF if prediction.dtype.itemsize == 2 else _CLOSE

    def ran(path: Path, in_reals: bool = False) -> Feeds:
        session = Session(path, providers, as_deployed=True, in_reals=in_reals)
        with fitting(prepared):
            return dict(zip(session.outputs, session.run(_as_taken(proto, feeds | extra)), strict=True))

    def in_reals_alike(path: Path) -> bool:
        """Whether the predictions agree where products with quantised weights are rounded in neither."""
        alone = Session(prepared.proto(), providers, prepared.folder, in_reals=True)
        return alike(ran(path, in_reals=True)[about["prediction"]], alone.run(feeds)[0], part, least)

    def run(path: Path) -> Ran:
        try:
            found = ran(path)
            predicted = found[about["prediction"]]
            agrees = alike(predicted, prediction, part, least)
            # A model that draws random numbers does not agree with itself either.
            agrees = agrees or not alike(model.run(feeds)[0], prediction, part, least)
            if not agrees and not in_reals_alike(path):
                raise ModelError(
                    f"its prediction is {_few(predicted)}, the model's own is {_few(prediction)}."
                )
            _compare_shapes(outputs, about, found, feeds)
            return Ran([*row, *map(_constant, extra, extra.values())], found, results_named(about))
        except (ModelError, ShapeError, TargetError) as error:
            shapes = {name: list(array.shape) for name, array in feeds.items()}
            raise ModelError(
                f"The explainer does not do in ONNX Runtime what it should, and is not written. Run on inputs of "
                f"shapes {shapes}: {' '.join(str(error).split())} Pass check=False (--no-check) to write it "
                "nevertheless."
            ) from error

    return run


def _as_taken(proto: onnx.ModelProto, feeds: Feeds) -> Feeds:
    """Feeds in the types that an explainer takes: pixels as bytes, which the model itself takes as floats."""
    types = {value.name: value.type.tensor_type.elem_type for value in proto.graph.input}
    return {
        name: array.astype(onnx.helper.tensor_dtype_to_np_dtype(types[name])) for name, array in feeds.items()
    }


def _own_run(
    proto: onnx.ModelProto, prepared: Prepared, providers: Sequence[Any] | None, sizes: Mapping[str, int]
) -> tuple[tuple[list[Drawn], np.ndarray, Session] | None, str]:
    """Inputs that the model itself takes, with its prediction; else None and why not."""
    if proto.ByteSize() >= _LARGEST:
        return None, f"it has {proto.ByteSize()} bytes, too many to be run in memory"
    unknown = [v.name for v in prepared.inputs if dims_of(v) is None or v.dtype in (None, ir.DataType.STRING)]
    if unknown:
        return None, f"nothing can be drawn for {unknown}, whose shape is unknown or whose values are text"
    refused, alone = "", prepared.proto()
    try:
        model = Session(alone, providers, prepared.folder)
    except ModelError as error:
        return None, f"the model itself does not load ({error})"
    for row in draws(prepared, sizes):
        try:
            check_lengths(alone, feeds := filled(row), prepared.folder)
            return (row, model.run(feeds)[0], model), ""
        except ModelError as error:
            refused = refused or " ".join(str(error).split())[:300]
    return None, f"the model itself refuses every input that was drawn ({refused})"


def _constant(name: str, array: np.ndarray) -> Drawn:
    """An input all of whose elements are one number, as those beside the model's own are."""
    kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    return Drawn(name, kind, list(array.shape), float(array.flat[0]) if array.size else 0)


def _extra_feeds(
    proto: onnx.ModelProto, about: dict[str, Any], feeds: Feeds, prediction: np.ndarray
) -> Feeds:
    """What an explainer takes beside the model's inputs."""
    labels = about["target_kind"] == "labels"
    # All rows may be one sample, and the label one for all of them; of one row the prediction may be a list.
    one_sample = about.get("rows") == MIXED
    label = np.full(1 if one_sample or about.get("rows") == SINGLE else len(prediction), -1)
    extra = {about["target"]: label} if labels else {}
    for value in proto.graph.input:
        if value.name == about["target"] and not labels:
            extra[value.name] = _ones(value.type.tensor_type, prediction.shape)
        if value.name == about["seed"]:
            extra[value.name] = np.zeros([1] * len(value.type.tensor_type.shape.dim), np.int64)
    for name, entry in about["explained"].items():
        if entry["baseline"] is not None and name in feeds:
            extra[entry["baseline"]] = np.zeros_like(feeds[name] if one_sample else feeds[name][:1])
        elif entry["baseline"] is not None:
            (value,) = (v for v in proto.graph.input if v.name == entry["baseline"])
            tensor = value.type.tensor_type
            shape = [1, *(dim.dim_value or 1 for dim in tensor.shape.dim[1:])]
            extra[value.name] = np.zeros(shape, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    return extra


def _ones(tensor: onnx.TypeProto.Tensor, prediction: Sequence[int]) -> np.ndarray:
    """Ones of a declared shape, with the sizes of the prediction where it leaves them open."""
    shape = [
        dim.dim_value or (prediction[axis] if axis < len(prediction) else 1)
        for axis, dim in enumerate(tensor.shape.dim)
    ]
    return np.ones(shape, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))


def _compare_shapes(
    described: Sequence[onnx.ValueInfoProto], about: dict[str, Any], outputs: Feeds, feeds: Feeds
) -> None:
    declared = {value.name: value.type.tensor_type.shape.dim for value in described}
    for name, entry in about["explained"].items():
        dims, shape = declared[entry["attribution"]], outputs[entry["attribution"]].shape
        given = feeds[name].shape if name in feeds and not entry.get("groups") else [None] * len(dims)
        expected = [dim.dim_value or n for dim, n in zip(dims, given, strict=True)]
        if len(shape) != len(expected) or any(
            n not in (None, s) for n, s in zip(expected, shape, strict=True)
        ):
            raise ModelError(f"{entry['attribution']} has shape {list(shape)} for {expected}.")


def _few(array: np.ndarray) -> str:
    return f"{array.ravel()[:3].tolist()}{' ...' if array.size > 3 else ''} of shape {list(array.shape)}"
