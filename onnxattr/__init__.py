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
from onnxattr.errors import OnnxAttrError
from onnxattr.gradient import vjp

__all__ = [
    "DeconvNet",
    "GradientInput",
    "GuidedBackprop",
    "IntegratedGradients",
    "OnnxAttrError",
    "Saliency",
    "SmoothGrad",
    "SquareGrad",
    "VarGrad",
    "vjp",
]
