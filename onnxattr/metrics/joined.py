"""Evaluations of samples of several shapes, each measured by itself, as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxattr.metrics.evaluation import Curve, Evaluation


def joined(parts: Sequence[Evaluation], places: Sequence[Sequence[int]]) -> Evaluation:
    """One evaluation of the samples of several, which have the same methods and metrics.

    Curves are joined where they have the same number of points; shares of the features that differ by rounding are
    averaged over the samples. Curves of other lengths are left out.

    Args:
        parts: The evaluations.
        places: For each the places of its samples among all of them.
    """
    if len(parts) == 1:
        return parts[0]
    first, order = parts[0], np.argsort(np.concatenate([np.asarray(p, np.int64) for p in places]))
    whole = Evaluation(first.methods, first.metrics)
    for metric, found in first.scores.items():
        own = [part.scores[metric] for part in parts]
        whole.scores[metric] = {m: np.concatenate([each[m] for each in own])[order] for m in found}
    whole.seconds = {name: sum(part.seconds[name] for part in parts) for name in first.seconds}
    whole.gradients = {name: sum(part.gradients[name] for part in parts) for name in first.gradients}
    for metric, curves in first.curves.items():
        by_method = {m: [part.curves[metric][m] for part in parts] for m in curves}
        if all(len({len(curve.shares) for curve in each}) == 1 for each in by_method.values()):
            whole.curves[metric] = {m: _curve(each, order) for m, each in by_method.items()}
    return whole


def _curve(parts: Sequence[Curve], order: np.ndarray) -> Curve:
    counts = [len(part.scores) for part in parts]
    shares = np.average([part.shares for part in parts], axis=0, weights=counts)
    return Curve(shares, np.concatenate([part.scores for part in parts])[order])
