"""Reads datasets: batches as they are needed, single samples gathered into batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Number
from typing import Any

import numpy as np

from onnxattr.errors import OnnxAttrError, ShapeError, TargetError
from onnxattr.graph.values import dims_of
from onnxattr.inputs.samples import Samples, is_files, samples_of, together
from onnxattr.inputs.tensors import is_sparse
from onnxattr.loading.meaning.class_names import one_label
from onnxattr.loading.prepared import Prepared
from onnxattr.running.given.arrays import as_array
from onnxattr.running.given.frames import is_frame
from onnxattr.running.given.tables import is_row_of

#: How many single samples are gathered where the method has no batch size.
_GATHERED = 32


def is_dataset(inputs: Any) -> bool:
    """Whether something is an iterable of batches or samples, and no array, tensor, list or dict of them."""
    array = hasattr(inputs, "__array__") or hasattr(inputs, "__dlpack__") or is_sparse(inputs)
    whole = isinstance(inputs, (Mapping, list, tuple, str, bytes, memoryview, Number))
    return isinstance(inputs, Iterable) and not array and not whole


def first_of(dataset: Iterable[Any]) -> tuple[Any, Iterable[Any]]:
    """The inputs of a dataset's first element, None if there is none, and all of the dataset, read no further."""
    elements = iter(dataset)
    for element in elements:
        return _pair(element)[0], itertools.chain([element], elements)
    return None, elements


def pairs_of(prepared: Prepared, inputs: Any, targets: Any, size: int | None) -> Iterator[tuple[Any, Any]]:
    """What ``explain`` was given as batches (inputs, targets): a dataset's, those of files, or all of it as one.

    Raises:
        TargetError: If targets are given beside a dataset.
    """
    if is_files(inputs, prepared):
        return iter(_of_files(samples_of(inputs, prepared), targets))
    if not is_dataset(inputs):
        return iter([(inputs, targets)])
    if targets is None:
        return batches(prepared, inputs, size)
    if not isinstance(targets, str) and one_label(targets) is None:
        raise TargetError(
            "Targets of a dataset come from the dataset: give an iterable of (inputs, targets) pairs, or one label for "
            "all samples."
        )
    return _all_alike(batches(prepared, inputs, size), targets)


def _of_files(samples: Sequence[Samples], targets: Any) -> list[tuple[Any, Any]]:
    """The batches of files, with the targets of each; photos of other sizes are a batch of their own."""
    if len(samples) == 1 or targets is None or isinstance(targets, str) or one_label(targets) is not None:
        return [(part.inputs, targets) for part in samples]
    counts = [len(part.names) for part in samples]
    if not hasattr(targets, "__len__") or len(targets) != sum(counts):
        raise TargetError(f"Targets for {sum(counts)} samples are expected, one for each.")
    ends = np.cumsum(counts)
    pairs = zip(samples, ends - counts, ends, strict=True)
    return [(part.inputs, targets[start:end]) for part, start, end in pairs]


def _all_alike(pairs: Iterator[tuple[Any, Any]], target: Any) -> Iterator[tuple[Any, Any]]:
    """Batches with one label for all samples.

    Raises:
        TargetError: If the dataset has targets of its own.
    """
    for x, y in pairs:
        if y is not None:
            raise TargetError("Targets were given, and the dataset has its own: leave one of them out.")
        yield x, target


def batches(prepared: Prepared, dataset: Iterable[Any], size: int | None) -> Iterator[tuple[Any, Any]]:
    """The batches of a dataset as pairs (inputs, targets), in order.

    Args:
        prepared: The model; the rank of its inputs tells a sample from a batch.
        dataset: Elements ``x`` or ``(x, targets)``, where ``x`` is what ``explain`` takes, or one row of it.
        size: Most samples to gather into a batch.

    Raises:
        ShapeError: If samples of different shapes follow each other.
        TargetError: If targets of different shapes do, only some samples have targets, or elements have a third part.
    """
    samples: list[tuple[Any, Any]] = []
    for element in dataset:
        _check_parts(prepared, element)
        x, y = _pair(_as_tuple(prepared, element))
        x = together(x, prepared) if is_files(x, prepared) else x
        sample = _is_sample(prepared, x)
        if sample:
            samples.append((x, y))
        if samples and (not sample or len(samples) == (size or _GATHERED)):
            yield _gather(prepared, samples)
            samples = []
        if not sample:
            yield x, y
    if samples:
        yield _gather(prepared, samples)


def _check_parts(prepared: Prepared, element: Any) -> None:
    """Refuses (inputs, targets, weights), as Keras takes them; equal parts may be rows, as of ``itertools.batched``."""
    if not isinstance(element, tuple) or len(element) != 3 or len(prepared.inputs) == 3:
        return
    if len({isinstance(part, Number) or tuple(getattr(part, "shape", ())) for part in element}) > 1:
        raise TargetError(
            "An element of the dataset has 3 parts; expected inputs, or a pair (inputs, targets). Leave weights of "
            "samples out: dataset.map(lambda x, y, weight: (x, y))."
        )


def _as_tuple(prepared: Prepared, element: Any) -> Any:
    """A list of one batch, or of one and its targets, as loaders of PyTorch make them, as a tuple or the batch itself.

    Of a model with one input a list of arrays that have an axis of samples already is nothing else.
    """
    if not isinstance(element, list) or len(element) not in (1, 2) or len(prepared.inputs) != 1:
        return element
    rank = len(dims_of(prepared.inputs[0]) or [])
    if getattr(element[0], "ndim", None) != rank or not rank:
        return element
    return element[0] if len(element) == 1 else tuple(element)


def _pair(element: Any) -> tuple[Any, Any]:
    """The inputs and the targets of an element of a dataset."""
    return element if isinstance(element, tuple) and len(element) == 2 else (element, None)


def joined(runs: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """The arrays of all batches, each as one.

    Raises:
        ShapeError: If there is no batch, or they have maps of different sizes.
    """
    if not runs:
        raise ShapeError("The dataset gave no batch; at least one sample is needed.")
    return [join(parts) for parts in zip(*runs, strict=True)]


def join(parts: Sequence[np.ndarray]) -> np.ndarray:
    """The maps of all batches as one array.

    Raises:
        ShapeError: If the batches have maps of different sizes.
    """
    sizes = sorted({part.shape[1:] for part in parts})
    if len(sizes) > 1:
        raise ShapeError(
            f"The batches of the dataset have samples of different shapes {sizes[:5]}, which do not fit into one "
            f"array: explain each batch by itself, or pad them to one shape."
        )
    return np.concatenate(parts)


def _is_sample(prepared: Prepared, x: Any) -> bool:
    """Whether every array has one axis less than the model's input: no batch axis, where there is one."""
    if prepared.rows.mixed:
        return False
    names = [value.name for value in prepared.inputs]
    if is_frame(x):
        return False
    if is_row_of(prepared, x):
        return True
    if isinstance(x, Mapping):
        parts = [x.get(name) for name in names]
    else:
        parts = list(x) if len(names) > 1 and isinstance(x, (list, tuple)) else [x]
    if len(parts) != len(names) or any(part is None for part in parts):
        return False
    ranks = [as_array(part, f"Input {name!r}").ndim for part, name in zip(parts, names, strict=True)]
    return ranks == [len(dims_of(value) or [None]) - 1 for value in prepared.inputs]


def _gather(prepared: Prepared, samples: Sequence[tuple[Any, Any]]) -> tuple[Any, Any]:
    inputs, targets = [x for x, _ in samples], [y for _, y in samples]
    first = inputs[0]
    together: Any
    if all(is_row_of(prepared, x) for x in inputs):
        together = inputs
    elif isinstance(first, Mapping):
        together = {name: _stack([x[name] for x in inputs], f"Input {name!r}", ShapeError) for name in first}
    elif isinstance(first, (list, tuple)) and not np.isscalar(first[0]):
        together = [_stack(part, "An input", ShapeError) for part in zip(*inputs, strict=True)]
    else:
        together = _stack(inputs, "The input", ShapeError)
    if all(y is None for y in targets):
        return together, None
    if any(y is None for y in targets):
        raise TargetError("Only some samples of the dataset have targets; give them to all, or to none.")
    return together, _stack(targets, "The targets", TargetError)


def _stack(parts: Sequence[Any], what: str, error: type[OnnxAttrError]) -> np.ndarray:
    arrays = [as_array(part, what) for part in parts]
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) > 1:
        raise error(
            f"{what} has different shapes in the samples of the dataset: {shapes[:5]}. Samples are explained together: "
            "pad them to one shape, or give a dataset of batches."
        )
    return np.stack(arrays)
