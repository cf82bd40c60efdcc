"""Whether a framework's own gradient is another than that of the file, which has no sign for a stopped gradient."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx

from onnxattr.callers import warn_caller
from onnxattr.compile.gradient import vjp

from .verify import Session

#: Most of its largest value by which a gradient may differ: kinks that a value meets by chance are not meant.
_TOLERANCE, _HALF = 1e-3, 5e-2
_LISTED = 3

#: Cotangents of the outputs, in their order -> the framework's cotangents of inputs by name; None where it has none.
OwnGradient = Callable[[Sequence[np.ndarray]], Mapping[str, np.ndarray | None]]


def warn_if_another(
    converted: onnx.ModelProto,
    feeds: Mapping[str, np.ndarray],
    outputs: Sequence[np.ndarray],
    own: OwnGradient,
    places: Sequence[str],
    framework: str,
) -> None:
    """Warns if the gradient of a random sum of the outputs is another in the framework than in the file.

    Args:
        converted: The model.
        feeds: Its inputs.
        outputs: What the framework gives for them.
        own: The framework's gradient.
        places: Where gradients are stopped or replaced.
        framework: Its name.
    """
    generator, gradient = np.random.default_rng(0), vjp(converted)
    cts = [generator.normal(size=output.shape).astype(output.dtype) for output in outputs]
    asked, theirs = {value.name for value in gradient.graph.input}, own(cts)
    given = {f"{value.name}_cotangent": ct for value, ct in zip(converted.graph.output, cts, strict=True)}
    given = {name: array for name, array in {**feeds, **given}.items() if name in asked}
    found = dict(zip((v.name for v in gradient.graph.output), Session(gradient).run(given), strict=True))
    worst = max((_apart(found.get(f"{name}_gradient"), array) for name, array in theirs.items()), default=0.0)
    halves = any(a.dtype.itemsize == 2 and a.dtype.kind not in "iu" for a in (*feeds.values(), *outputs))
    if worst > (_HALF if halves else _TOLERANCE):
        more = ", ..." if len(places) > _LISTED else ""
        warn_caller(
            f"The model stops gradients, or has its own, at {'; '.join(places[:_LISTED])}{more}. ONNX has no sign for "
            "that: attributions are those of the file, whose gradient is that of what it computes. At the inputs of "
            f"the check it differs from {framework}'s by {worst:.2g} of the largest value."
        )


def _apart(ours: np.ndarray | None, theirs: np.ndarray | None) -> float:
    """The largest difference of two gradients, as a share of the largest value."""
    if ours is None:
        return 0.0
    theirs = np.zeros_like(ours) if theirs is None else theirs
    largest = max(np.abs(ours).max(initial=0), np.abs(theirs).max(initial=0))
    apart = float(np.abs(ours - theirs).max(initial=0) / (largest or 1))
    return apart if np.isfinite(apart) else 0.0
