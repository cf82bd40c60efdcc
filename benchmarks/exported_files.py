"""Measures exported files: the bytes that they add to the model, and the memory of their two renderings.

`make benchmark-files` runs it. The memory is the peak of a process that holds ONNX Runtime, the file and one run.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from portable.document import write_section  # noqa: E402

from models import efficientnet_lite0, emotion  # noqa: E402
from onnxattr import attributions  # noqa: E402

GIBIBYTE = 2**30
SINGLE = (
    "Saliency", "GradientInput", "DeconvNet", "GuidedBackprop", "GradCAM", "GradCAMPP", "LayerCAM", "GuidedGradCAM",
)  # fmt: skip
"""The methods of one gradient, which have nothing to loop over."""
WITH_BACKGROUND = ("ExpectedGradients", "GradientShap")
"""The methods whose files hold a set of baselines: their size is that of the set."""


def resnet50() -> onnx.ModelProto:
    """ResNet50 of keras.applications, converted; random weights are as large as trained ones."""
    import keras
    from onnxattr.converters.keras import to_onnx

    keras.utils.set_random_seed(0)
    return to_onnx(keras.applications.ResNet50(weights=None))


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "emotion": lambda: onnx.load(emotion.ONNX_FILE),
    "EfficientNet-Lite0": efficientnet_lite0.build,
    "ResNet50": resnet50,
}


def main() -> None:
    """Prints the table of sizes and that of memory; the exit status is 1 if a file is too large."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    present = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIBIBYTE
    parser.add_argument(
        "--gibibytes", type=float, default=0.9 * present, help="memory that no run may take more of"
    )
    parser.add_argument("--write", action="store_true", help="write docs/portability.md")
    parser.add_argument("--run", nargs=2, metavar=("FILE", "ROWS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        print(peak_of_one_run(options.run[0], int(options.run[1]), options.gibibytes))
        return
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        lines, too_large = size_table(options.models, Path(folder))
        text = "\n".join([*lines, "", *memory_table(Path(folder), options.gibibytes)])
    print(text)
    if too_large:
        sys.exit(f"Larger than wanted: {too_large}")
    if options.write:
        write_section("Size and memory", text)


def size_table(names: list[str], folder: Path) -> tuple[list[str], list[str]]:
    """The table of KiB that every method's file has beyond the model, batch / loop; and what is above the limit."""
    lines = [
        "KiB that `export` adds to the model, batch / loop. In brackets: the size of the model; the limit, 2 % of it + "
        "64 KiB.",
        "",
    ]
    columns = {name: MODELS[name]() for name in names}
    limits = {name: (0.02 * model.ByteSize() + 64 * 1024) / 1024 for name, model in columns.items()}
    titles = [f"{name} ({columns[name].ByteSize() / 1024:,.0f}; {limits[name]:,.0f})" for name in names]
    lines += [f"| method | {' | '.join(titles)} |", "| --- " * (1 + len(names)) + "|"]
    too_large = []
    for method in (name for name in attributions.METHODS if name not in WITH_BACKGROUND):
        cells = []
        for name, model in columns.items():
            added = list(added_kibibytes(method, model, folder / "explainer.onnx"))
            too_large += [f"{name}, {method}"] if max(added) > limits[name] else []
            cells.append(" / ".join(f"{size:.0f}" for size in added))
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return lines, too_large


def added_kibibytes(method: str, model: onnx.ModelProto, file: Path) -> Iterator[float]:
    """How much larger than the model each rendering of a method is."""
    explainer = getattr(attributions, method)(model)
    for rendering in ("batch",) if method in SINGLE else ("batch", "loop"):
        explainer.export(file, rendering)
        yield (file.stat().st_size - model.ByteSize()) / 1024


def memory_table(folder: Path, gibibytes: float) -> list[str]:
    """Peak memory of Integrated Gradients with 50 steps on EfficientNet-Lite0 at 224x224."""
    model = efficientnet_lite0.build()
    onnx.save(model, folder / "plain.onnx")
    files = {"prediction alone": folder / "plain.onnx"}
    for rendering, rows in (("loop", 4), ("loop", 16), ("batch", 16)):
        label = f"loop, {rows} points at a time" if rendering == "loop" else "batch"
        files[label] = folder / f"{rendering}_{rows}.onnx"
        attributions.IntegratedGradients(model, batch_size=rows).export(files[label], rendering)
    lines = [
        "Peak memory of a process in MiB, for Integrated Gradients with 50 steps on EfficientNet-Lite0 at 224 x 224:",
        "",
    ]
    lines += ["| rendering | 1 image | 8 images |", "| --- | --- | --- |"]
    for label, file in files.items():
        lines.append(f"| {label} | {measure(file, 1, gibibytes)} | {measure(file, 8, gibibytes)} |")
    return lines


def measure(file: Path, rows: int, gibibytes: float) -> str:
    """The peak of a run in a process of its own."""
    arguments = [sys.executable, __file__, "--run", str(file), str(rows), "--gibibytes", str(gibibytes)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    return f"{int(done.stdout):,}" if done.returncode == 0 else f"> {gibibytes * 1024:,.0f}"


def peak_of_one_run(file: str, rows: int, gibibytes: float) -> int:
    """Runs a file once; returns the process' peak memory in MiB."""
    resource.setrlimit(resource.RLIMIT_AS, (int(gibibytes * GIBIBYTE),) * 2)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).normal(size=(rows, 3, 224, 224)).astype(np.float32)
    feeds = {"image": image, "target": np.full(rows, -1)}
    session.run(None, {value.name: feeds[value.name] for value in session.get_inputs()})
    # Not getrusage: its maximum starts from that of the process that started this one.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


if __name__ == "__main__":
    main()
