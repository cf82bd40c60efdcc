"""Attribution methods as ONNX graphs: explanations that run wherever ONNX Runtime runs."""

from onnxattr.attributions import (
    DeconvNet,
    GradientInput,
    GuidedBackprop,
    IntegratedGradients,
    Saliency,
    SmoothGrad,
    SquareGrad,
    VarGrad,
)
from onnxattr.errors import NonFiniteError, NonFiniteWarning, OnnxAttrError
from onnxattr.explainer import Explainer, load
from onnxattr.gradient import vjp

__all__ = [
    "DeconvNet",
    "Explainer",
    "GradientInput",
    "GuidedBackprop",
    "IntegratedGradients",
    "NonFiniteError",
    "NonFiniteWarning",
    "OnnxAttrError",
    "Saliency",
    "SmoothGrad",
    "SquareGrad",
    "VarGrad",
    "load",
    "vjp",
]
