"""What must hold for the gradient itself: forward pass, slopes, finiteness, other sizes, no rewrites, other inputs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fuzz.compare import same
from fuzz.draft import Array
from fuzz.oracle import session
from fuzz.plain import exchanged, written_out
from fuzz.trial import Trial
from onnxattr import GradientInput, vjp

Check = Callable[[Trial], None]


def without_rewrites(trial: Trial) -> None:
    """The gradient as the rules write it is the one that rewrites made cheaper."""
    run = session(written_out(vjp(trial.case.model, "x", "y", rewrites=[])))
    for x in (trial.case.points[0], trial.case.points[-1]):
        y, xbar = run.run(["y", "x_gradient"], trial.feeds(x))
        found_y, found = trial.differentiate(x, trial.cotangent)
        same(found_y, np.asarray(y), "prediction with rewrites", 1e-5, lambda x=x: trial.rounding(x, "y"))
        same(found, np.asarray(xbar), "gradient with rewrites", rounding=lambda x=x: _rounding(trial, x))


def _rounding(trial: Trial, x: Array) -> Array:
    return trial.rounding(x, "x_gradient") + trial.broken_ties(x)


def other_sizes(trial: Trial, checks: tuple[Check, ...]) -> None:
    """What holds at the sizes that the model was drawn with holds for other batches and lengths."""
    for x in trial.case.further:
        other = trial.at(x)
        for check in checks:
            check(other)
        found = trial.product.explain(x, other.cotangent)
        same(
            found,
            other.explained(x),
            "GradientInput",
            rounding=lambda o=other, x=x: np.abs(x * _rounding(o, x)),
        )


def other_inputs(trial: Trial, checks: tuple[Check, ...]) -> None:
    """Each further input's gradient is right, and explained together inputs have the maps that each has alone."""
    if not trial.case.others:
        return
    x, ct, names = trial.case.points[0], trial.cotangent, ["x", *trial.case.others]
    run = session(vjp(trial.case.model, names, "y"))
    found = dict(zip(names, run.run([f"{name}_gradient" for name in names], trial.feeds(x)), strict=True))
    method = trial.method(GradientInput, wrt=None)
    maps = method.explain(trial.inputs(x), ct)
    maps = maps if isinstance(maps, dict) else dict.fromkeys(method.explained, maps)
    for name in names:
        if name in maps:
            _one_input(trial, name, np.asarray(found[name]), maps[name], () if name == "x" else checks)
        else:
            same(
                np.asarray(found[name]), np.zeros(trial.inputs(x)[name].shape), f"{name}, which is not read,"
            )


def _one_input(trial: Trial, name: str, gradient: Array, together: Array, checks: tuple[Check, ...]) -> None:
    alone = trial if name == "x" else trial.of_input(name, exchanged(trial.case.model, "x", name))
    z = alone.case.points[0]
    for check in checks:
        check(alone)

    def rounding() -> Array:
        return alone.once("rounding and ties", z, lambda: _rounding(alone, z))

    wanted = alone.differentiate(z, alone.cotangent)[1]
    same(gradient, wanted, f"gradient of {name} beside others", rounding=rounding)
    method = trial.product if name == "x" else trial.method(GradientInput, wrt=name)
    single = method.explain(trial.inputs(trial.case.points[0]), trial.cotangent)
    for what, array in (("together", together), ("alone", np.asarray(single))):
        same(array, z * wanted, f"GradientInput of {name} {what}", rounding=lambda: np.abs(z * rounding()))
