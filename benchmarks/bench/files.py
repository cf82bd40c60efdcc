"""The files of a case, made once for a state of the converters: Keras, ONNX and the gradient's ONNX."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from benchmarks.bench.cases import Case

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "bench" / "models"


def fingerprint(*folders: str) -> str:
    """A hash of the Python files below folders of the repository."""
    found = hashlib.sha256()
    for folder in folders:
        path = ROOT / folder
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            found.update(file.relative_to(ROOT).as_posix().encode() + b"\0" + file.read_bytes())
    return found.hexdigest()[:12]


def keras_file(case: Case) -> Path:
    """The Keras model."""
    return FOLDER / f"{case.file}.keras"


def onnx_file(case: Case) -> Path:
    """What the converter made of it."""
    return FOLDER / f"{case.file}.onnx"


def _state() -> str:
    """What files are made from."""
    return fingerprint(
        "converters", "onnxattr/loading", "benchmarks/bench/networks.py", "benchmarks/bench/real.py"
    )


def made(case: Case) -> bool:
    """Whether the files are there and new."""
    stamp = FOLDER / f"{case.file}.made"
    return onnx_file(case).exists() and stamp.exists() and stamp.read_text() == _state()


def make_apart(case: Case) -> None:
    """Writes the files unless they are there, in a process that takes TensorFlow away with it."""
    if not made(case):
        order = f"from benchmarks.bench import cases, files; files.make(cases.case({case.name!r}))"
        done = subprocess.run([sys.executable, "-c", order], cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{case.name} could not be made:\n{done.stderr[-2000:]}")


def make(case: Case) -> None:
    """Writes the files unless they are there and new."""
    if made(case):
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    import onnx

    if case.keras is None:
        from benchmarks.bench.real import onnx_model

        onnx.save(onnx_model(case.name), onnx_file(case))
    else:
        import keras
        from onnxattr.converters.keras import to_onnx

        from benchmarks.bench import networks

        keras.utils.set_random_seed(0)
        build, *arguments = case.keras
        model = networks.calibrated(getattr(networks, build)(*arguments))
        model.save(keras_file(case))
        onnx.save(to_onnx(model, verify=False), onnx_file(case))
    (FOLDER / f"{case.file}.made").write_text(_state())
