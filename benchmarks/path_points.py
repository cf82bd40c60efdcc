"""Counts the gradients that Integrated Gradients need until a map adds up to f(x) - f(b), for each placement of points.

`make benchmark-points` runs it on EfficientNet-Lite0, 1 and 2 with ten photographs and on the emotion network with ten
faces, at the predicted class, from the baseline 0. For Captum's Gauss-Legendre the result is the smallest of 10, 20,
30, ... steps whose gap is within the tolerance; for uniform trapezoids the smallest of 50, 99, 197, ..., which
``tolerance=`` tries.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from models import efficientnet_lite0, emotion, photos  # noqa: E402
from onnxattr import IntegratedGradients, Saliency  # noqa: E402

TOLERANCES = (0.05, 0.01)
#: Most steps that are tried.
MOST = 800
#: Photographs beside those of models/photos.py.
MORE = ("retina.jpg", "hubble_deep_field.jpg")


def photographs(size: int) -> np.ndarray:
    """Ten photographs, (10, 3, size, size)."""
    crops = [photos.centre_crop(name, size) for name in photos.PHOTOS]
    for name in MORE:
        with (files("skimage") / "data" / name).open("rb") as file:
            photo = Image.open(file).convert("RGB")
        side = min(photo.size)
        crops.append(np.asarray(photo.resize((size, size), box=(0, 0, side, side))))
    return efficientnet_lite0.preprocess(np.stack(crops))


def faces() -> np.ndarray:
    """Nine faces of the LFW set and the astronaut's, (10, 64, 64, 1)."""
    small = np.load(str(files("skimage") / "data" / "lfw_subset.npy"))[:9]
    scaled = [Image.fromarray((face * 255).astype(np.uint8)).resize((64, 64)) for face in small]
    return emotion.preprocess(np.stack([*map(np.asarray, scaled), photos.face()]))


def lite(larger: int) -> tuple[Any, np.ndarray, dict[str, Any]]:
    """A network of the family, its photographs and what to explain."""
    model = efficientnet_lite0.build(larger=larger)
    return model, photographs(efficientnet_lite0.LARGER.get(larger, (224,))[0]), {}


NETWORKS: dict[str, Callable[[], tuple[Any, np.ndarray, dict[str, Any]]]] = {
    "EfficientNet-Lite0": lambda: lite(0),
    "EfficientNet-Lite1": lambda: lite(1),
    "EfficientNet-Lite2": lambda: lite(2),
    "emotion": lambda: (str(emotion.ONNX_FILE), faces(), {"output_layer": -2}),
}


def main() -> None:
    """Prints a row for each network and tolerance."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--equal", type=int, help="compare maps of so many points instead")
    given = parser.parse_args()
    if given.equal:
        for name in given.networks:
            model, x, options = NETWORKS[name]()
            equal_points(name, model, x, options | {"progress": False, "reducer": None}, given.equal)
        return
    print("| network | gap | Gauss-Legendre | uniform trapezoids | adaptive | adaptive / Gauss-Legendre |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in given.networks:
        model, x, options = NETWORKS[name]()
        options |= {"progress": False, "reducer": None}
        fixed = gauss_legendre(model, x, options)
        reference = IntegratedGradients(
            model, tolerance=0.002, points="adaptive", max_steps=500, **options
        ).explain(x)
        for tolerance in TOLERANCES:
            counts = {"Gauss-Legendre": fixed[tolerance]}
            errors = {}
            for places in ("uniform", "adaptive"):
                method = IntegratedGradients(
                    model, tolerance=tolerance, points=places, max_steps=MOST, **options
                )
                maps = method.explain(x)
                counts[places] = (method.spent_steps, maps)
            cells = [f"{np.median(found):.0f} ({found.max():.0f})" for found, _ in counts.values()]
            errors = [f"{np.median(distances(maps, reference)):.2f}" for _, maps in counts.values()]
            ratio = np.median(counts["adaptive"][0] / counts["Gauss-Legendre"][0])
            pairs = " | ".join(f"{cell}; {error}" for cell, error in zip(cells, errors, strict=True))
            print(f"| {name} | {tolerance:.0%} | {pairs} | {ratio:.2f} |", flush=True)
        print(f"| {name} | a prediction costs {forward_share(model, x, options):.2f} gradients |", flush=True)


def equal_points(name: str, model: Any, x: np.ndarray, options: dict[str, Any], steps: int) -> None:
    """Prints how far maps of as many points are from that of 400 midpoints, in the median."""
    exact = IntegratedGradients(model, steps=400, quadrature="riemann_middle", **options).explain(x)
    kinds = {
        "Gauss-Legendre": {"quadrature": "gauss_legendre"},
        "trapezoids": {},
        "adaptive": {"points": "adaptive"},
    }
    for kind, own in kinds.items():
        maps = IntegratedGradients(model, steps=steps, **own, **options).explain(x)
        print(f"{name}, {steps} points, {kind}: {np.median(distances(maps, exact)):.3f}", flush=True)


def gauss_legendre(model: Any, x: np.ndarray, options: dict[str, Any]) -> dict[float, Any]:
    """For each tolerance the fewest steps of each row and its map."""
    found = {tolerance: (np.full(len(x), MOST), np.zeros(x.shape, np.float32)) for tolerance in TOLERANCES}
    open_rows = np.arange(len(x))
    for steps in range(10, MOST + 1, 10):
        method = IntegratedGradients(model, steps=steps, quadrature="gauss_legendre", **options)
        maps = method.explain(x[open_rows])
        gaps = method.gaps
        for tolerance, (counts, kept) in found.items():
            first = (gaps <= tolerance) & (counts[open_rows] == MOST)
            counts[open_rows[first]] = steps
            kept[open_rows[first]] = maps[first]
        open_rows = open_rows[found[min(TOLERANCES)][0][open_rows] == MOST]
        if not open_rows.size:
            break
    return found


def distances(maps: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """How far maps are from others, relative to their size, over 14 x 14 patches of images."""
    pooled = [pool(array) for array in (maps, reference)]
    return np.linalg.norm(pooled[0] - pooled[1], axis=1) / np.linalg.norm(pooled[1], axis=1)


def pool(maps: np.ndarray) -> np.ndarray:
    """Sums over channels and patches, (N, 196)."""
    maps = maps.sum(axis=1 if maps.shape[1] < 4 else -1)
    side = maps.shape[1] // 14
    maps = maps[:, : 14 * side, : 14 * side].reshape(len(maps), 14, side, 14, side)
    return maps.sum(axis=(2, 4)).reshape(len(maps), -1)


def forward_share(model: Any, x: np.ndarray, options: dict[str, Any]) -> float:
    """Processor time of a prediction over that of a gradient with its prediction."""
    method, seconds = Saliency(model, **options), []
    for call in (method.predict, method.explain):
        call(x[:1])
        start = time.process_time()
        for _ in range(10):
            call(x[:1])
        seconds.append(time.process_time() - start)
    return seconds[0] / seconds[1]


if __name__ == "__main__":
    main()
