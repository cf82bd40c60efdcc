"""Asks a Triton server about a photo: python client.py photo.jpg [server] [model]. Needs NumPy and Pillow alone.

`onnxattr export model.onnx --preprocess imagenet --labels names.txt --triton models/explained` writes the folder, and
`tritonserver --model-repository=models` serves it. The photo goes as it is decoded, of any size; docs/deploy.md.
"""

import json
import sys
import urllib.request

import numpy as np
from PIL import Image, ImageOps


def ask(pixels, server="http://localhost:8000", model="explained", target=-1):
    """The first five classes as (score, label, name), and the heatmap, (height, width); -1: the predicted class."""
    inputs = [
        {"name": "pixels", "datatype": "UINT8", "shape": [1, *pixels.shape], "data": pixels.ravel().tolist()},
        {"name": "target", "datatype": "INT64", "shape": [1, 1], "data": [target]},
    ]
    outputs = [{"name": "prediction", "parameters": {"classification": 5}}, {"name": "attribution"}]
    request = urllib.request.Request(
        f"{server}/v2/models/{model}/infer",
        json.dumps({"inputs": inputs, "outputs": outputs}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        found = {output["name"]: output for output in json.load(answer)["outputs"]}
    top = [text.split(":", 2) for text in found["prediction"]["data"]]
    heatmap = np.reshape(found["attribution"]["data"], found["attribution"]["shape"])[0].sum(axis=-1)
    return [(float(score), int(label), *name) for score, label, *name in top], heatmap


def decoded(photo):
    """A photo in RGB of 8 bits, upright, transparent pixels on white, as onnxattr and browsers show it."""
    photo = ImageOps.exif_transpose(photo)
    if photo.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
        photo = Image.fromarray(np.rint(np.asarray(photo) / 257.0).astype(np.uint8))
    if photo.has_transparency_data:
        photo = Image.alpha_composite(Image.new("RGBA", photo.size, "white"), photo.convert("RGBA"))
    return photo.convert("RGB")


if __name__ == "__main__":
    photo = decoded(Image.open(sys.argv[1]))
    top, heatmap = ask(np.asarray(photo), *sys.argv[2:])
    for score, label, *name in top:
        print(f"{score:10.4g}  {name[0] if name else label}")
    strength = np.clip(np.abs(heatmap) / np.quantile(np.abs(heatmap), 0.99), 0, 1)
    mask = Image.fromarray((255 * strength).astype(np.uint8))
    Image.composite(Image.new("RGB", photo.size, "red"), photo.convert("L").convert("RGB"), mask).save(
        "why.png"
    )
    print("wrote why.png")
