"""Class activation maps and noise tunnels against Captum's numbers, from ``captum_cams.py``."""

import numpy as np
import pytest
from golden import captum_cams
from golden.captum_cams import DRAWS, LABELS, NOISE, SEED
from support.explained import close

from onnxattr import GradCAM, GuidedGradCAM, NoiseTunnel, Saliency

GOLDEN = captum_cams.read()
MODEL = captum_cams.onnx_network()
X = captum_cams.inputs()


def test_networks_are_the_same():
    close(Saliency(MODEL).predict(X), GOLDEN["logits"], 1e-6)


@pytest.mark.parametrize("upsampling", [None, "bilinear", "nearest"])
@pytest.mark.parametrize("layer", ["c1", "r2"])
def test_grad_cam(layer, upsampling):
    names = {None: "", "bilinear": " bilinear", "nearest": " nearest-exact"}
    name = f"GradCAM {layer}{names[upsampling]}"
    found = GradCAM(MODEL, conv_layer=layer, upsampling=upsampling).explain(X, LABELS)
    for image, expected in zip(found, GOLDEN[name], strict=True):
        close(image, expected, 1e-5)


def test_guided_grad_cam():
    found = GuidedGradCAM(MODEL, reducer=None, upsampling="bilinear").explain(X, LABELS)
    close(found, GOLDEN["GuidedGradCAM"], 1e-5)


@pytest.mark.parametrize(
    ("kind", "theirs"), [("mean", "smoothgrad"), ("square", "smoothgrad_sq"), ("variance", "vargrad")]
)
def test_noise_tunnel(kind, theirs):
    """Captum divides the variance by n, onnxattr by n - 1."""
    inner = GradCAM(MODEL, conv_layer="r2", upsampling=None)
    found = NoiseTunnel(inner, DRAWS, NOISE, kind, seed=SEED).explain(X, LABELS)
    unbiased = DRAWS / (DRAWS - 1) if kind == "variance" else 1.0
    close(found, unbiased * GOLDEN[f"NoiseTunnel {theirs}"], 1e-5 if kind != "variance" else 1e-4)
    assert np.abs(found).max() > 0
