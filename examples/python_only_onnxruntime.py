"""Predicts and explains one row with ONNX Runtime and NumPy alone.

python python_only_onnxruntime.py explainer.onnx row.csv [label], with a file that `method.export(...)` wrote. A
series of any length has a line for each step.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

file, csv, label = [*sys.argv[1:], "-1"][:3]  # -1: the predicted class
session = onnxruntime.InferenceSession(file)
first, *others = session.get_inputs()
told = session.get_modelmeta().custom_metadata_map
if "onnxattr.data_sha256" in told:  # weights beside the file: the runtime looks at their size alone
    name = told.get("onnxattr.data", "")
    weights = Path(file).parent / name
    if weights.name != name or not weights.is_file():
        sys.exit(f"{file} names weights that are not beside it: {name!r}.")
    if hashlib.sha256(weights.read_bytes()).hexdigest() != told["onnxattr.data_sha256"]:
        sys.exit(f"{weights} is not the file of weights that {file} was written with: export both again.")

if more := [value.name for value in others if value.name not in ("target", "seed")]:
    sys.exit(f"{file} has more inputs than {first.name}: {', '.join(more)}. Feed each by its name.")
row = np.loadtxt(csv, np.float32, delimiter=",", ndmin=2)
sizes = [size if isinstance(size, int) else -1 for size in first.shape[1:]]  # -1: of any length
row = row.reshape(1, *(row.shape if -1 in sizes and len(row) > 1 else sizes))
feeds = {first.name: row, "target": np.array([int(label)])}
if any(value.name == "seed" for value in others):
    feeds["seed"] = np.array(0)

prediction, attribution = session.run(["prediction", "attribution"], feeds)
print(json.dumps({"prediction": prediction[0].tolist(), "attribution": attribution.ravel().tolist()}))
