"""Attribution methods as ONNX graphs: explanations that run wherever ONNX Runtime runs."""

from onnxattr.attributions import (
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
from onnxattr.errors import NonFiniteError, NonFiniteWarning, OnnxAttrError
from onnxattr.explainer import Explainer, load
from onnxattr.gradient import vjp
from onnxattr.results import Explanation
from onnxattr.scores import Tasks, xp

__all__ = [
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
    "load",
    "vjp",
    "xp",
]
