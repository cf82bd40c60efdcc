"""What ``feature_mask`` asks for: the groups of features over which attributions are summed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from onnxattr.compile.placement import Placement
from onnxattr.compile.renderings.groups import MASK, Groups
from onnxattr.compile.renderings.model_graph import own_name
from onnxattr.compile.renderings.rewrite import Request
from onnxattr.errors import ParameterError, ShapeError
from onnxattr.graph.values import dims_of, shape_text
from onnxattr.loading.channels import channel_axis_of_layer
from onnxattr.loading.meaning.columns import read_columns
from onnxattr.loading.prepared import Prepared
from onnxattr.running.given.arrays import as_array
from onnxattr.running.given.tables import by_name

_LISTED = 8
Dims = list[int | str | None]


def groups_of(
    prepared: Prepared, given: Any, reduced: Sequence[int | None], placement: Placement | None
) -> tuple[Groups | None, ...]:
    """The groups of each explained value; None for those that are not grouped.

    Args:
        prepared: The model, with an axis of samples.
        given: An array of integers; for several explained values a dict by their names, or one for each of them.
        reduced: The axis of each value over which a reducer that was asked for has reduced it first; None for none.
        placement: How a map at a layer lies over the image; None where maps are of what is explained.

    Raises:
        ParameterError: If a mask does not fit its value, or leaves a group without features.
    """
    found: list[Groups | None] = []
    for position, mask in enumerate(_by_position(prepared, given)):
        if mask is None:
            found.append(None)
            continue
        value, name, axis = (
            prepared.value(prepared.wrt[position]),
            prepared.asked[position],
            reduced[position],
        )
        if placement is not None:
            channels: int | None = placement.channel_there - 1
            dims = _dims_over_image(prepared, placement)
        else:
            dims = (dims_of(value) or [])[1:]
            channels = channel_axis_of_layer(value) - 1 if len(dims) > 1 else None
            if axis is not None:
                dims[axis - 1] = 1
        ids = _integers(prepared, mask, name)
        per_sample = ids.ndim == len(dims) + 1 and len(ids) > 1
        if per_sample:
            _placed(ids[0], dims, None, name)
        else:
            ids = _placed(ids, dims, channels, name)
        found.append(Groups(ids, int(ids.max()) + 1, axis is not None, per_sample))
    return _numbered([groups for groups in found if groups is not None], found)


def columns_mask(prepared: Prepared) -> dict[str, np.ndarray] | None:
    """One group for what an encoder makes of each column of text, where a model takes columns one by one; else None."""
    columns = read_columns(prepared.model.metadata_props)
    found = {}
    for column, name in columns.items():
        dims = (
            (dims_of(prepared.value(name)) or [])[1:] if column != name and column in prepared.asked else []
        )
        if dims and all(isinstance(dim, int) for dim in dims):
            found[column] = np.zeros(dims, np.int64)  # type: ignore[arg-type]
    return found or None


def masks_of(request: Request, samples: int, first: int, dataset: bool) -> dict[str, np.ndarray]:
    """The rows of masks that have one for each sample, by the names of the graph's inputs.

    Args:
        request: The method on its model.
        samples: The number of samples of a batch.
        first: Position of the first of them.
        dataset: Whether more batches may follow.

    Raises:
        ShapeError: If there are rows for another number of samples.
    """
    found = {}
    for position, groups in enumerate(request.map_groups):
        if groups is None or not groups.per_sample:
            continue
        rows = groups.ids[first : first + samples]
        if len(rows) < samples or (not dataset and len(groups.ids) > samples):
            raise ShapeError(
                f"feature_mask has rows for {len(groups.ids)} samples, and there are {first + samples}"
                f"{' or more' if dataset else ''}. Give one mask for all samples, or a row for each of them."
            )
        found[own_name(request.prepared, MASK, position)] = rows
    return found


def _dims_over_image(prepared: Prepared, placement: Placement) -> Dims:
    """The sizes of a map that a layer has over the image."""
    if placement.upsampling is None or placement.image is None:
        layer = dims_of(prepared.value(placement.layer)) or []
        dims = [dim for axis, dim in enumerate(layer) if axis not in (0, *placement.squeezed)]
    else:
        image = dims_of(prepared.value(placement.image)) or []
        dims = [image[axis] for axis in placement.image_space]
    dims.insert(placement.channel_there - 1, 1)
    return dims


def sizes_of_masks(request: Request) -> dict[str, int]:
    """Sizes that the model leaves open and masks do not, by their names."""
    shown, placement, found = request.shown, request.placement, dict[str, int]()
    for name, groups in zip(shown.wrt, request.map_groups, strict=True):
        if groups is not None:
            dims = (dims_of(shown.value(name)) or [])[1:]
            dims = dims if placement is None else _dims_over_image(shown, placement)
            pairs = zip(dims, groups.shape, strict=True)
            found |= {dim: size for dim, size in pairs if isinstance(dim, str) and size > 1}
    return found


def _by_position(prepared: Prepared, given: Any) -> list[Any]:
    names = prepared.asked
    if given is None:
        return [None] * len(names)
    if isinstance(given, Mapping):
        unknown = [str(name) for name in given if name not in names]
        if unknown:
            near = difflib.get_close_matches(unknown[0], names, 1) or list(names)
            raise ParameterError(
                f"feature_mask names {unknown}; expected what is explained: {', '.join(map(repr, near))}."
            )
        return [given.get(name) for name in names]
    if len(names) == 1:
        return [given]
    if not isinstance(given, (list, tuple)) or len(given) != len(names):
        raise ParameterError(
            f"feature_mask: {len(names)} values are explained, {list(names)}; give a dict by these names, or a list of "
            "masks in this order, None for those without."
        )
    return list(given)


def _integers(prepared: Prepared, given: Any, name: str) -> np.ndarray:
    try:
        named = by_name(given, prepared.features, "feature_mask")
        array = as_array(given if named is None else named, "feature_mask")
    except ShapeError as error:
        raise ParameterError(f"feature_mask of {name!r}: expected integers from 0 on. {error}") from error
    whole = array.dtype.kind in "iub" or (named is not None and np.array_equal(array, np.round(array)))
    if not whole or not array.size:
        raise ParameterError(
            f"feature_mask of {name!r} is {array.dtype} of shape {array.shape}; expected integers, the number of each "
            "feature's group from 0 on."
        )
    ids = array.astype(np.int64)
    if ids.min() < 0:
        raise ParameterError(
            f"feature_mask of {name!r} holds {ids.min()}; groups are numbered from 0 on. Give what belongs to no group "
            "one of its own."
        )
    return ids


def _placed(ids: np.ndarray, dims: Dims, channels: int | None, name: str) -> np.ndarray:
    """A mask with as many axes as a sample, of size 1 where it has none of its own."""
    if ids.ndim == len(dims) + 1 and len(ids) == 1:
        ids = ids[0]
    ways = []
    if ids.ndim <= len(dims):
        ways.append(ids.reshape((1,) * (len(dims) - ids.ndim) + ids.shape))
    if channels is not None and ids.ndim == len(dims) - 1:
        ways.append(np.expand_dims(ids, channels))
    fitting = {way.shape: way for way in ways if _fits(way.shape, dims)}
    sample = shape_text(dims)
    if len(fitting) > 1:
        raise ParameterError(
            f"feature_mask of {name!r} has shape {ids.shape}, which fits a sample of shape {sample} in several ways: "
            f"give it the shape {' or '.join(map(str, fitting))}."
        )
    if not fitting:
        also = "" if channels is None else ", or the shape without the channel axis"
        raise ParameterError(
            f"feature_mask of {name!r} has shape {ids.shape}; expected that of one sample, {sample}, with sizes of 1 "
            f"where all along an axis are in one group{also}; or a row of that shape for each sample, (N, ...)."
        )
    return next(iter(fitting.values()))


def _fits(shape: Sequence[int], dims: Dims) -> bool:
    return all(size in (1, dim) or not isinstance(dim, int) for size, dim in zip(shape, dims, strict=True))


def _numbered(masks: Sequence[Groups], found: Sequence[Groups | None]) -> tuple[Groups | None, ...]:
    """Checks that no group is empty; where masks share their groups, each gets them all."""
    if not masks:
        return tuple(found)
    present = np.unique(np.concatenate([groups.ids.reshape(-1) for groups in masks]))
    count = int(present[-1]) + 1
    if len(present) < count:
        missing = np.setdiff1d(np.arange(min(count, 10**6)), present)
        raise ParameterError(
            f"feature_mask has {len(present)} groups, numbered up to {count - 1}: no feature is in "
            f"{missing[:_LISTED].tolist()}{' ...' if len(missing) > _LISTED else ''}. Number the groups 0, 1, 2, ... "
            "(np.unique(mask, return_inverse=True) does)."
        )
    shared = any(len(np.unique(groups.ids)) < groups.count for groups in masks)
    return tuple(replace(g, count=count) if shared and g is not None else g for g in found)
