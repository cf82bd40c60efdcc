"""Captum's class activation maps and noise tunnels on a small network, as golden numbers.

Run in an environment with PyTorch and Captum: ``python tests/golden/captum_cams.py`` writes ``captum_cams.json``
beside it.
"""

import json
import sys
from pathlib import Path

import numpy as np

if not __package__:  # started as a script
    sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[1:3]]

from support.small_models import build, node, random, rows

FILE = Path(__file__).with_suffix(".json")
LABELS = [2, 0, 4]
DRAWS, NOISE, SEED = 4, 0.3, 5


def weights():
    """Those of two convolutions and a dense layer."""
    return {
        "k1": 2 * random(1, 4, 3, 3, 3), "b1": random(2, 4), "k2": 2 * random(3, 6, 4, 3, 3), "b2": random(4, 6),
        "w": random(5, 24, 5), "b": random(6, 5),
    }  # fmt: skip


def inputs():
    """Three images (N, 3, 8, 9)."""
    return rows(7, 3, 8, 9)


def onnx_network():
    """The network as ONNX."""
    nodes = [
        node("Conv", ["image", "k1", "b1"], ["c1"], pads=[1, 1, 1, 1]), node("Relu", ["c1"], ["r1"]),
        node("AveragePool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p1", "k2", "b2"], ["c2"]), node("Relu", ["c2"], ["r2"]),
        node("Flatten", ["r2"], ["flat"]), node("Gemm", ["flat", "w", "b"], ["logits"]),
    ]  # fmt: skip
    return build(nodes, {"image": ["N", 3, 8, 9]}, {"logits": ["N", 5]}, weights())


def torch_network():
    """The same of PyTorch's modules."""
    import torch
    from torch import nn

    layers = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(24, 5),
    )  # fmt: skip
    w = weights()
    parts = ((0, w["k1"], w["b1"]), (3, w["k2"], w["b2"]), (6, w["w"].T, w["b"]))
    for layer, kernel, bias in ((layers[place], kernel, bias) for place, kernel, bias in parts):
        layer.weight.data, layer.bias.data = torch.tensor(kernel.copy()), torch.tensor(bias)
    return layers.eval()


def golden():
    """Captum's numbers."""
    import captum
    import torch
    from captum.attr import GuidedGradCam, LayerAttribution, LayerGradCam, NoiseTunnel

    from onnxattr.compile.noise import draw_noise

    network, x, target = torch_network(), torch.tensor(inputs()), torch.tensor(LABELS)
    found = {"logits": network(x)}
    for name, layer in (("c1", network[0]), ("r2", network[4])):
        cam = LayerGradCam(network, layer).attribute(x, target, relu_attributions=True)
        found[f"GradCAM {name}"] = cam
        for mode in ("bilinear", "nearest-exact"):
            found[f"GradCAM {name} {mode}"] = LayerAttribution.interpolate(cam, (8, 9), mode)
    found["GuidedGradCAM"] = GuidedGradCam(network, network[3]).attribute(
        x, target, interpolate_mode="bilinear"
    )

    draws = torch.tensor(draw_noise(SEED, tuple(x.shape), DRAWS).swapaxes(0, 1).reshape(-1, *x.shape[1:]))
    torch.normal = lambda mean, deviation: draws * deviation  # the draws of each image follow each other
    method = NoiseTunnel(LayerGradCam(network, network[4]))
    for kind in ("smoothgrad", "smoothgrad_sq", "vargrad"):
        maps = method.attribute(
            x, nt_type=kind, nt_samples=DRAWS, stdevs=NOISE, target=target, relu_attributions=True
        )
        found[f"NoiseTunnel {kind}"] = maps
    arrays = {name: array.detach().numpy().astype(float).round(9).tolist() for name, array in found.items()}
    return {"captum": captum.__version__, "torch": torch.__version__.split("+")[0], **arrays}


def read():
    """The golden numbers by name."""
    found = json.loads(FILE.read_text())
    return {name: np.array(numbers) for name, numbers in found.items() if not isinstance(numbers, str)}


if __name__ == "__main__":
    FILE.write_text(json.dumps(golden()) + "\n")
