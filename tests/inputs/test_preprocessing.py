"""Preprocessing as nodes gives a network what Pillow, torchvision and Keras give it, and its gradient is theirs."""

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto
from support import photo_reference as reference
from support.small_models import build, node

from models import photos
from onnxattr.loading.load import load
from onnxattr.loading.preprocessing.files import preprocessing_of
from onnxattr.loading.preprocessing.front import fitted, put_in_front
from onnxattr.session import Session

tf = pytest.importorskip("tensorflow")
LITE0 = {"resize": "shortest_edge", "mean": 127, "std": 128}


def identity(height, width, channels=3, first=True, dtype=TensorProto.FLOAT):
    """A model that gives the image that it takes."""
    dims = ["N", channels, height, width] if first else ["N", height, width, channels]
    nodes = [node("Identity", ["image"], ["same"])]
    return build(nodes, {"image": (dims, dtype)}, {"same": (dims, dtype)}, opset=17)


def seen(spec, photo, height=224, width=224, **model):
    """What a network with a preprocessing in front sees of a photo, (height, width, channels)."""
    prepared = load(identity(height, width, photo.shape[-1], **model))
    put_in_front(prepared, fitted(preprocessing_of(spec), prepared))
    taken = photo if not isinstance(spec, dict) or spec.get("layout") != "NCHW" else np.moveaxis(photo, -1, 0)
    session = Session(ir.serde.serialize_model(prepared), ["CPUExecutionProvider"])
    (image,) = session.run({"pixels": taken[None].astype(np.float32)})[0]
    return image if model.get("first") is False else np.moveaxis(image, 0, -1)


def keras_mode(mode, photo):
    resized = tf.image.resize(photo[None].astype(np.float32), (224, 224)).numpy()
    return tf.keras.applications.imagenet_utils.preprocess_input(resized, mode=mode)[0]


def tf_resized(photo, kernel, antialias):
    return tf.image.resize(photo[None].astype(np.float32), (224, 224), kernel, antialias=antialias).numpy()[0]


#: What is asked for, what the field's own code gives, and how far they may be apart.
SEEN = {
    "imagenet": ("imagenet", reference.imagenet, 5e-5),
    "imagenet-bicubic": (
        {"preset": "imagenet", "kernel": "bicubic"},
        lambda p: reference.imagenet(p, kernel="bicubic"),
        5e-5,
    ),
    "clip": (
        {
            "image_processor_type": "CLIPImageProcessor",
            "size": {"shortest_edge": 224},
            "resample": 3,
            "do_center_crop": True,
            "crop_size": {"height": 224, "width": 224},
            "image_mean": [0.485, 0.456, 0.406],
            "image_std": [0.229, 0.224, 0.225],
        },
        lambda p: reference.imagenet(p, edge=224, kernel="bicubic"),
        5e-5,
    ),
    "keras-tf": ("keras-tf", lambda p: keras_mode("tf", p), 2e-4),
    "keras-caffe": ("keras-caffe", lambda p: keras_mode("caffe", p), 2e-2),
    "keras-torch": ("keras-torch", lambda p: keras_mode("torch", p), 3e-4),
    "0..1": ("0..1", lambda p: reference.pillow_resized(p, 224, 224) / 255, 1e-5),
    "nearest": ({"kernel": "nearest"}, lambda p: tf_resized(p, "nearest", False), 0),
    "tensorflow-antialiased": ({}, lambda p: tf_resized(p, "bilinear", True), 5e-3),
    "tensorflow-bicubic": ({"kernel": "bicubic"}, lambda p: tf_resized(p, "bicubic", True), 1e-2),
    "letterbox": ({"resize": "letterbox", "pad": 114}, lambda p: reference.letterboxed(p, 224, 224), 5e-3),
    "crop-beyond": (
        {"resize": "none", "crop": [224, 224]},
        lambda p: reference.centre(p, 224, 224).astype(np.float32),
        0,
    ),
    "channels-first": ({"layout": "NCHW"}, lambda p: reference.pillow_resized(p, 224, 224), 5e-3),
}


@pytest.mark.parametrize("name", SEEN)
@pytest.mark.parametrize("photo", ["chelsea", "grace_hopper", "astronaut"])
def test_a_network_sees_what_the_field_gives_it(name, photo):
    spec, right, tolerance = SEEN[name]
    image = photos.load(photo)
    np.testing.assert_allclose(seen(spec, image), right(image), rtol=0, atol=tolerance)


@pytest.mark.parametrize("shape", [(37, 301), (224, 224), (5, 3), (900, 131), (225, 224)])
@pytest.mark.parametrize("name", ["imagenet", "letterbox", "keras-caffe", "0..1", "crop-beyond"])
def test_photos_of_all_shapes(name, shape):
    spec, right, tolerance = SEEN[name]
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    np.testing.assert_allclose(seen(spec, image), right(image), rtol=0, atol=2 * tolerance)


def test_channels_last_networks_and_grey_photos():
    image = photos.load("coffee")
    spec, right, tolerance = SEEN["imagenet"]
    np.testing.assert_allclose(seen(spec, image, first=False), right(image), rtol=0, atol=tolerance)
    grey = image[..., :1]
    np.testing.assert_allclose(
        seen("-1..1", grey, 48, 64), reference.pillow_resized(grey, 48, 64) / 127.5 - 1, rtol=0, atol=2e-5
    )


@pytest.mark.parametrize("dtype", ["FLOAT16", "DOUBLE"])
def test_networks_of_other_precisions(dtype):
    image = photos.load("coffee")
    found = seen("0..1", image, dtype=getattr(TensorProto, dtype))
    assert found.dtype == {"FLOAT16": np.float16, "DOUBLE": np.float64}[dtype]
    np.testing.assert_allclose(found, reference.pillow_resized(image, 224, 224) / 255, rtol=0, atol=1e-3)
