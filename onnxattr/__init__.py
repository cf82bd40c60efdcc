"""Attribution methods as ONNX graphs: explanations that run wherever ONNX Runtime runs."""

import importlib
from importlib import metadata
from typing import Any

from onnxattr import without_sympy  # noqa: F401  (before anything imports onnx_ir)
from onnxattr.attributions import (
    BlurIG,
    DeconvNet,
    ExpectedGradients,
    GradCAM,
    GradCAMPP,
    GradientInput,
    GradientShap,
    GuidedBackprop,
    GuidedGradCAM,
    IntegratedGradients,
    LayerCAM,
    NoiseTunnel,
    Saliency,
    SmoothGrad,
    SquareGrad,
    VarGrad,
)
from onnxattr.attributions.elsewhere import missing
from onnxattr.attributions.several import export
from onnxattr.compile.gradient import vjp
from onnxattr.errors import NonFiniteError, NonFiniteWarning, OnnxAttrError
from onnxattr.moved import put_up
from onnxattr.results import Explanation
from onnxattr.running.explainers.explainer import Explainer, load
from onnxattr.scores import Tasks, xp

__all__ = [
    "BlurIG",
    "DeconvNet",
    "ExpectedGradients",
    "Explainer",
    "Explanation",
    "GradCAM",
    "GradCAMPP",
    "GradientInput",
    "GradientShap",
    "GuidedBackprop",
    "GuidedGradCAM",
    "IntegratedGradients",
    "LayerCAM",
    "NoiseTunnel",
    "NonFiniteError",
    "NonFiniteWarning",
    "OnnxAttrError",
    "Saliency",
    "SmoothGrad",
    "SquareGrad",
    "Tasks",
    "VarGrad",
    "export",
    "load",
    "vjp",
    "xp",
]

__version__ = metadata.version("onnxattr")

put_up()

#: What ``import onnxattr`` leaves for later.
_ROOMS = ("inspection", "metrics", "plots", "results", "testing")


def __getattr__(name: str) -> Any:
    """A room that is imported when it is first asked for; of other libraries' names, what stands in their place."""
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    raise missing(__name__, name)
