"""Time series with coloured steps, and texts with coloured tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnxattr import plots
from onnxattr.results.captions import batched, captions
from onnxattr.results.explanation import Explanation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Most samples that are drawn.
_MOST = 8


def series(explanation: Explanation, name: str, options: dict[str, Any]) -> Figure:
    """A strip for each sample, its steps coloured; the first few samples."""
    maps, axes = batched(explanation, name), explanation.axes.get(name, ())
    steps_last = axes[-2:] == ("channel", "step")
    xs: Any = _series_of(explanation, name, maps, steps_last)
    if steps_last:
        maps, xs = np.swapaxes(maps, 1, 2), None if xs is None else np.swapaxes(xs, 1, 2)
    shown = slice(0, _MOST)
    if len(maps) > _MOST:
        options.setdefault("subtitle", f"the first {_MOST} of {len(maps)}")
    if (rate := explanation.sampling_rates.get(name)) is not None:
        options.setdefault("sampling_rate", rate)
    options.setdefault("unit", explanation.units.get(name, ""))
    drawn = maps if xs is None else xs
    called = explanation.features.get(name, ())
    options.setdefault("channels", called if drawn.ndim == 3 and drawn.shape[2] == len(called) else ())
    return plots.strips(
        [None] * len(maps[shown]) if xs is None else xs[shown],
        maps[shown],
        names=explanation.target_names[shown],
        captions=captions(explanation)[shown],
        **options,
    )


def _series_of(explanation: Explanation, name: str, maps: np.ndarray, steps_last: bool) -> np.ndarray | None:
    """The series among the model's inputs: the explained one, or one of as many steps as the map of a layer has."""
    own = [explanation.inputs[name]] if name in explanation.inputs else list(explanation.inputs.values())
    own = [array[None] if explanation.one_sample and array.ndim else array for array in own]
    axis = 2 if steps_last else 1
    fits = [
        x for x in own if x.ndim == maps.ndim and len(x) == len(maps) and x.shape[axis] == maps.shape[axis]
    ]
    return fits[0] if fits and fits[0].dtype.kind == "f" else None


def text_of(explanation: Explanation, name: str) -> tuple[list[tuple[str, ...]], list[np.ndarray]]:
    """The tokens of each sample and one attribution for each; embeddings are summed up, for display only."""
    maps = batched(explanation, name)
    if maps.ndim == 3:
        maps = maps.sum(axis=-1)
    rows = list(explanation.tokens)
    if not rows:
        ids = [
            array
            for array in explanation.inputs.values()
            if array.dtype.kind in "iu" and array.shape == maps.shape
        ]
        texts = ids[0] if ids else np.broadcast_to(np.arange(maps.shape[-1]), maps.shape)
        rows = [tuple(map(str, row)) for row in texts.tolist()]
    return rows, list(maps)


def tokens(explanation: Explanation, name: str, options: dict[str, Any]) -> Figure:
    """The tokens of each text, coloured; the first few texts."""
    rows, maps = text_of(explanation, name)
    if len(rows) > _MOST:
        options.setdefault("subtitle", f"the first {_MOST} of {len(rows)}")
    shown = slice(0, _MOST)
    said: dict[str, Any] = {
        "names": explanation.target_names[shown],
        "captions": captions(explanation)[shown],
    }
    return plots.tokens(rows[shown], maps[shown], **said, **options)
