"""An explainer that takes photos, in Node on a JPEG beside Python: `photos.py FOLDER`. The page test takes its file."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import onnxattr  # noqa: E402
from models import efficientnet_lite0, photos  # noqa: E402

#: Decoders of JPEG differ by a level or two of 255 in some pixels.
TOLERANCE = 2e-2


def main(folder: Path) -> None:
    """Exports, runs Node, and compares names, scores and the gap; raises where they differ."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = {"preset": "imagenet", "scale": 1, "mean": 127, "std": 128}
    model, names = efficientnet_lite0.build(), efficientnet_lite0.class_names()
    method = onnxattr.IntegratedGradients(model, steps=4, preprocess=spec, labels=names, baseline_value=127.0)
    method.export(folder / "explainer.onnx")
    photo = folder / "photo.jpg"
    Image.fromarray(photos.load("chelsea")).save(photo, quality=95)
    command = ["node", "examples/node/explain.mjs", folder.resolve() / "explainer.onnx", photo.resolve()]
    printed = subprocess.run(
        list(map(str, command)), cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    found = json.loads(printed)
    expected = onnxattr.load(folder / "explainer.onnx")(str(photo))
    guesses = expected.top(5)[0]
    assert [each["name"] for each in found["top"]] == [guess.name for guess in guesses], found
    values = [[each["value"] for each in found["top"]], [guess.value for guess in guesses]]
    np.testing.assert_allclose(*values, rtol=TOLERANCE)
    assert found["explained"] == guesses[0].name
    np.testing.assert_allclose(found["gap"], expected.relative_gap[0], atol=TOLERANCE)
    assert Image.open(photo.with_suffix(".why.png")).size == Image.open(photo).size
    print(f"photo.jpg in Node: {found['explained']}, as in Python; {found['picture']}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
