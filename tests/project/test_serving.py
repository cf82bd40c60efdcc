"""The server of examples/serve: a real process, a real network, a photograph in one POST."""

import base64
import io
import json
import os
import runpy
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from support.small_models import build, node, random

import onnxattr
from models import efficientnet_lite0, photos
from onnxattr import IntegratedGradients
from onnxattr.inputs.photos import read_photo

APP = Path(__file__).parents[2] / "examples" / "serve"


@pytest.fixture(scope="module")
def explainer(tmp_path_factory):
    """Integrated Gradients of EfficientNet-Lite0, which takes photos of any size and names its classes."""
    path = tmp_path_factory.mktemp("serving") / "explainer.onnx"
    spec = {"preset": "imagenet", "scale": 1, "mean": 127, "std": 128}
    method = IntegratedGradients(
        efficientnet_lite0.build(), steps=4, preprocess=spec, labels=efficientnet_lite0.class_names()
    )
    method.export(path)
    return path


@pytest.fixture(scope="module")
def server(explainer):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "app:app", "--port", str(port), "--log-level", "warning"]
    process = subprocess.Popen(command, cwd=APP, env=os.environ | {"EXPLAINER": str(explainer)})
    try:
        for _ in range(600):
            if process.poll() is not None:
                pytest.fail("the server ended")
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/explain"
    finally:
        process.terminate()
        process.wait(30)


def jpeg(pixels):
    Image.fromarray(pixels).save(file := io.BytesIO(), "JPEG", quality=95)
    return file.getvalue()


def post(url, body):
    request = urllib.request.Request(url, body, {"Content-Type": "image/jpeg"})
    with urllib.request.urlopen(request, timeout=120) as reply:
        return reply.headers["Content-Type"], reply.read()


CHELSEA = jpeg(photos.centre_crop("chelsea"))


def test_a_photo_in_one_post(server, explainer):
    kind, body = post(server, CHELSEA)
    assert kind == "application/json"
    found = json.loads(body)
    pixels = np.asarray(Image.open(io.BytesIO(CHELSEA)))[None]
    expected = onnxattr.load(explainer)(pixels)
    guesses = expected.top(5)[0]
    assert [each["name"] for each in found["top"]] == [guess.name for guess in guesses]
    np.testing.assert_allclose([t["value"] for t in found["top"]], [g.value for g in guesses], rtol=1e-5)
    assert found["explained"] == guesses[0].name
    assert found["gap"] == pytest.approx(float(expected.relative_gap[0]), rel=1e-3)
    picture = Image.open(io.BytesIO(base64.b64decode(found["picture"].split(",")[1])))
    assert picture.size == (224, 224)
    kind, png = post(server + "?picture=true&target=285", CHELSEA)
    assert kind == "image/png"
    assert Image.open(io.BytesIO(png)).size == (224, 224)


def turned(image):
    """As a camera stores a photo that was taken with the camera turned."""
    image.getexif()[0x0112] = 6
    return image


GREY16 = photos.centre_crop("chelsea")[..., 0].astype(np.uint16) * 257
CUT_OUT = np.dstack([photos.centre_crop("chelsea"), np.full((224, 224), 255, np.uint8)])
CUT_OUT[:, :112, 3] = 0
#: Files whose pixels are not what Pillow's convert("RGB") gives.
DECODED = {
    "transparent": Image.fromarray(CUT_OUT),
    "palette, transparent": Image.fromarray(CUT_OUT).quantize(64),
    "half transparent": Image.fromarray(np.minimum(CUT_OUT, [255, 255, 255, 99]).astype(np.uint8)),
    "16 bits": Image.fromarray(GREY16),
    "turned": turned(Image.fromarray(photos.centre_crop("chelsea"))),
}


@pytest.mark.parametrize("image", DECODED.values(), ids=DECODED)
def test_pixels_are_those_of_the_package(image, server, explainer, tmp_path):
    path = tmp_path / "photo.png"
    image.save(path, exif=image.getexif())
    found = json.loads(post(server, path.read_bytes())[1])
    expected = onnxattr.load(explainer)(path)
    guesses = expected.top(5)[0]
    np.testing.assert_allclose([t["value"] for t in found["top"]], [g.value for g in guesses], rtol=1e-5)
    assert found["gap"] == pytest.approx(float(expected.relative_gap[0]), rel=1e-3)
    sys.path.insert(0, str(APP.parent / "triton"))
    try:
        import client
    finally:
        sys.path.pop(0)
    np.testing.assert_array_equal(np.asarray(client.decoded(Image.open(path))), read_photo(path))


def binary_explainer(path, output_layer):
    """A network of one unit behind a sigmoid, which names its two classes."""
    nodes = [
        node("GlobalAveragePool", ["x"], ["g"]),
        node("Flatten", ["g"], ["f"]),
        node("Gemm", ["f", "w", "b"], ["z"]),
        node("Sigmoid", ["z"], ["y"]),
    ]
    weights = {"w": random(3, 3, 1) * 3, "b": np.array([-1.0], np.float32)}
    model = build(nodes, {"x": ["N", 3, 8, 8]}, {"y": ["N", 1]}, weights)
    options = {"preprocess": "0..1", "labels": ["cat", "dog"], "output_layer": output_layer}
    IntegratedGradients(model, steps=5, **options).export(path)
    return path


@pytest.mark.parametrize("kind", ["not set", "a model", "an explainer of arrays"])
def test_a_file_that_takes_no_photos_is_refused_at_the_start(kind, tmp_path, monkeypatch):
    model = build([node("Sigmoid", ["x"], ["y"])], {"x": ["N", 3]}, {"y": ["N", 3]}, {})
    onnx.save(model, tmp_path / "a.onnx")
    if kind == "an explainer of arrays":
        IntegratedGradients(model).export(tmp_path / "a.onnx")
    monkeypatch.setenv("EXPLAINER", str(tmp_path / "a.onnx"))
    if kind == "not set":
        monkeypatch.delenv("EXPLAINER")
    with pytest.raises(
        SystemExit, match="EXPLAINER=explainer" if kind == "not set" else "onnxattr export .*--preprocess"
    ):
        runpy.run_path(str(APP / "app.py"))


@pytest.mark.parametrize("level", [0, 90, 255])
@pytest.mark.parametrize("output_layer", [None, "z"])
def test_one_unit_tells_two_classes_apart(output_layer, level, tmp_path, monkeypatch):
    explainer = binary_explainer(tmp_path / "explainer.onnx", output_layer)
    pixels = np.random.default_rng(0).integers(0, level + 1, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    monkeypatch.setenv("EXPLAINER", str(explainer))
    app = runpy.run_path(str(APP / "app.py"))
    expected = onnxattr.load(explainer)(tmp_path / "photo.png")
    body = (tmp_path / "photo.png").read_bytes()
    found = app["explain"](body)
    guesses = expected.top()[0]
    assert [(t["label"], t["name"]) for t in found["top"]] == [(g.label, g.name) for g in guesses]
    np.testing.assert_allclose([t["value"] for t in found["top"]], [g.value for g in guesses], rtol=1e-5)
    assert found["explained"] == expected.target_names[0]
    for label in (0, 1):
        found = app["explain"](body, target=label)
        assert found["explained"] == ["cat", "dog"][label]
        again = onnxattr.load(explainer).explain(pixels[None], label, full=True)
        assert found["gap"] == pytest.approx(float(again.relative_gap[0]), rel=1e-3, abs=1e-6)


def animation():
    frames = [Image.fromarray(np.full((8, 8, 3), level, np.uint8)) for level in (0, 200)]
    frames[0].save(file := io.BytesIO(), "WEBP", save_all=True, append_images=frames[1:])
    return file.getvalue()


def large():
    """A file of a few kilobytes whose pixels would fill the memory."""
    Image.new("L", (4100, 4000)).save(file := io.BytesIO(), "PNG")
    return file.getvalue()


REFUSED = {
    "several pictures": ("", animation(), 415, "it holds several pictures"),
    "too many pixels": ("", large(), 413, "more than 16000000 pixels"),
    "too many bytes": ("", bytes(65_048_577), 413, "more than 65048576 bytes"),
    "too many bytes, of no stated number": ("", [bytes(2**20)] * 63, 413, "more than 65048576 bytes"),
    "a class beyond integers": (f"?target={10**30}", CHELSEA, 422, "expected a class from 0 on"),
    "text": ("", b"hello", 415, "no JPEG, PNG or WebP photo"),
    "form": ("", b"--X\r\n\r\n" + CHELSEA + b"\r\n--X--\r\n", 415, "not a form: curl --data-binary"),
    "truncated": ("", CHELSEA[:2000], 415, "no JPEG, PNG or WebP photo"),
    "no such class": ("?target=1000", CHELSEA, 422, "expected a class from 0 to 999"),
}


@pytest.mark.parametrize(("query", "body", "status", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(query, body, status, message, server):
    with pytest.raises(urllib.error.HTTPError) as raised:
        post(server + query, body)
    assert raised.value.code == status
    assert message in raised.value.read().decode()
