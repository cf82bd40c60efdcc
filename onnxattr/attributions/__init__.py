"""The attribution methods."""

from typing import Any

from onnxattr.attributions.blur_path import BlurIG
from onnxattr.attributions.cam import GradCAM, GradCAMPP, GuidedGradCAM, LayerCAM
from onnxattr.attributions.elsewhere import missing
from onnxattr.attributions.expected import ExpectedGradients, GradientShap
from onnxattr.attributions.gradient import DeconvNet, GradientInput, GuidedBackprop, Saliency
from onnxattr.attributions.noisy import SmoothGrad, SquareGrad, VarGrad
from onnxattr.attributions.path import IntegratedGradients
from onnxattr.attributions.tunnel import NoiseTunnel

__all__ = [
    "BlurIG",
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


def __getattr__(name: str) -> Any:
    """Says what stands in the place of other libraries' names."""
    raise missing(__name__, name)
