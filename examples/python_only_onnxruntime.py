"""Predicts and explains one row with ONNX Runtime and NumPy alone.

python python_only_onnxruntime.py explainer.onnx row.csv [label], with a file that `method.export(...)` wrote.
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
    weights = Path(file).parent / told["onnxattr.data"]
    if hashlib.sha256(weights.read_bytes()).hexdigest() != told["onnxattr.data_sha256"]:
        sys.exit(f"{weights} is not the file of weights that {file} was written with: export both again.")

row = np.loadtxt(csv, np.float32, delimiter=",").reshape(1, *first.shape[1:])
feeds = {first.name: row, "target": np.array([int(label)])}
if any(value.name == "seed" for value in others):
    feeds["seed"] = np.array(0)

prediction, attribution = session.run(["prediction", "attribution"], feeds)
print(json.dumps({"prediction": prediction[0].tolist(), "attribution": attribution.ravel().tolist()}))
