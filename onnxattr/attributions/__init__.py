"""The attribution methods."""

from onnxattr.attributions.cam import GradCAM, GradCAMPP, GuidedGradCAM, LayerCAM
from onnxattr.attributions.expected import ExpectedGradients, GradientShap
from onnxattr.attributions.gradient import DeconvNet, GradientInput, GuidedBackprop, Saliency
from onnxattr.attributions.noisy import SmoothGrad, SquareGrad, VarGrad
from onnxattr.attributions.path import IntegratedGradients
from onnxattr.attributions.tunnel import NoiseTunnel

__all__ = [
    "DeconvNet",
    "ExpectedGradients",
    "GradCAM",
    "GradCAMPP",
    "GradientInput",
    "GradientShap",
    "GuidedBackprop",
    "GuidedGradCAM",
    "IntegratedGradients",
    "LayerCAM",
    "NoiseTunnel",
    "Saliency",
    "SmoothGrad",
    "SquareGrad",
    "VarGrad",
]

#: The names of the classes that take a model.
METHODS = tuple(name for name in __all__ if name != "NoiseTunnel")
