"""Explains real photographs in ONNX Runtime: with a Keras network of emotions and with an ImageNet network.

`make demo` runs it. It writes a gallery of heatmaps for each photo, the converted emotion network and one explainer
file for each network into the folder demo/. The table on the terminal shows the predictions, the gap of Integrated
Gradients and the time of an explanation.
"""

import argparse
import statistics
import sys
import time
import warnings
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from models import efficientnet_lite0, emotion, photos  # noqa: E402
from onnxattr import attributions  # noqa: E402
from onnxattr.plots import gallery  # noqa: E402

PHOTOS = ("chelsea", "coffee", "motorcycle", "grace_hopper")
#: EfficientNet-Lite0 has no max-pool: on the way back only its ReLUs look at the photo, and DeconvNet overrides those.
NOTES = {"DeconvNet": "the same for every photo: no max-pool"}
#: Methods that need nothing but a model; those with a background take a set of images beside it. One method on a path
#: is enough.
SHOWN = [name for name in attributions.METHODS if name not in ("ExpectedGradients", "GradientShap", "BlurIG")]
#: Integrated Gradients that place their points; beside the methods of the gallery, for the table alone.
ADAPTIVE = "adaptive points"
#: Noise is absolute: a tenth of the range [-1, 1] that both networks take.
OPTIONS = {"SmoothGrad": {"noise": 0.2}, "SquareGrad": {"noise": 0.2}, "VarGrad": {"noise": 0.2}}


def main() -> None:
    """Explains the astronaut's smile and four photos; writes galleries and explainers, prints the table."""
    warnings.filterwarnings("ignore", "With its ReLUs overridden")  # the galleries say so
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "demo")
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    rows = [explain_face(folder), *explain_photos(folder)]
    print_table(rows)
    print(f"\nGalleries and explainers are in {folder}")


def explain_face(folder: Path) -> list[str]:
    """Converts the Keras emotion network and explains "happy" on the astronaut's face, at the logits."""
    from onnxattr.converters.keras import to_onnx

    model = to_onnx(emotion.keras_file(), folder / "emotion.onnx")
    face = photos.face()
    methods = all_methods(model, output_layer=-2)
    probabilities = attributions.Saliency(model, operator="classification").predict(
        emotion.preprocess(face)[None]
    )[0]
    target = emotion.LABELS.index("happy")
    methods["IntegratedGradients"].export(folder / "emotion_integrated_gradients.onnx")
    return explain_one(
        folder,
        "astronaut",
        face,
        emotion.preprocess(face),
        methods,
        target,
        "happy",
        float(probabilities[target]),
    )


def explain_photos(folder: Path) -> list[list[str]]:
    """Assembles EfficientNet-Lite0 and explains its predicted class on four photos."""
    model = efficientnet_lite0.build()
    names = efficientnet_lite0.class_names()
    methods = all_methods(model)
    methods["DeconvNet"].export(folder / "efficientnet_lite0_deconvnet.onnx")
    rows = []
    for name in PHOTOS:
        photo = photos.centre_crop(name)
        x = efficientnet_lite0.preprocess(photo)
        logits = methods["Saliency"].predict(x[None])[0]
        probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        target = int(logits.argmax())
        label = names[target].split(",")[0]
        score = float(probabilities[target])
        rows.append(explain_one(folder, name, photo, x, methods, target, label, score, NOTES))
    return rows


def all_methods(model, output_layer=None) -> dict[str, attributions.base.Attribution]:
    """One object per method, set up once and used for every photo."""
    adaptive = {"points": "adaptive", "tolerance": 0.05}
    return {ADAPTIVE: attributions.IntegratedGradients(model, output_layer=output_layer, **adaptive)} | {
        name: getattr(attributions, name)(model, output_layer=output_layer, **OPTIONS.get(name, {}))
        for name in SHOWN
    }


def explain_one(folder, name, photo, x, methods, target, label, score, notes=None) -> list[str]:
    """Explains one photo by every method and writes its gallery; returns its row of the table."""
    maps = {
        key: method.explain(x[None], np.array([target]))[0]
        for key, method in methods.items()
        if key != ADAPTIVE
    }
    gallery(photo, maps, title=name, label=label, score=score, notes=notes, path=folder / f"{name}.png")
    return [
        name,
        f"{label} {score:.2f}",
        f"{completeness_gap(methods, x, target):.1%}",
        adaptive_steps(methods, x, target),
        *costs(methods, x, target),
    ]


def completeness_gap(methods, x, target) -> float:
    """How far the attributions of Integrated Gradients are from f(x) - f(b), relative to that difference."""
    return float(methods["IntegratedGradients"].relative_gap(x[None], np.array([target]))[0])


def adaptive_steps(methods, x, target) -> str:
    """How many gradients adaptive points take until the gap is 5 %."""
    method = methods[ADAPTIVE]
    method.explain(x[None], np.array([target]))
    return str(method.spent_steps[0])


def costs(methods, x, target) -> list[str]:
    """Median time of an explanation over that of a prediction: the plain gradient, and Integrated Gradients."""
    methods["Saliency"].predict(x[None])
    labels = np.array([target])
    runs: dict[str, list[float]] = {"predict": [], "GradientInput": [], "IntegratedGradients": []}
    for _ in range(3):
        for key, times in runs.items():
            start = time.perf_counter()
            if key == "predict":
                methods["Saliency"].predict(x[None])
            else:
                methods[key].explain(x[None], labels)
            times.append(time.perf_counter() - start)
    base = statistics.median(runs.pop("predict"))
    return [f"{statistics.median(times) / base:.1f}x" for times in runs.values()]


def print_table(rows: list[list[str]]) -> None:
    """Prints the rows under their headings, aligned."""
    head = [
        "photo",
        "prediction",
        "IG (50 steps) gap",
        "adaptive steps to 5 %",
        "GradientInput / prediction",
        "IG (50 steps) / prediction",
    ]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, ["-" * width for width in widths], *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))


if __name__ == "__main__":
    main()
