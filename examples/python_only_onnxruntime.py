"""Predicts and explains one row with ONNX Runtime and NumPy alone.

python python_only_onnxruntime.py explainer.onnx row.csv [label], with a file that `method.export(...)` wrote.
"""

import json
import sys

import numpy as np
import onnxruntime

file, csv, label = [*sys.argv[1:], "-1"][:3]  # -1: the predicted class
session = onnxruntime.InferenceSession(file)
first, *others = session.get_inputs()

row = np.loadtxt(csv, np.float32, delimiter=",").reshape(1, *first.shape[1:])
feeds = {first.name: row, "target": np.array([int(label)])}
if any(value.name == "seed" for value in others):
    feeds["seed"] = np.array(0)

prediction, attribution = session.run(["prediction", "attribution"], feeds)
print(json.dumps({"prediction": prediction[0].tolist(), "attribution": attribution.ravel().tolist()}))
