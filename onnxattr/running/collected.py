"""The results of one call, over all of its batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnxattr.errors import ShapeError, few
from onnxattr.loading.prepared import Prepared
from onnxattr.running.given.batches import joined
from onnxattr.running.given.frames import columns_of, in_order, is_frame
from onnxattr.running.given.one_sample import joined_samples
from onnxattr.running.given.tables import orders_of, table_of
from onnxattr.running.runs import Run


@dataclass
class Details:
    """What a batch gave beside its attributions, each with an axis of samples; no prediction where none was made."""

    feeds: Mapping[str, np.ndarray]
    scores: np.ndarray
    targets: np.ndarray
    prediction: np.ndarray | None = None


@dataclass
class Collected:
    """The attributions of one call, and where they are wanted its details, batch by batch.

    Attributes:
        prepared: The model, as the caller knows it.
        dataset: Whether the inputs are an iterable of batches.
        keep: Whether details are wanted: inputs, targets and scores.
        maps: For each batch the attributions of each explained value, in the model's order of columns.
        deltas: For each batch how much they miss the difference, (N,); empty without a path.
        gaps: For each batch the size of the delta relative to f(x) - f(b), (N,); empty without a path.
        differences: For each batch f(x) - f(b), (N,); empty without a path, or where it is not known.
        spent: For each batch how many gradients each sample took, (N,), where that differs; else empty.
        details: For each batch what else it gave, if that is wanted.
        arrays: The attributions of each explained value as the caller gets them, of all batches.
        as_dict: Whether the caller gave the inputs by name, and so gets the attributions by name.
        orders: Where the columns of a table that was given stand in the model.
        columns: The names of the columns of a table that was given, in its order.
        grouped: Names of the explained values whose attributions are sums over groups of features.
    """

    prepared: Prepared
    dataset: bool
    keep: bool = False
    maps: list[list[np.ndarray]] = field(default_factory=list)
    deltas: list[np.ndarray] = field(default_factory=list)
    gaps: list[np.ndarray] = field(default_factory=list)
    differences: list[np.ndarray] = field(default_factory=list)
    spent: list[np.ndarray] = field(default_factory=list)
    details: list[Details] = field(default_factory=list)
    arrays: list[np.ndarray] = field(default_factory=list)
    as_dict: bool = False
    orders: dict[str, list[int]] | None = None
    columns: tuple[str, ...] = ()
    grouped: frozenset[str] = frozenset()

    def look_at(self, inputs: Any) -> None:
        """Notes how the caller names inputs and columns; the first batch decides the order of columns.

        Raises:
            ShapeError: If a batch has other columns, and they are taken in order.
        """
        self.as_dict = isinstance(inputs, Mapping) or is_frame(inputs)
        table = table_of(self.prepared, inputs)
        columns = () if table is None else tuple(map(str, _columns(table)))
        if self.orders is None:
            self.orders = orders_of(self.prepared, inputs)
            self.columns = columns
        elif columns and self.columns not in ((), columns) and not self._are_matched():
            raise ShapeError(
                f"A table has the columns {few(columns)}, and the first one {few(self.columns)}; "
                "the model has no names of columns, and takes them in order. Give tables with the same columns."
            )

    def _are_matched(self) -> bool:
        """Whether the columns of tables are matched by name."""
        return bool(self.prepared.features) or len(self.prepared.inputs) > 1

    def add(self, run: Run, details: Details | None) -> None:
        """Takes in what a batch gave."""
        with np.errstate(over="ignore"):
            self.maps.append([array.astype(np.float32, copy=False) for array in run.maps])
            for kept, array in (
                (self.deltas, run.delta),
                (self.differences, run.difference),
                (self.gaps, run.gap),
            ):
                kept += [] if array is None else [array.astype(np.float32)]
        self.spent += [] if run.spent is None else [run.spent]
        self.details += [] if details is None else [details]

    def join(self, one_sample: bool) -> None:
        """Makes ``arrays`` of the attributions of all batches.

        Raises:
            ShapeError: If there is no batch, or they have maps of different sizes.
        """
        maps = joined_samples(self.maps) if one_sample else joined(self.maps)
        if one_sample and not self.dataset:
            maps = [array[0] for array in maps]
        named = zip(self.prepared.asked, maps, strict=True)
        self.arrays = [m if name in self.grouped else self._ordered(name, m) for name, m in named]

    def as_given(self) -> Any:
        """The array, or with several explained values a list of them, or a dict if the inputs were one."""
        if len(self.arrays) == 1:
            return self.arrays[0]
        return dict(zip(self.prepared.asked, self.arrays, strict=True)) if self.as_dict else self.arrays

    def inputs(self, one_sample: bool) -> dict[str, np.ndarray]:
        """The model's inputs of all batches, as the caller gave them; those without rows as in the first batch."""
        found = {}
        for name, first in self.details[0].feeds.items():
            parts = [part.feeds[name] for part in self.details]
            if len({part.shape[1:] for part in parts}) > 1:
                continue  # an input of another length in each batch, that is not explained itself
            array = parts[0] if len(parts) == 1 or not first.ndim else np.concatenate(parts)
            found[name] = self._ordered(
                name, array[0] if one_sample and not self.dataset and array.ndim else array
            )
        return found

    def _ordered(self, name: str, array: np.ndarray) -> np.ndarray:
        return in_order(array, (self.orders or {}).get(name))


def _columns(table: Any) -> Sequence[Any]:
    return columns_of(table) if is_frame(table) else table.columns
