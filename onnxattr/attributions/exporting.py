"""Files that methods export, and the models in them."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import onnx

from onnxattr.attributions.advice import limits
from onnxattr.attributions.made_of import MadeOf
from onnxattr.attributions.plan import Plan
from onnxattr.compile.baseline_kinds import OF_PATH, Fed
from onnxattr.compile.explainer_file import RENDERINGS, build
from onnxattr.compile.renderings.rewrite import Request
from onnxattr.errors import ParameterError, one_door
from onnxattr.files import check_output
from onnxattr.loading.prepared import Prepared
from onnxattr.loading.weights.files import check_place, write_model
from onnxattr.running.about_model import AboutModel
from onnxattr.running.explainers.record import recorded

TARGETS = ("auto", "labels", "weights")


class Exports(AboutModel, ABC):
    """A method that is written to files.

    Attributes:
        providers: ONNX Runtime execution providers that a file is checked with.
        wrt: What is explained, as the caller named it; None for all float inputs.
    """

    providers: Sequence[Any] | None
    wrt: Any
    _plan: Plan
    _made_of: MadeOf

    @property
    @abstractmethod
    def name(self) -> str:
        """The method's name."""

    @abstractmethod
    def _parameters(self) -> dict[str, Any]:
        """The parameters of the method by name."""

    def export(
        self,
        path: str | os.PathLike[str],
        rendering: str = "auto",
        *,
        target: str = "auto",
        baseline_input: bool = False,
        weights: str = "auto",
        check: bool = True,
    ) -> None:
        """Writes one model of standard operators that predicts and explains in one run; see docs/deploy.md.

        Its inputs are the model's own; ``target``; where there is noise ``seed``, an int64 scalar. A label that the
        model has no class for gives zeros: a graph cannot raise. Its outputs are ``prediction``, ``attribution``
        (``attribution_<name>`` for each of several explained inputs) and, for a method on a path,
        ``convergence_delta``, (N,): the sum of a sample's attributions minus f(x) - f(b), and ``relative_gap``, (N,):
        its size over that of f(x) - f(b). The metadata entry
        ``onnxattr.explainer``, a JSON object, holds the method, its parameters and the SHA-256 of the model's file.

        Args:
            path: The file to write.
            rendering: "batch": all points of all samples in one run of the model; "loop": ``batch_size`` of them at a
                time, in bounded memory; "auto": a loop if one sample alone has more points than ``batch_size``.
            target: "labels": int64 (N,), -1 for the predicted class; "weights": floats of the output's shape; "auto":
                labels where the output has the shape (N, classes), or is one unit that tells two classes apart.
            baseline_input: Whether a path's baseline is an input of the file, ``baseline`` (``baseline_<name>`` for
                each of several explained inputs), shaped like the explained input with one row, or as many as it has.
            weights: "inside" the file; "beside" it, in ``<path>.data``, or ``<path>.1.data`` where that is taken;
                "shared": where the model's own external data are, which must lie in the folder of ``path``; "auto":
                shared if they do, else inside, beside above 2 GiB.
            check: Whether the file is run once on a drawn sample before it gets its name: it must load, predict what
                the model predicts and give maps of the right shapes. A warning says so where the model takes nothing
                that can be drawn.

        Raises:
            ModelError: If the model's batch is fixed, the method has several points and they shall be one batch; or if
                the check fails, and no file is written.
            ParameterError: If a parameter is outside its domain, or the file cannot be written.
        """
        check_place(weights)
        check_output(path, self.files_read)
        proto = self.explainer(rendering, target=target, baseline_input=baseline_input)
        look = recorded(proto, self.prepared, self.providers, self._plan.sizes, check)
        write_model(proto, path, weights, self.prepared.folder, self.prepared.files, look)

    def explainer(
        self, rendering: str = "auto", *, target: str = "auto", baseline_input: bool = False
    ) -> onnx.ModelProto:
        """The model that ``export`` writes; external tensors are where the model's own are.

        The arguments and errors are those of ``export``.
        """
        check_choices(rendering, target)
        self._made_of.look(self.name)
        self._plan.decide(None, stacklevel=3)
        about = {"method": self.name, "parameters": self._parameters()}
        if told := list(limits(self.prepared, self.wrt is not None)):
            about["limits"] = told
        return explainer_of(self._plan, self.prepared, about, rendering, target, baseline_input)


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
