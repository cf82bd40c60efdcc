"""Makes the model that a method exports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx

from onnxattr.attributions.plan import Plan
from onnxattr.compile.baseline_kinds import OF_PATH, Fed
from onnxattr.compile.explainer_file import RENDERINGS, build
from onnxattr.compile.renderings.rewrite import Request
from onnxattr.errors import ParameterError, one_door
from onnxattr.loading.prepared import Prepared

TARGETS = ("auto", "labels", "weights")


def check_choices(rendering: str, target: str) -> None:
    """Checks the words that say what an exported file is like.

    Raises:
        ParameterError: If there is no such rendering, or no such kind of target.
    """
    for name, given, allowed in (("rendering", rendering, RENDERINGS), ("target", target, TARGETS)):
        if given not in allowed:
            raise ParameterError(f"{name}={given!r}: expected one of {allowed}.")


def explainer_of(
    plan: Plan,
    prepared: Prepared,
    about: Mapping[str, Any],
    rendering: str,
    target: str,
    baseline_input: bool,
) -> onnx.ModelProto:
    """The model that predicts and explains; the other arguments and errors are those of ``Attribution.export``.

    Args:
        plan: The method on its model, for which it is decided whether rows are apart.
        prepared: The model, as the caller knows it.
        about: The method's name and parameters.
        rendering: See ``Attribution.export``.
        target: See ``Attribution.export``.
        baseline_input: See ``Attribution.export``.
    """
    if plan.misfit is not None:
        raise plan.misfit
    if any(groups is not None and groups.per_sample for groups in plan.request.map_groups):
        raise ParameterError(
            "feature_mask has a row for each sample, which a file cannot hold: export with one mask for all samples, "
            "or without one, and sum what the file gives over the groups."
        )
    request = _with_baselines(plan.request, about["method"], baseline_input)
    labels = plan.labels(target)
    with one_door(f"The explainer of {about['method']} cannot be built"):
        return build(request, plan.driver.chunk, rendering, labels, dict(about), prepared)


def takes_baseline(request: Request) -> bool:
    """Whether a method starts at one baseline, which can be an input of a file."""
    return bool(request.baselines) and not any(isinstance(kind, OF_PATH) for kind in request.baselines)


def _with_baselines(request: Request, method: str, as_input: bool) -> Request:
    """The request, with its baselines as inputs where that is wanted."""
    if not as_input:
        if any(isinstance(kind, Fed) for kind in request.baselines):
            raise ParameterError(
                "The baseline is a function, or has a row for each sample, which a file cannot hold: export it with "
                "baseline_input=True, and the file takes baselines as an input."
            )
        return request
    if not request.baselines:
        raise ParameterError(f"baseline_input=True: {method} has no baseline.")
    if any(isinstance(kind, OF_PATH) for kind in request.baselines):
        raise ParameterError(
            f"baseline_input=True: {method} does not start at one baseline: a background set is in the file, a blurred "
            "copy is made there."
        )
    return request.with_baseline_inputs()
