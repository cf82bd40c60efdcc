"""Measures how faithful explanations are and what they cost, on two networks and their photos.

`make benchmark-metrics` runs it and writes the sections of docs/metrics.md and their pictures.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from portable.document import write_section  # noqa: E402

from models import efficientnet_lite0, emotion, photos  # noqa: E402
from onnxattr import attributions, metrics  # noqa: E402
from onnxattr.attributions.base import Attribution  # noqa: E402
from onnxattr.cli.evaluate import draw  # noqa: E402
from onnxattr.metrics.base import Metric  # noqa: E402
from onnxattr.metrics.evaluation import Evaluation, evaluate  # noqa: E402

DOCUMENT = ROOT / "docs" / "metrics.md"
METHODS = (
    "Saliency", "GradientInput", "IntegratedGradients", "SmoothGrad", "SquareGrad", "VarGrad", "GuidedBackprop",
    "DeconvNet", "GradCAM", "GradCAMPP", "LayerCAM", "GuidedGradCAM", "ExpectedGradients", "GradientShap",
)  # fmt: skip
NOISY = ("SmoothGrad", "SquareGrad", "VarGrad", "GradientShap")
#: Members of a background set.
MEMBERS = 20
#: Those whose curves are drawn.
SHOWN = (
    "Saliency", "GradientInput", "IntegratedGradients", "SquareGrad", "GuidedBackprop", "GradCAM", "random", "edges",
)  # fmt: skip
FIDELITY = ("Deletion", "Insertion", "MuFidelity")
#: More photos of scikit-image beside those of models/photos.py.
OTHERS = ("camera.png", "coins.png", "clock_motion.png", "retina.jpg")
#: Left, top, right, bottom of a face in a photo.
FACES = {"astronaut": photos.FACE_BOX, "grace_hopper": (150, 50, 370, 310)}


def main() -> None:
    """Measures, prints, and with --write writes the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--write", action="store_true", help="write docs/metrics.md and its pictures")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", "With its ReLUs overridden")
    for name in options.networks:
        title, text, result = NETWORKS[name]()
        text += f"\n\n```\n{result.table()}\n```\n\n{summary(result)}"
        print(f"\n{title}\n\n{text}")
        if options.write:
            picture = f"images/metrics_{name}.png"
            draw(result, title, DOCUMENT.parent / picture, SHOWN)
            write_section(title, f"{text}\n\n![Curves of Deletion and Insertion]({picture})", DOCUMENT)


def photographs() -> tuple[str, str, Evaluation]:
    """EfficientNet-Lite0 on twelve photos, at the class that it predicts."""
    model = efficientnet_lite0.build()
    shown = [photos.centre_crop(name) for name in photos.PHOTOS]
    for name in OTHERS:
        photo = Image.open(str(files("skimage") / "data" / name)).convert("RGB")
        side = min(photo.size)
        left, top = (photo.width - side) // 2, (photo.height - side) // 2
        box = (left, top, left + side, top + side)
        shown.append(np.asarray(photo.resize((224, 224), Image.Resampling.BICUBIC, box=box)))
    x = np.stack([efficientnet_lite0.preprocess(photo) for photo in shown])
    text = (
        f"{len(x)} photographs from scikit-image, scikit-learn and matplotlib. The target is the class that the "
        "network predicts, right or wrong; its logit is explained, and the metrics use its probability. Features are "
        "pixels, and the baseline is mid grey; ExpectedGradients and GradientShap start at the photographs. The last "
        "two columns of metrics are measured on the first four photos."
    )
    result = measured(model, None, x, "softmax", x, fidelity_draws=50, sanity=4)
    return "EfficientNet-Lite0", text, result


def faces() -> tuple[str, str, Evaluation]:
    """The emotion network on views of two faces, at the emotion that it predicts."""
    x = np.stack([emotion.preprocess(view) for name, box in FACES.items() for view in views(name, box)])
    text = (
        f"{len(x)} views of two faces, the astronaut's and Grace Hopper's: unchanged, mirrored, nearer, farther, to "
        "one side, darker. The samples are therefore less independent than photos of twelve people. The target "
        "is the emotion that the network predicts; its logit is explained, and the metrics use its probability. "
        f"ExpectedGradients and GradientShap start at {MEMBERS} other faces (LFW)."
    )
    others = np.load(str(files("skimage") / "data" / "lfw_subset.npy"))[:MEMBERS]
    scaled = [Image.fromarray((face * 255).astype(np.uint8)).resize((64, 64)) for face in others]
    background = emotion.preprocess(np.stack([*map(np.asarray, scaled)]))
    result = measured(str(emotion.ONNX_FILE), -2, x, None, background, fidelity_draws=200, sanity=len(x))
    return "The emotion network", text, result


def views(name: str, box: tuple[int, int, int, int]) -> list[np.ndarray]:
    """Six views of a face, (64, 64) uint8."""
    photo = Image.fromarray(photos.load(name)).convert("L")
    width, height = box[2] - box[0], box[3] - box[1]

    def crop(zoom: float = 0.0, shift: float = 0.0) -> Image.Image:
        edges = (-zoom + shift, -zoom, zoom + shift, zoom)
        moved = [b + e * size for b, e, size in zip(box, edges, (width, height) * 2, strict=True)]
        return photo.crop(tuple(round(m) for m in moved)).resize((64, 64), Image.Resampling.BICUBIC)

    plain = np.asarray(crop())
    others = [np.asarray(crop(zoom, shift)) for zoom, shift in ((-0.06, 0), (0.06, 0), (0, 0.06))]
    return [plain, plain[:, ::-1], *others, (plain * 0.7).astype(np.uint8)]


def measured(
    model: Any,
    logits: int | None,
    x: np.ndarray,
    activation: str | None,
    background: np.ndarray,
    fidelity_draws: int,
    sanity: int,
) -> Evaluation:
    """All methods and controls on one network.

    Args:
        model: The network, whose output metrics look at.
        logits: The layer that methods explain.
        x: The inputs.
        activation: What makes probabilities of the network's output.
        background: Where the paths of methods with a background set start.
        fidelity_draws: Subsets of MuFidelity.
        sanity: How many samples the metrics take that explain changed inputs or models themselves.
    """
    labels = attributions.Saliency(model, operator="classification").predict(x).argmax(axis=1)
    methods: dict[str, Attribution] = {}
    for name in METHODS:
        options: dict[str, Any] = {"noise": 0.2} if name in NOISY else {}
        options |= {"background": background} if name in ("ExpectedGradients", "GradientShap") else {}
        methods[name] = getattr(attributions, name)(model, output_layer=logits, **options)
    plain, few = {"operator": "classification"}, (x[:sanity], labels[:sanity])
    made: list[Metric] = [
        metrics.Deletion(model, x, labels, activation=activation, **plain),
        metrics.Insertion(model, x, labels, activation=activation, **plain),
        metrics.MuFidelity(model, x, labels, activation=activation, nb_samples=fidelity_draws, **plain),
        metrics.Sparseness(),
        metrics.MaxSensitivity(methods["Saliency"], *few, nb_samples=2),
        metrics.ModelRandomizationMetric(methods["Saliency"], *few),
    ]
    scored = made[0].scored  # type: ignore[attr-defined]
    return evaluate(methods | metrics.controls(x, scored.channel_axis), x, labels, made)


def summary(result: Evaluation) -> str:
    """Sentences on the order of the methods over the fidelity metrics, and on what they cost."""
    ranks = {method: [] for method in result.methods}
    for name in FIDELITY:
        sign = 1 if result.metrics[name].better == "lower" else -1
        order = sorted(result.methods, key=lambda m, n=name, s=sign: s * float(result.scores[n][m].mean()))
        for rank, method in enumerate(order, 1):
            ranks[method].append(rank)
    means = {method: sum(found) / len(found) for method, found in ranks.items()}
    samples = len(next(iter(result.scores["Deletion"].values())))
    costs = {m: f"{result.gradients[m] / samples:g}" if m in result.gradients else "a control" for m in means}
    order = sorted(means, key=means.__getitem__)
    text = ", ".join(f"{method} {means[method]:.1f} ({costs[method]})" for method in order)
    return f"Mean rank over {', '.join(FIDELITY)}, 1 the best, and gradients a sample: {text}."


NETWORKS: dict[str, Callable[[], tuple[str, str, Evaluation]]] = {"photos": photographs, "faces": faces}

if __name__ == "__main__":
    main()
