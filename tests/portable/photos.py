"""An explainer that takes photos, in Node on a JPEG beside Python: `photos.py FOLDER`. The page test takes its file."""

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.small_models import build, node  # noqa: E402

import onnxattr  # noqa: E402
from models import efficientnet_lite0, photos  # noqa: E402
from onnxattr.inputs.photos import read_photo  # noqa: E402

#: Decoders of JPEG differ by a level or two of 255 in some pixels.
TOLERANCE = 2e-2
#: Where the pixels are the same, the scores are up to rounding.
EXACT = 1e-3
#: Of Display P3: X, Y, Z of red, green and blue under D50.
PRIMARIES = {
    b"rXYZ": (0.5151, 0.2412, -0.0011),
    b"gXYZ": (0.2920, 0.6922, 0.0419),
    b"bXYZ": (0.1571, 0.0666, 0.7841),
}


def main(folder: Path) -> None:
    """Exports, runs Node, and compares names, scores and the gap; raises where they differ."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = {"preset": "imagenet", "scale": 1, "mean": 127, "std": 128}
    model, names = efficientnet_lite0.build(), efficientnet_lite0.class_names()
    method = onnxattr.IntegratedGradients(model, steps=4, preprocess=spec, labels=names, baseline_value=127.0)
    method.export(folder / "explainer.onnx")
    photo = folder / "photo.jpg"
    Image.fromarray(photos.load("chelsea")).save(photo, quality=95)
    found = compared(folder / "explainer.onnx", photo, TOLERANCE)
    assert Image.open(photo.with_suffix(".why.png")).size == Image.open(photo).size
    print(f"photo.jpg in Node: {found['explained']}, as in Python; {found['picture']}")
    one_unit(folder / "one_unit.onnx", photo)
    pictures(folder / "pixels")
    for path in sorted((folder / "pixels").glob("*.png")):
        if not path.name.endswith(".why.png"):
            compared(folder / "explainer.onnx", path, EXACT)
            print(f"{path.name} in Node: as in Python")


def compared(explainer: Path, photo: Path, tolerance: float) -> dict[str, Any]:
    """What Node says of a photo, compared with Python."""
    command = ["node", "examples/node/explain.mjs", explainer.resolve(), photo.resolve()]
    printed = subprocess.run(
        list(map(str, command)), cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    found: dict[str, Any] = json.loads(printed)
    expected = onnxattr.load(explainer)(str(photo))
    guesses = expected.top(5)[0]
    assert [each["name"] for each in found["top"]] == [guess.name for guess in guesses], found
    values = [[each["value"] for each in found["top"]], [guess.value for guess in guesses]]
    np.testing.assert_allclose(*values, rtol=tolerance)
    assert found["explained"] == guesses[0].name
    np.testing.assert_allclose(found["gap"], expected.relative_gap[0], atol=tolerance)
    return found


def one_unit(path: Path, photo: Path) -> None:
    """A network of one unit behind a sigmoid: its number is that of class 1, and Node says so."""
    nodes = [
        node("GlobalAveragePool", ["x"], ["g"]),
        node("Flatten", ["g"], ["f"]),
        node("Gemm", ["f", "w"], ["z"]),
        node("Sigmoid", ["z"], ["y"]),
    ]
    weights = {"w": np.array([[1.0], [2], [3]], np.float32)}
    model = build(nodes, {"x": ["N", 3, 8, 8]}, {"y": ["N", 1]}, weights)
    for output_layer in (None, "z"):
        options: dict[str, Any] = {
            "preprocess": "0..1",
            "labels": ["cat", "dog"],
            "output_layer": output_layer,
        }
        onnxattr.IntegratedGradients(model, steps=4, **options).export(path)
        found = compared(path, photo, TOLERANCE)
        assert found["explained"] == "dog"


def pictures(folder: Path) -> None:
    """Pictures that decoders read in different ways unless told, and beside each the bytes that onnxattr reads."""
    folder.mkdir(exist_ok=True)
    cat = photos.centre_crop("chelsea")
    opacity = np.full((224, 224, 1), 255, np.uint8)
    opacity[:, :112] = 0
    cut_out, turned = Image.fromarray(np.concatenate([cat, opacity], axis=2)), Image.fromarray(cat[:150])
    turned.getexif()[0x0112] = 6
    made: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "display_p3": (Image.fromarray(cat), {"icc_profile": display_p3()}),
        "transparent": (cut_out, {}),
        "palette": (cut_out.quantize(64), {}),
        "16_bits": (Image.fromarray(cat[..., 0].astype(np.uint16) * 257), {}),
        "turned": (turned, {"exif": turned.getexif()}),
    }
    for name, (image, options) in made.items():
        image.save(folder / f"{name}.png", **options)
        read_photo(folder / f"{name}.png").tofile(folder / f"{name}.rgb")


def display_p3() -> bytes:
    """The profile of sRGB with the primaries of Display P3, which phones save photos in."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for at in range(132, 132 + 12 * struct.unpack_from(">I", profile, 128)[0], 12):
        tag, offset, _ = struct.unpack_from(">4sII", profile, at)
        for place, part in enumerate(PRIMARIES.get(tag, ())):
            struct.pack_into(">i", profile, offset + 8 + 4 * place, round(part * 65536))
    return bytes(profile)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
