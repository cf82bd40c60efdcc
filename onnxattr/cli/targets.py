"""The option --targets: a label or a name for all samples, or a file of labels or weights."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxattr.cli.method_options import is_integer
from onnxattr.errors import TargetError
from onnxattr.inputs.array_files import read_arrays
from onnxattr.inputs.samples import Samples
from onnxattr.loading.meaning.class_names import label_of


def targets_of(given: str | None, batches: Sequence[Samples], method: Any) -> list[Any]:
    """The targets of each batch."""
    if len(batches) == 1 or given is None:
        return [targets_given(given, batch.inputs, method) for batch in batches]
    found = targets_given(given, np.empty(sum(len(batch.names) for batch in batches)), method)
    if len(found) != sum(len(batch.names) for batch in batches):
        raise TargetError(
            f"{given} holds {len(found)} targets for {sum(len(b.names) for b in batches)} samples."
        )
    ends = np.cumsum([len(batch.names) for batch in batches])
    return [found[end - len(batch.names) : end] for batch, end in zip(batches, ends, strict=True)]


def targets_given(given: str | None, inputs: Any, method: Any) -> Any:
    """Targets from a file, or one label or name of a class for every sample."""
    one_sample = method.one_sample
    file = given is not None and (given.lower().endswith((".npy", ".npz", ".csv")) or os.path.isfile(given))
    if given is not None and not file and not is_integer(given):
        given = str(label_of(given, method.class_names))
    if given is None or not is_integer(given):
        found = None if given is None else read_arrays(given)
        if isinstance(found, dict):
            if len(found) != 1:
                raise TargetError(f"{given} holds several arrays, {list(found)}; give a .npy file of one.")
            (found,) = found.values()
        return found if given is None or not given.lower().endswith(".csv") else _targets_of_table(found)
    if one_sample:
        return np.array(int(given))
    first = next(iter(inputs.values()), np.empty(0)) if isinstance(inputs, dict) else inputs
    return np.full(first.shape[:1], int(given))


def _targets_of_table(table: Any) -> Any:
    """Targets of a CSV file: one column of whole numbers is one of labels, all else are weights, with their names."""
    values = np.asarray(table)
    whole = values.shape[1] == 1 and np.array_equal(values, np.round(values))
    return values[:, 0].astype(np.int64) if whole else table
