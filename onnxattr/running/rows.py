"""Whether the rows of a model are apart, where the proof for all sizes cannot tell.

It is made again for the sizes of the inputs; where that does not tell either, rows are compared alone and among others.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping

import numpy as np

from onnxattr.callers import warn_caller
from onnxattr.errors import ModelError
from onnxattr.graph.operator_kinds import COUNTING
from onnxattr.graph.subgraphs import nodes_of
from onnxattr.graph.values import dims_of
from onnxattr.loading.checks.trial_run import check_lengths
from onnxattr.loading.prepared import Prepared
from onnxattr.loading.rows.independence import EXTENTS, MEASURED, MIXED, PROVEN, UNDECIDED, Rows, independence
from onnxattr.running.given.arrays import take
from onnxattr.running.rounding import alike, rounding

Feeds = Mapping[str, np.ndarray]
Run = Callable[[Feeds], np.ndarray]
#: How many rows are compared, and what rounding may do, by the size of a float in bytes.
_COMPARED = 3
_TEXT = "OSU"
_NO_FLOATS = f"iub{_TEXT}"
_TOLERANCE = {2: 2e-2, 4: 1e-4, 8: 1e-8}


def by_runs(prepared: Prepared, run: Run, feeds: Feeds | None) -> Rows | None:
    """Whether rows are apart, by runs on some inputs; without any on made-up ones.

    Args:
        prepared: The model, of which ``rows`` says why the proof could not tell.
        run: Runs the model once.
        feeds: The model's inputs, if there are some.

    Returns:
        None, after a warning, if the model takes no inputs that were made up.

    Raises:
        ModelError: If the model does not run.
    """
    if feeds is None and (feeds := _inputs_made_up(prepared, run)) is None:
        warn_caller(
            f"Whether the samples of a batch are independent is not known: {prepared.rows.why}, and the model refuses "
            f"every input that was made up to compare them. The file assumes that they are; call predict() on real "
            f"inputs first."
        )
        return None
    return _compared(prepared, run, feeds)


def _compared(prepared: Prepared, run: Run, feeds: Feeds) -> Rows:
    """Whether rows are apart at the sizes given: by proof, or by the outputs for some rows alone and among others."""
    why = prepared.rows.why
    counts = {name: len(array) for name, array in feeds.items() if array.ndim}
    if len(set(counts.values())) != 1:
        return Rows(MIXED, f"the inputs have first axes of different sizes, {counts}")
    known = _at_sizes(prepared, feeds)
    if known.kind != UNDECIDED:
        return known
    rows, least = next(iter(counts.values())), rounding(prepared)
    try:
        found = _mixed(
            run, {name: _with_neighbours(array, rows) for name, array in feeds.items()}, why, least
        )
    except ModelError as error:
        run(feeds)  # what does not run at all says so itself
        return Rows(MIXED, f"{why}, and some samples cannot be run alone or in another order: {error}")
    if found is None and any(node.op_type in COUNTING for node in nodes_of(prepared.model.graph)):
        # Rows like those given may all be selected alike. A model need not take their opposites.
        with contextlib.suppress(ModelError):
            found = _mixed(run, {name: _with_opposites(array) for name, array in feeds.items()}, why, least)
    return found or Rows(MEASURED, f"{why}; samples have the same output alone and among others")


def _mixed(run: Run, picked: Feeds, why: str, least: float) -> Rows | None:
    """That rows are mixed, if their outputs alone and among others show it.

    Raises:
        ModelError: If the model does not run on the rows in some order.
    """
    orders = ([0, 1, 2], [2, 1, 0], [1, 2, 0], *([k] for k in range(_COMPARED)))
    results = [run(take(picked, order)) for order in orders]
    together = results[0]
    for order, result in zip(orders, results, strict=True):
        if result.shape != (len(order), *together.shape[1:]):
            return Rows(MIXED, f"{why}, and the output for {len(order)} samples has the shape {result.shape}")
        if not alike(result, together[order], _TOLERANCE.get(result.dtype.itemsize, 1e-4), least):
            return Rows(
                MIXED, f"{why}, and a sample has another output alone than among others, or elsewhere"
            )
    return None


def _at_sizes(prepared: Prepared, feeds: Feeds) -> Rows:
    """What the proof says at the sizes of the inputs: a comparison may not see that a branch looks at all rows."""
    ends = [prepared.value(name) for name in (prepared.output, *prepared.wrt)]
    shapes = {name: array.shape for name, array in feeds.items()}
    rows = independence(prepared.model.graph, prepared.opset, ends, shapes)
    if rows.kind != PROVEN:
        return rows
    return Rows(MEASURED, f"{prepared.rows.why}; at the sizes given samples are proven independent")


def _inputs_made_up(prepared: Prepared, run: Run) -> dict[str, np.ndarray] | None:
    """Inputs of the declared shapes that the model can be run on; None if it takes none that were tried."""
    rng, model = np.random.default_rng(0), prepared.proto()
    for extent in EXTENTS:
        feeds = {}
        for value in prepared.inputs:
            dims = dims_of(value) or []
            shape = [
                dim if isinstance(dim, int) else _COMPARED if k == 0 else extent for k, dim in enumerate(dims)
            ]
            assert value.dtype is not None
            feeds[str(value.name)] = _made_up(rng, shape, np.dtype(value.dtype.numpy()))
        try:
            check_lengths(model, feeds, prepared.folder)
            run(feeds)
        except ModelError:
            continue
        return feeds
    return None


def _made_up(rng: np.random.Generator, shape: list[int], dtype: np.dtype) -> np.ndarray:
    if dtype.kind in _TEXT:
        return np.full(shape, "", object)
    floats = dtype.kind not in _NO_FLOATS
    return np.asarray(rng.normal(size=shape) if floats else rng.integers(0, 2, shape)).astype(dtype)


def _with_neighbours(array: np.ndarray, rows: int) -> np.ndarray:
    """Up to two rows of an input and made-up ones, like them, but for scalars."""
    if not array.ndim:
        return array
    rng = np.random.default_rng(1)
    given = array[[0, rows - 1]] if rows > 1 else array[:1]
    made = []
    for _ in range(_COMPARED - len(given)):
        row = rng.permutation(given[0].reshape(-1)).reshape(given[0].shape)
        if array.dtype.kind not in _NO_FLOATS:
            spread = np.abs(row.astype(np.float64)).max(initial=0.0) or 1.0
            row = (row + spread / 4 * rng.normal(size=row.shape)).astype(array.dtype)
        made.append(row)
    return np.concatenate([given, np.stack(made)])


def _with_opposites(array: np.ndarray) -> np.ndarray:
    """A row of an input, zeros, and of floats the row with other signs."""
    if not array.ndim or array.dtype.kind in _TEXT:
        return array if not array.ndim else array[[0] * _COMPARED]
    row = array[0]
    return np.stack([row, np.zeros_like(row), row if array.dtype.kind in _NO_FLOATS else -row])
