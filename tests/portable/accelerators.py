"""OpenVINO and WebGPU beside the runtimes that have to be right: what they give is what the tables say they give.

The tables are those of ``onnxattr inspect --runtime``. A file that is wrong or refused without a node in its table
fails the test, and so does a file or a minimal file that the table calls wrong or refused and that is right.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from onnxattr.inspection import findings
from portable import swiftshader
from portable.minimal import MINIMAL
from portable.network import Entry
from portable.told import key_of, told

HERE = Path(__file__).resolve().parent
TOLERANCE = 1e-5
#: A model and its feeds.
Case = tuple[onnx.ModelProto, Mapping[str, np.ndarray]]
#: The table of each runtime.
TABLES = {"openvino": "openvino", "webgpu": "webgpu", "chromium-webgpu": "webgpu"}
RIGHT, WRONG, REFUSED, NOT_RUN = "right", "wrong", "refused", "not run"


@dataclass(frozen=True)
class Command:
    """What runs all cases of a folder in one runtime.

    Attributes:
        words: The command; "{folder}" stands for the folder.
        environment: Variables, None for those of this process.
        options: Words for the explainers alone, not for minimal files.
    """

    words: list[str | Path]
    environment: Mapping[str, str] | None = None
    options: list[str] = field(default_factory=list)

    def run(self, folder: Path, everything: bool = True, resume: bool = False) -> None:
        """Runs the cases; the light ones alone, or those alone that an earlier run has not done."""
        words = [str(word).replace("{folder}", str(folder)) for word in self.words]
        words += [*([] if everything else self.options), *(["--resume"] if resume else [])]
        subprocess.run(words, cwd=HERE, check=True, env=self.environment)


def commands(openvino: Path | None, webgpu: Path | None) -> dict[str, Command]:
    """The accelerators that can be run here, by name: those whose environment is given, and that find SwiftShader."""
    found = {}
    light = ["--light"]
    if openvino is not None:
        found["openvino"] = Command([openvino, "-I", "run_python.py", "{folder}", "openvino", "openvino"])
    if webgpu is None:
        return found
    if swiftshader.folder() is None:
        print("NOT TESTED ON WEBGPU: there is no Chromium with SwiftShader.", file=sys.stderr)
        return found
    words = [webgpu, "-I", "run_python.py", "{folder}", "webgpu", "webgpu"]
    found["webgpu"] = Command(words, swiftshader.environment(), light)
    found["chromium-webgpu"] = Command(["node", "run_browser.mjs", "{folder}", "webgpu"], None, light)
    return found


def write_manifest(folder: Path, cases: Mapping[str, Case]) -> dict[str, dict[str, np.ndarray]]:
    """Writes models with their feeds and a manifest; returns what ONNX Runtime gives on the CPU, by name and output."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest, expected = [], {}
    for name, (model, feeds) in cases.items():
        onnx.save(model, folder / f"{name}.onnx")
        described = []
        for key, array in feeds.items():
            (folder / f"{name}.feed.{key}").write_bytes(array.tobytes())
            described.append({
                "name": key, "type": str(array.dtype), "dims": list(array.shape), "file": f"{name}.feed.{key}",
            })  # fmt: skip
        files = [folder / f"{name}.onnx", *(folder / str(feed["file"]) for feed in described)]
        manifest.append({
            "name": name, "network": name, "file": f"{name}.onnx", "plain": f"{name}.onnx", "feeds": described,
            "repeats": 0, "heavy": False, "key": key_of(files),
        })  # fmt: skip
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        names = [value.name for value in session.get_outputs()]
        expected[name] = dict(zip(names, session.run(names, feeds), strict=True))
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))
    return expected


def state(folder: Path, runtime: str, name: str, expected: Mapping[str, np.ndarray]) -> tuple[str, float]:
    """What a runtime did with a file, and its error: of a map relative to its maximum, of others to the prediction."""
    line = told(folder, runtime).get(name)
    if line is None:
        return NOT_RUN, np.nan
    if "refused" in line:
        return REFUSED, np.nan
    scales = {output: np.abs(array).max() or 1.0 for output, array in expected.items()}
    error = 0.0
    for output, array in expected.items():
        found = np.fromfile(folder / runtime / f"{name}.{output}", np.float32)
        whole = output == "attribution" or "prediction" not in expected
        difference = np.abs(found - array.ravel()).max() / scales[output if whole else "prediction"]
        error = float(np.maximum(error, difference))  # NaN stays NaN
    return (RIGHT if error <= TOLERANCE else WRONG), error


def said(path: Path, runtime: str) -> str:
    """What the table of a runtime says of a file."""
    happens = {finding.happens for finding in findings(path, TABLES[runtime])}
    return REFUSED if REFUSED in happens else WRONG if WRONG in happens else RIGHT


def disagreements(folder: Path, entries: Iterable[Entry], runtimes: Iterable[str]) -> list[str]:
    """The files that a runtime treats otherwise than its table says."""
    lines = []
    for runtime in runtimes:
        for entry in entries:
            there, error = state(folder, runtime, entry.name, entry.expected)
            listed = said(folder / f"{entry.name}.onnx", runtime)
            if there not in (listed, NOT_RUN):
                lines.append(f"{entry.name} in {runtime}: {there} ({error:.1e}), by the table {listed}")
    return lines


def minimal_that_are_right(folder: Path, found: Mapping[str, Command]) -> list[str]:
    """Runs the minimal files of each runtime; the names of those that it computes rightly."""
    lines = []
    for runtime in sorted(set(found) & set(MINIMAL)):
        cases = {name: make() for name, make in MINIMAL[runtime].items()}
        expected = write_manifest(folder / "minimal" / runtime, cases)
        found[runtime].run(folder / "minimal" / runtime)
        for name, outputs in expected.items():
            if state(folder / "minimal" / runtime, runtime, name, outputs)[0] == RIGHT:
                lines.append(f"minimal file {name} is right in {runtime}: take it out of the table")
    return lines
