"""What exported files cost: bytes beside the model's, and the memory of their two renderings.

`make benchmark-files` runs it. The memory is the peak of a process that holds ONNX Runtime, the file and one run.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from models import efficientnet_lite0, emotion
from onnxattr import attributions

GIBIBYTE = 2**30


def resnet50() -> onnx.ModelProto:
    """ResNet50 of keras.applications, converted; random weights are as large as trained ones."""
    import keras
    from onnxattr.converters.keras import to_onnx

    return to_onnx(keras.applications.ResNet50(weights=None))


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "emotion": lambda: onnx.load(emotion.ONNX_FILE),
    "EfficientNet-Lite0": efficientnet_lite0.build,
    "ResNet50": resnet50,
}


def main() -> None:
    """Prints the table of sizes, then that of memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--gibibytes", type=float, default=16, help="memory that no run may take more of")
    parser.add_argument("--run", nargs=2, metavar=("FILE", "ROWS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        print(peak_of_one_run(options.run[0], int(options.run[1]), options.gibibytes))
        return
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        print_sizes(options.models, Path(folder))
        print_memory(Path(folder), options.gibibytes)


def print_sizes(names: list[str], folder: Path) -> None:
    """Bytes of every method's file beyond those of the model, in both renderings; at most 2 % + 64 KiB are wanted."""
    print(
        f"{'model':20} {'method':20} {'model, KiB':>11} {'batch, + KiB':>13} {'loop, + KiB':>12} {'most wanted':>12}"
    )
    for name in names:
        model = MODELS[name]()
        size = model.ByteSize()
        for method in attributions.__all__:
            explainer = getattr(attributions, method)(model)
            extra = []
            for rendering in ("batch", "loop"):
                if rendering == "loop" and method not in (
                    "IntegratedGradients",
                    "SmoothGrad",
                    "SquareGrad",
                    "VarGrad",
                ):
                    extra.append("-")
                    continue
                explainer.export(folder / "e.onnx", rendering)
                extra.append(f"{((folder / 'e.onnx').stat().st_size - size) / 1024:.0f}")
            wanted = (0.02 * size + 64 * 1024) / 1024
            print(f"{name:20} {method:20} {size / 1024:11.0f} {extra[0]:>13} {extra[1]:>12} {wanted:12.0f}")


def print_memory(folder: Path, gibibytes: float) -> None:
    """Peak memory of Integrated Gradients with 50 steps on EfficientNet-Lite0 at 224x224."""
    model = efficientnet_lite0.build()
    onnx.save(model, folder / "plain.onnx")
    files = {"prediction alone": folder / "plain.onnx"}
    for rendering, rows in (("loop", 4), ("loop", 16), ("batch", 16)):
        label = f"loop, {rows} points at a time" if rendering == "loop" else "batch"
        files[label] = folder / f"{rendering}_{rows}.onnx"
        attributions.IntegratedGradients(model, batch_size=rows).export(files[label], rendering)
    print(f"\n{'EfficientNet-Lite0, 50 steps':30} {'1 image, MiB':>14} {'8 images, MiB':>14}")
    for label, file in files.items():
        peaks = [measure(file, rows, gibibytes) for rows in (1, 8)]
        print(f"{label:30} {peaks[0]:>14} {peaks[1]:>14}")


def measure(file: Path, rows: int, gibibytes: float) -> str:
    """The peak of a run in a process of its own."""
    arguments = [sys.executable, __file__, "--run", str(file), str(rows), "--gibibytes", str(gibibytes)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else f"> {gibibytes * 1024:.0f}"


def peak_of_one_run(file: str, rows: int, gibibytes: float) -> int:
    """Runs a file once; returns the process' peak memory in MiB."""
    resource.setrlimit(resource.RLIMIT_AS, (int(gibibytes * GIBIBYTE),) * 2)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).normal(size=(rows, 3, 224, 224)).astype(np.float32)
    feeds = {"image": image, "target": np.full(rows, -1)}
    session.run(None, {value.name: feeds[value.name] for value in session.get_inputs()})
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
