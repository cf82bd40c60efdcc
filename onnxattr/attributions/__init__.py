"""The attribution methods."""

from onnxattr.attributions.gradient import DeconvNet, GradientInput, GuidedBackprop, Saliency
from onnxattr.attributions.noisy import SmoothGrad, SquareGrad, VarGrad
from onnxattr.attributions.path import IntegratedGradients

__all__ = [
    "DeconvNet",
    "GradientInput",
    "GuidedBackprop",
    "IntegratedGradients",
    "Saliency",
    "SmoothGrad",
    "SquareGrad",
    "VarGrad",
]
