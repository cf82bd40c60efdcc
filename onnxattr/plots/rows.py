"""One row of a model's input, drawn as what it is."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from onnxattr.errors import ShapeError
from onnxattr.plots.charts import series, tabular
from onnxattr.plots.images import gallery

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def row(
    x: np.ndarray,
    attributions: Mapping[str, np.ndarray],
    *,
    title: str,
    label: str = "",
    score: float | None = None,
    path: str | os.PathLike | None = None,
) -> "Figure":
    """Draw one row: three axes as an image, two as a time series, one as features.

    Args:
        x: (H, W, C), (C, H, W), (T, C) or (features,).
        attributions: a map for each method, by the method's name; for features, of one method.
        title: heading of the figure.
        label: the class that is explained.
        score: the model's score of that class.
        path: where to write the figure; the suffix chooses the format (.png, .svg, .pdf).

    Returns:
        The figure.

    Raises:
        ShapeError: the row has more axes, or a map does not fit it; nothing is written then.
        ParameterError: the path has another suffix.
        RuntimeMissingError: matplotlib is not installed.
    """
    if x.ndim == 1:
        (attribution,) = attributions.values()
        names = [f"feature {index}" for index in range(len(x))]
        return tabular(names, attribution, values=x, title=title, label=label, score=score, path=path)
    if x.ndim not in (2, 3):
        raise ShapeError(
            f"a row of shape {x.shape}; pictures are made of features (1 axis), time series (2) and images (3)"
        )
    draw = series if x.ndim == 2 else gallery
    return draw(x, attributions, title=title, label=label, score=score, path=path)
