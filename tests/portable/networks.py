"""The models and rows that are explained in every runtime, in generic position; ``zoo_networks.py`` has more.

No decision of a ReLU or max-pool is close at any point where a method takes a gradient (``margins.py``): else two
runtimes that round differently could take different sides. Rows, seeds and baselines are the first that
``find_inputs.py`` finds.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import onnx
from PIL import Image
from support.small_models import build, node

from models import efficientnet_lite0, emotion, gunpoint, photos
from onnxattr.compile.noise import draw_noise
from onnxattr.compile.quadrature import trapezoid
from portable.network import NOISE, NOISY, Network, Variant, all_methods
from portable.zoo_networks import zoo_networks

EMOTION_SEED = 1
"""Of the noise and of the textured baseline."""
PHOTO, CROP_SEED, COLOUR_SEED = "motorcycle", 9204, 5194
"""The photo that EfficientNet-Lite0 sees, its crop, and the colour that its path starts from."""


@cache
def networks() -> dict[str, Network]:
    """The models, by name."""
    small = {"emotion": emotion_network(EMOTION_SEED), "gunpoint": gunpoint_network()}
    zeros = np.zeros((2, 30, 7), np.float32)
    lite0 = lite0_network(CROP_SEED, COLOUR_SEED)
    at_head: dict[str, dict[str, Any]] = {"IntegratedGradients": {"steps": 8, "wrt": "head"}}
    at_head |= {name: {"nb_samples": 5, "noise": NOISE, "wrt": "head"} for name in NOISY}
    head = Network(lite0.model, lite0.rows, (-1,), at_head, chunk=2)
    noise = Network(quadratic(), zeros, (0, 0), {"SmoothGrad": {"nb_samples": 1}}, seed=2**31 - 2)
    large = {"efficientnet_lite0": lite0, "efficientnet_lite0_head": head}
    return small | zoo_networks() | large | {"quadratic": noise}


def emotion_network(seed: int) -> Network:
    """One face. The plain grey baseline has equal values under every max-pool; this one has none."""
    face = emotion.preprocess(photos.face())[None]
    baseline = np.random.default_rng(seed).uniform(-0.5, 0.5, face.shape).astype(np.float32)
    target = (emotion.LABELS.index("happy"),)
    return Network(
        onnx.load(emotion.ONNX_FILE), face, target,
        all_methods(steps=10, nb_samples=10, baseline_value=baseline[0]), seed, -2,
        variants={"IntegratedGradients": [Variant("baseline fed", np.array(target), baseline)]},
    )  # fmt: skip


def gunpoint_network() -> Network:
    """Three series; where baselines are fed, another series for each of them."""
    series = gunpoint.data()[2]
    labels = np.array((0, -1, 1))
    weights = np.array([[1.0, -1.0], [0.25, 0.75], [0.0, 2.0]], np.float32)
    weighted = [Variant("weights as targets", weights)]
    return Network(
        onnx.load(gunpoint.ONNX_FILE), series[6:9], (0, -1, 1), all_methods(steps=50, nb_samples=50), 0, -2,
        variants={
            "Saliency": weighted,
            "SmoothGrad": weighted,
            "IntegratedGradients": [Variant("3 baselines fed", labels, series[9:12])],
        },
    )  # fmt: skip


def lite0_network(crop_seed: int, colour_seed: int) -> Network:
    """A photo, explained at the pixels; the path starts from one colour."""
    colour = np.random.default_rng(colour_seed).integers(0, 256, (1, 1, 3))
    baseline = efficientnet_lite0.preprocess(np.broadcast_to(colour, (224, 224, 3)))
    plain: dict[str, dict[str, Any]] = {
        name: {} for name in ("Saliency", "GradientInput", "GuidedBackprop", "DeconvNet")
    }
    path = {"IntegratedGradients": {"steps": 3, "baseline_value": baseline}}
    return Network(efficientnet_lite0.build(), photo_crop(PHOTO, crop_seed), (-1,), plain | path, chunk=2)


def photo_crop(name: str, seed: int) -> np.ndarray:
    """A random square of a photo, at least half as high, as EfficientNet-Lite0 takes it: (1, 3, 224, 224)."""
    photo, rng = Image.fromarray(photos.load(name)), np.random.default_rng(seed)
    side = int(rng.uniform(0.5, 1) * min(photo.size))
    left, top = (int(rng.integers(0, extent - side + 1)) for extent in photo.size)
    box = (left, top, left + side, top + side)
    return efficientnet_lite0.preprocess(
        np.asarray(photo.resize((224, 224), Image.Resampling.BICUBIC, box=box))
    )[None]


def quadratic() -> onnx.ModelProto:
    """y = the sum of x squared over 2: its gradient at x = 0 is the noise itself."""
    nodes = [
        node("Mul", ["x", "x"], ["square"]),
        node("ReduceSum", ["square", "axes"], ["sum"], keepdims=0),
        node("Mul", ["sum", "half"], ["halved"]),
        node("Reshape", ["halved", "shape"], ["y"]),
    ]
    constants = {"half": np.float32(0.5), "shape": np.array([-1, 1]), "axes": np.array([1, 2])}
    return build(nodes, {"x": ["N", 30, 7]}, {"y": ["N", 1]}, constants, opset=17)


def decisions(network: Network) -> Iterator[tuple[str, np.ndarray]]:
    """The points (R, ...) at which each kind of method takes gradients of a network."""
    x, shape = network.rows, network.rows.shape[1:]
    yield "the rows themselves", x
    if "IntegratedGradients" in network.methods:
        options = network.methods["IntegratedGradients"]
        yield "the paths", path(options["steps"], options.get("baseline_value", 0.0), x).reshape(-1, *shape)
    for variant in network.variants.get("IntegratedGradients", []):
        if len(variant.baseline) == len(x) > 1:
            yield (
                "the paths from fed baselines",
                path(options["steps"], variant.baseline, x).reshape(-1, *shape),
            )
    if "SmoothGrad" in network.methods:
        draws = draw_noise(network.seed, x.shape, network.methods["SmoothGrad"]["nb_samples"])
        yield "the noisy rows", (x + NOISE * draws).reshape(-1, *shape)


def path(steps: int, baseline: Any, x: np.ndarray) -> np.ndarray:
    """The points (steps, N, ...) of Integrated Gradients."""
    alpha = trapezoid(steps)[0].astype(np.float32).reshape(-1, *[1] * x.ndim)
    return (1 - alpha) * np.float32(baseline) + alpha * x
