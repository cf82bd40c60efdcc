"""What must hold for methods and their files: alike in every rendering, samples apart, maps complete."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime

from fuzz.compare import MismatchError, same
from fuzz.draft import Array
from fuzz.oracle import session
from fuzz.trial import Trial
from onnxattr import IntegratedGradients, SmoothGrad, SquareGrad, VarGrad


def apart(trial: Trial) -> None:
    """A sample among others is explained and predicted as it is alone; samples that mix are explained as one."""
    x, method = trial.case.points[0], trial.product
    trial.predicts(method.predict(trial.given(x)), 0, "predict")

    def rounding() -> Array:
        return np.abs(x * trial.rounding(x, "x_gradient"))

    found, ct = method.explain(trial.given(x), trial.cotangent), trial.cotangent
    trial.explains(found, lambda gradient: x * gradient(x), "GradientInput", rounding)
    if trial.case.apart and trial.case.declared != "all samples":
        rows = [slice(k, k + 1) for k in range(len(x))]
        parts = [method.explain(trial.given(x, row), ct[row]) for row in rows]
        trial.explains(np.concatenate(parts), lambda gradient: x * gradient(x), "samples alone", rounding)


def path(trial: Trial) -> None:
    """Integrated Gradients are the weighted gradients at their points, each point run by itself."""
    x = trial.case.points[-1]

    def attributed(gradient: Callable[[Array], Array]) -> Array:
        return x * np.asarray(
            sum(weight * gradient((alpha * x).astype(np.float32)) for alpha, weight in _PATH)
        )

    found = trial.path.explain(trial.given(x), trial.cotangent)
    trial.explains(found, attributed, "IntegratedGradients", lambda: rounding_of_path(trial, x))


#: The points of a path of three, with their weights.
_PATH = ((0.0, 0.25), (0.5, 0.5), (1.0, 0.25))


def rounding_of_path(trial: Trial, x: Array) -> Array:
    """What rounding makes of Integrated Gradients, ties at the baseline that it breaks included."""
    parts = [weight * trial.rounding((alpha * x).astype(np.float32), "x_gradient") for alpha, weight in _PATH]
    (start, weight), *_ = _PATH
    broken = trial.broken_ties((start * x).astype(np.float32))
    return np.abs(x * np.asarray(sum(parts))) + np.abs(x * weight * broken)


_NOISY = (SquareGrad, SmoothGrad, VarGrad)


def rounding_of_noise(trial: Trial, x: Array, cls: type) -> Array:
    """What rounding makes of a moment of gradients at noisy copies of x, from some of them."""
    rng, rounded, size = np.random.default_rng(trial.case.seed), np.zeros(x.shape), 0.0
    for _ in range(3):
        there = (x + 0.2 * rng.normal(size=x.shape)).astype(np.float32)
        rounded = np.maximum(rounded, trial.rounding(there, "x_gradient"))
        gradient = trial.differentiate(there, trial.cotangent)[1]
        size = max(size, float(np.abs(np.nan_to_num(gradient)).max(initial=0)))
    return rounded if cls is SmoothGrad else 2 * size * rounded + rounded**2


def renderings(trial: Trial) -> None:
    """Driven, batch and loop give the same attribution and the model's prediction; optimised by the runtime or not."""
    x, seed = trial.case.points[0], trial.case.seed
    cls = _NOISY[seed // 2 % 3] if seed % 2 else IntegratedGradients
    noisy = cls is not IntegratedGradients
    method = trial.method(cls, nb_samples=3, seed=seed % 5) if noisy else trial.path
    driven = method.explain(trial.given(x), trial.cotangent)

    def rounding() -> Array:
        return rounding_of_noise(trial, x, cls) if noisy else rounding_of_path(trial, x)

    # Points of a model whose rows mix, or that takes one row at a time, are no rows of one run.
    several = method.prepared.rows.kind in ("proven", "measured")
    feeds = {**trial.inputs(x), "target": trial.cotangent} | ({"seed": np.array(seed % 5)} if noisy else {})
    both = ("batch", "loop") if seed % 4 == 0 else (("batch", "loop")[seed // 4 % 2],)
    for rendering in both if several else ("auto",):
        file = method.explainer(rendering, target="weights")
        optimised = session(file)
        wanted = _in_reals(trial, file, feeds, driven, rounding) if trial.quantised else driven
        _run(trial, optimised, feeds, wanted, rendering, rounding)
        if rendering == both[-1] or not several:
            _run(trial, session(file, plain=True), feeds, wanted, f"{rendering}, not optimised", rounding)
        if several and trial.case.apart and len(x) > 1 and np.isfinite(driven).all():
            _among_others(trial, optimised, feeds, wanted[:1], lambda: rounding()[:1])


def _in_reals(
    trial: Trial, file: onnx.ModelProto, feeds: dict[str, Array], driven: Array, rounding: Callable[[], Array]
) -> Array:
    """What a file has to give with products of floats: what was driven, or its own where integers give that."""

    def found(in_reals: bool) -> Array:
        return np.asarray(session(file, in_reals=in_reals).run(["attribution"], feeds)[0])

    in_reals = found(True)
    try:
        same(in_reals, driven, "attribution", rounding=rounding)
    except MismatchError:
        same(found(False), driven, "attribution with products of integers", rounding=rounding)
        return in_reals
    return driven


def _run(
    trial: Trial,
    loaded: onnxruntime.InferenceSession,
    feeds: dict[str, Array],
    driven: Array,
    where: str,
    rounding: Callable[[], Array],
) -> None:
    """A file gives the model's prediction and the attribution that was driven."""
    prediction, found = (np.asarray(a) for a in loaded.run(["prediction", "attribution"], feeds))
    trial.predicts(prediction, 0, f"prediction of the {where}")
    same(found, driven, f"attribution of the {where}", rounding=rounding)


def _among_others(
    trial: Trial,
    loaded: onnxruntime.InferenceSession,
    feeds: dict[str, Array],
    first: Array,
    rounding: Callable[[], Array],
) -> None:
    """The map of the first sample of a file's run stays what it is among other samples, missing ones included."""
    rng = np.random.default_rng(trial.case.seed)
    for name in trial.inputs(feeds["x"]):
        others = (3 * rng.normal(size=feeds[name].shape)).astype(np.float32)
        others[0], others[-1] = feeds[name][0], np.nan
        feeds = feeds | {name: others}
    found = np.asarray(loaded.run(["attribution"], feeds)[0])[:1]
    same(found, first, "the first sample among others", rounding=rounding)


def complete(trial: Trial) -> None:
    """Integrated Gradients add up to the difference of scores, where the score is smooth along the path."""
    x, ct, rng = (
        trial.case.points[0],
        trial.cotangent.astype(np.float64),
        np.random.default_rng(trial.case.seed),
    )
    # No number for all elements: equal ones are ties, and a kink at an end of the path is not seen in the scores.
    start = rng.normal(size=x.shape[1:]).astype(np.float32)
    forward = trial.forward(x)
    if trial.quantised or trial.half or not trial.case.apart or forward is None:
        return
    alphas = np.linspace(0, 1, 4 * _STEPS + 1)
    scores = np.array([float((forward(start + alpha * (x - start)) * ct).sum()) for alpha in alphas])
    whole = float(np.abs(np.diff(scores)).sum())
    if not np.isfinite(scores).all() or np.abs(np.diff(scores, 2)).max() > 1e-3 * whole or whole < 1e-3:
        return
    method = trial.method(IntegratedGradients, steps=_STEPS + 1, baseline_value=start, batch_size=16)
    total = float(np.asarray(method.explain(trial.given(x), trial.cotangent), np.float64).sum())
    if not abs(total - (scores[-1] - scores[0])) <= 0.02 * whole:
        raise MismatchError(f"maps add up to {total:.6g}, scores differ by {scores[-1] - scores[0]:.6g}")


#: The intervals of paths of ``complete``.
_STEPS = 32
