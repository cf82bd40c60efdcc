"""The packages that are compared: each makes a function of inputs and cotangents that gives gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx

from onnxattr.compile.gradient import vjp

Arrays = Mapping[str, np.ndarray]
#: Gives the values of the named outputs of a model.
Run = Callable[[Sequence[str], Arrays], list[np.ndarray]]
#: Gives one gradient per source, from the inputs and the cotangents by name of their output.
Gradient = Callable[[Arrays, Arrays], list[np.ndarray]]
#: Differentiates a model with respect to sources; the last argument makes what runs a model.
Differentiate = Callable[
    [onnx.ModelProto, Sequence[str], Sequence[str], Callable[[onnx.ModelProto], Run]], Gradient
]


def onnxattr(
    model: onnx.ModelProto,
    sources: Sequence[str],
    scores: Sequence[str],
    start: Callable[[onnx.ModelProto], Run],
) -> Gradient:
    """This package."""
    run = start(vjp(model, sources, scores))
    names = [f"{name}_gradient" for name in sources]
    return lambda feeds, cts: run(names, {**feeds, **{f"{k}_cotangent": ct for k, ct in cts.items()}})


def onnx_ad(
    model: onnx.ModelProto,
    sources: Sequence[str],
    scores: Sequence[str],
    start: Callable[[onnx.ModelProto], Run],
) -> Gradient:
    """onnx-ad, whose graphs take any number of cotangents on one more axis: the last."""
    from onnx_ad import reverse

    run = start(reverse(model, list(sources), list(scores), prefix="adj_", dim="nadj", layout="onnx"))
    names = [f"adj_{name}" for name in sources]
    return lambda feeds, cts: [
        array[..., 0]
        for array in run(names, {**feeds, **{f"adj_{k}": ct[..., None] for k, ct in cts.items()}})
    ]


PACKAGES: dict[str, Differentiate] = {"onnxattr": onnxattr, "onnx-ad": onnx_ad}
