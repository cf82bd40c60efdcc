"""Explainers beside one file of weights, in each runtime that reads files: `shared.py FOLDER --python P --openvino P`.

They give what `explain` gives, and weights of another model are refused or not found. The browser reads them in
page.mjs.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import onnxattr  # noqa: E402
from onnxattr import attributions  # noqa: E402
from portable.networks import networks  # noqa: E402

TOLERANCE = 1e-5
METHODS = ("Saliency", "IntegratedGradients", "SmoothGrad")
#: Prints what OpenVINO makes of a file and of a row, as the two examples do.
OPENVINO = """
import json, sys, numpy, openvino
model = openvino.Core().compile_model(sys.argv[1], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
(name, *shape), seeded = json.loads(sys.argv[3]), any(i.any_name == "seed" for i in model.inputs)
row = numpy.loadtxt(sys.argv[2], numpy.float32, delimiter=",").reshape(shape)
feeds = {name: row, "target": numpy.array([-1])} | ({"seed": numpy.array(0)} if seeded else {})
print(json.dumps({"attribution": model(feeds)["attribution"].ravel().tolist()}))
"""


def main() -> None:
    """Runs all of it; the exit status is 1 if a number is off, or foreign weights are read."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--python", type=Path, required=True, help="of an environment with ONNX Runtime alone"
    )
    parser.add_argument("--openvino", type=Path, help="the same with OpenVINO")
    options = parser.parse_args()
    network, folder = networks()["gunpoint"], options.folder.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    methods = {
        name: getattr(attributions, name)(network.model, network.output_layer, **network.methods[name])
        for name in METHODS
    }
    paths = onnxattr.export(methods, folder / "set")
    (weights,) = (folder / "set").glob("weights-*.data")
    np.savetxt(folder / "row.csv", network.rows[0].reshape(1, -1), delimiter=",")
    described = json.dumps([network.model.graph.input[0].name, *network.rows[:1].shape])
    commands = {
        "Python": [options.python.absolute(), "-I", "examples/python_only_onnxruntime.py"],
        "Node": ["node", "examples/node/explain.mjs"],
    }
    if options.openvino is not None:
        commands["OpenVINO"] = [options.openvino.absolute(), "-I", "-c", OPENVINO]
    failed = []
    for runtime, command in commands.items():
        more = [described] if runtime == "OpenVINO" else []
        for name, path in paths.items():
            printed = run([*command, path, folder / "row.csv", *more], check=True).stdout
            found, expected = (
                np.array(json.loads(printed)["attribution"]),
                methods[name].explain(network.rows[:1]),
            )
            error = float(np.abs(found - expected.ravel()).max() / np.abs(expected).max())
            print(f"{name} beside {weights.name} in {runtime}: {error:.0e} off")
            failed += [] if error <= TOLERANCE else [f"{name} in {runtime}: {error:.1e}"]
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    for runtime in ("Python", "Node"):
        refused = run([*commands[runtime], paths["Saliency"], folder / "row.csv"])
        if "is not the file of weights" not in refused.stderr:
            failed.append(f"the example in {runtime} reads weights that were changed")
    weights.rename(weights.with_name("weights-0123456789abcdef.data"))
    for runtime, command in commands.items():
        more = [described] if runtime == "OpenVINO" else []
        if run([*command, paths["Saliency"], folder / "row.csv", *more]).returncode == 0:
            failed.append(f"{runtime} reads weights of another name")
    if failed:
        sys.exit("Explainers beside one file of weights:\n" + "\n".join(failed))


def run(command: list, check: bool = False) -> subprocess.CompletedProcess:
    """Runs a command in the root of the tree; returns what it printed."""
    return subprocess.run(list(map(str, command)), cwd=ROOT, check=check, capture_output=True, text=True)


if __name__ == "__main__":
    main()
