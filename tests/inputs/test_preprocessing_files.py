"""Preprocessing and names of classes from files and by name: what is read, written, and refused in a sentence."""

import dataclasses
import json
import re
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from support.small_models import build, node
from support.tiny_graphs import parse

from models import photos
from onnxattr import GradientInput, Saliency
from onnxattr.cli import main
from onnxattr.errors import ParameterError, ShapeError
from onnxattr.loading.meaning.label_files import labels_of
from onnxattr.loading.preprocessing.annotate import annotated
from onnxattr.loading.preprocessing.files import preprocessing_of
from onnxattr.loading.preprocessing.spec import KEY
from onnxattr.session import Session

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(4, 3, 3, 3)).astype(np.float32)


def classifier(opset=17, side=12, shape=None, before=(), extra=(), classes=4):
    """A convolution, a ReLU and the mean of each channel, after what stands before them."""
    dims = ["N", 3, side, side] if shape is None else shape
    nodes = [node(*given) for given in before]
    first = before[-1][2][0] if before else "image"
    nodes += [
        node("Conv", [first, "w"], ["c"]),
        node("Relu", ["c"], ["r"]),
        node("GlobalAveragePool", ["r"], ["p"]),
        node("Flatten", ["p"], ["logits"]),
    ]
    weights = {"k": np.float32(0.1), "w": WEIGHTS}
    return build(nodes, {"image": dims, **dict(extra)}, {"logits": ["N", classes]}, weights, opset=opset)


def described(name):
    """What tools of the field say of the preprocessing of photos, and the fields that are expected."""
    common = {"scale": 1 / 255, "mean": MEAN, "std": STD}
    return {
        "vit": (
            {
                "image_processor_type": "ViTImageProcessor",
                "do_resize": True,
                "size": {"height": 224, "width": 224},
                "resample": 2,
                "do_rescale": True,
                "rescale_factor": 1 / 255,
                "do_normalize": True,
                "image_mean": [0.5, 0.5, 0.5],
                "image_std": [0.5, 0.5, 0.5],
            },
            {
                "resize": "stretch",
                "size": (224, 224),
                "mean": (0.5,) * 3,
                "std": (0.5,) * 3,
                "scale": 1 / 255,
            },
        ),
        "old vit": (
            {
                "feature_extractor_type": "ViTFeatureExtractor",
                "size": 224,
                "image_mean": [0.5] * 3,
                "image_std": [0.5] * 3,
            },
            {"resize": "stretch", "size": (224, 224), "scale": 1 / 255},
        ),
        "resnet": (
            {
                "feature_extractor_type": "ConvNextFeatureExtractor",
                "crop_pct": 0.875,
                "size": 224,
                "resample": 3,
                "image_mean": list(MEAN),
                "image_std": list(STD),
            },
            {"resize": "shortest_edge", "size": (256, 256), "crop": (224, 224), "kernel": "bicubic"} | common,
        ),
        "mobilevit": (
            {
                "image_processor_type": "MobileViTImageProcessor",
                "size": {"shortest_edge": 288},
                "crop_size": {"height": 256, "width": 256},
                "do_center_crop": True,
                "do_flip_channel_order": True,
                "do_rescale": True,
            },
            {
                "resize": "shortest_edge",
                "size": (288, 288),
                "crop": (256, 256),
                "order": "BGR",
                "mean": (0.0,),
            },
        ),
        "timm": (
            {
                "architecture": "vit_base",
                "pretrained_cfg": {
                    "input_size": [3, 224, 224],
                    "interpolation": "bicubic",
                    "crop_pct": 0.9,
                    "crop_mode": "center",
                    "mean": [0.5] * 3,
                    "std": [0.5] * 3,
                },
            },
            {
                "resize": "shortest_edge",
                "size": (248, 248),
                "crop": (224, 224),
                "kernel": "bicubic",
                "mean": (0.5,) * 3,
            },
        ),
        "torchvision": (
            SimpleNamespace(
                crop_size=[224],
                resize_size=[232],
                mean=list(MEAN),
                std=list(STD),
                interpolation=SimpleNamespace(value="bilinear"),
                antialias=True,
            ),
            {"resize": "shortest_edge", "size": (232, 232), "crop": (224, 224), "antialias": True} | common,
        ),
        "own": (
            {"preset": "keras-caffe", "kernel": "bicubic"},
            {"order": "BGR", "kernel": "bicubic", "antialias": False},
        ),
    }[name]


@pytest.mark.parametrize("name", ["vit", "old vit", "resnet", "mobilevit", "timm", "torchvision", "own"])
def test_descriptions_of_the_field_are_read(name, tmp_path):
    given, expected = described(name)
    found = [preprocessing_of(given)]
    if isinstance(given, dict):
        (tmp_path / "config.json").write_text(json.dumps(given))
        found.append(preprocessing_of(tmp_path / "config.json"))
    for spec in found:
        assert {field: getattr(spec, field) for field in expected} == expected


MANY = {"other": ["N", 3, 12, 12]}
ROWS = ["N", 3]


@pytest.mark.parametrize(
    ("given", "model", "says"),
    [
        ("imagnet", {}, "'imagnet'.*expected one of 'imagenet', 'keras-tf'"),
        ("missing.json", {}, "missing.json cannot be read"),
        (3, {}, "expected one of"),
        ({"scal": 2}, {}, r"unknown fields \['scal'\]"),
        ({"preset": "vgg"}, {}, "preset 'vgg'"),
        ({"std": 0}, {}, "std is 0"),
        ({"mean": "a"}, {}, "mean is 'a'; expected finite numbers"),
        ({"kernel": "lanczos"}, {}, "kernel is 'lanczos'; expected one of 'nearest'"),
        ({"size": 10}, {}, "gives images of 10 x 10 pixels, and the input 'image' .* takes 12 x 12"),
        ({"resize": "shortest_edge", "crop": [9, 12]}, {}, "gives images of 9 x 12 pixels"),
        ({"feeds": "photo"}, {}, "expected an input 'photo' of floats"),
        ("0..1", {"shape": ["N", 5, 12, 12]}, "has 5 channels; photos have 3 or 1"),
        ("0..1", {"shape": ["N", 3, "h", "w"]}, "takes images of any size; say which one"),
        (
            {"image_mean": [0, 0, 0], "image_std": [1, 1, 1], "resample": 1, "size": 12},
            {},
            "resamples with 1; supported",
        ),
        ({"do_resize": True, "do_thumbnail": True}, {}, "do_thumbnail, which is not supported"),
    ],
)
def test_what_does_not_fit_is_refused(given, model, says):
    with pytest.raises(ParameterError, match=says):
        Saliency(classifier(**model), preprocess=given)


def test_tables_are_no_images():
    model = parse("g (float[N,30] x) => (float[N,30] y) { y = Relu(x) }", 17)
    with pytest.raises(
        ParameterError, match=r"the inputs are 'x' \(N, 30\); expected an input of floats .*, an image"
    ):
        Saliency(model, preprocess="imagenet")
    with pytest.raises(ParameterError, match="the model has no preprocessing in front"):
        Saliency(model, attributions_at="pixels")


def test_the_image_among_several_inputs_is_named():
    model = classifier(before=[("Add", ["image", "other"], ["sum"])], extra=MANY)
    with pytest.raises(
        ParameterError, match=r"several inputs.*name the one that takes the photo with 'feeds'"
    ):
        Saliency(model, preprocess="0..1")
    method = GradientInput(model, preprocess={"feeds": "other", "scale": 1 / 255})
    photo, image = photos.load("coffee")[None], RNG.normal(size=(1, 3, 12, 12)).astype(np.float32)
    assert method.explain({"image": image, "pixels": photo}, [1]).shape == photo.shape


@pytest.mark.parametrize(
    ("before", "told"),
    [
        ([("Mul", ["image", "k"], ["m"])], "Mul"),
        ([("Sub", ["image", "k"], ["s"]), ("Div", ["s", "k"], ["m"])], "Sub, Div"),
    ],
)
def test_normalising_twice_is_said(before, told):
    with pytest.warns(UserWarning, match=rf"normalises its input 'image' itself \({told}\)"):
        Saliency(classifier(before=before), preprocess="imagenet")


def test_resizing_alone_is_not_normalising(recwarn):
    Saliency(classifier(before=[("Mul", ["image", "k"], ["m"])]), preprocess="0..255")
    assert not [w for w in recwarn if "normalises" in str(w.message)]


@pytest.mark.parametrize(
    ("stated", "given", "told"),
    [
        ("keras-caffe", "imagenet", r"keras-caffe.*order BGR, given RGB; scale 1.0, given 0.0039"),
        ("keras-tf", "keras-torch", r"keras-tf.*mean \(1.0,\), given \(0.485"),
        ("imagenet", "0..1", r"imagenet.*std \(0.229, 0.224, 0.225\), given \(1.0,\)"),
        ("keras-tf", {"scale": 1 / 255, "mean": 0.5, "std": 0.5}, None),
        ("keras-tf", "-1..1", None),
        ("imagenet", "keras-torch", None),
        ("keras-caffe", "model", None),
    ],
)
def test_other_preprocessing_than_the_file_says_is_said(stated, given, told, recwarn):
    """Where it makes other numbers of a pixel; other ways to write the same numbers, or to resize, are not."""
    model = classifier()
    says = dataclasses.replace(preprocessing_of(stated), feeds="image")
    onnx.helper.set_model_props(model, {KEY: says.text()})
    Saliency(model, preprocess=given)
    found = [str(w.message) for w in recwarn if "expects other preprocessing" in str(w.message)]
    assert len(found) == (told is not None)
    assert told is None or re.search(told, found[0])
    assert told is None or recwarn.list[0].filename == __file__


@pytest.mark.parametrize("opset", [9, 12, 13, 17, 21])
def test_files_take_bytes(opset, tmp_path):
    """A file with preprocessing predicts for bytes what the model does for the image, and is explained as it."""
    model, photo = classifier(opset), photos.load("chelsea")[None]
    file = annotated(model, "keras-tf", ["a", "b", "c", "d"], "input")
    onnx.checker.check_model(file)
    onnx.save(file, tmp_path / "photos.onnx")
    (prediction,) = Session(tmp_path / "photos.onnx", ["CPUExecutionProvider"]).run({"pixels": photo})
    method = Saliency(tmp_path / "photos.onnx")
    seen = Saliency(model, preprocess="keras-tf")
    np.testing.assert_allclose(prediction, seen.predict(photo), rtol=1e-5)
    np.testing.assert_allclose(method.predict(photo), prediction, rtol=1e-5)
    assert method.class_names == ("a", "b", "c", "d")
    assert method.explained == ("image",)
    assert method.explain(photo, "c").shape == (1, 1, 12, 12)
    pixels = Saliency(tmp_path / "photos.onnx", attributions_at="pixels")
    np.testing.assert_allclose(pixels.explain(photo, [2]), seen.explain(photo, [2]), rtol=1e-4, atol=1e-9)
    with pytest.raises(ParameterError, match="has preprocessing in front already"):
        Saliency(tmp_path / "photos.onnx", preprocess="imagenet")


def test_numbers_that_are_no_pixels_are_refused():
    method = Saliency(classifier(), preprocess="imagenet")
    for wrong in (
        np.full((1, 20, 20, 3), 0.5, np.float32),
        np.full((1, 20, 20, 3), 300),
        np.full((1, 20, 20, 3), -1),
    ):
        with pytest.raises(ShapeError, match="takes pixels, whole numbers of 0 to 255"):
            method.explain(wrong)
    whole = photos.load("coffee")[None]
    np.testing.assert_array_equal(method.explain(whole, [1]), method.explain(whole.astype(np.float64), [1]))
    floats = Saliency(classifier(), preprocess={"preset": "0..1", "dtype": "float32"})
    floats.explain(whole + np.float32(0.25))
    shares = whole / np.float32(255)
    for takes, unlikely in (
        (floats, shares),
        (floats, (shares - np.float32(0.5)) * 4),
        (floats, whole * np.float32(2)),
        (floats, shares > 0.5),
        (method, np.round(shares)),
        (method, shares > 0.5),
    ):
        with pytest.warns(UserWarning, match="pixels of 0 to 255"):
            takes.explain(unlikely, [1])
    with pytest.raises(ShapeError, match=r"different shapes, \(2, 5, 3\), \(3, 5, 3\)"):
        method.explain([whole[0, :3, :5], whole[0, :2, :5]])


LABELS = {
    "names.txt": "cat\ndog, puppy\n",
    "list.json": '["cat", "dog, puppy"]',
    "index.json": '{"1": "dog, puppy", "0": "cat"}',
    "keras.json": '{"0": ["n01", "cat"], "1": ["n02", "dog, puppy"]}',
    "config.json": '{"model_type": "vit", "id2label": {"0": "cat", "1": "dog, puppy"}}',
    "label2id.json": '{"dog, puppy": 1, "cat": 0}',
}


@pytest.mark.parametrize("name", LABELS)
def test_names_of_classes_are_read(name, tmp_path):
    (tmp_path / name).write_text(LABELS[name])
    assert labels_of(tmp_path / name) == ("cat", "dog, puppy")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("names.csv", "cat", "expected a list of names"),
        ("names.txt", "", "no names of classes"),
        ("names.txt", "cat\n\ndog", "empty name for class 1"),
        ("names.json", "3", "no names of classes"),
        ("names.json", '{"0": "cat", "2": "dog"}', r"indices \[0, 2\]"),
        ("names.json", '{"a": "cat"}', "keys such as 'a'"),
        ("names.json", "[null]", "None, which is no name"),
        ("names.json", "{", "cannot be read"),
        ("names.json", '{"0": "cat", "1": "emu", "0": "dog"}', "'0' is in one object twice"),
        (
            "names.json",
            '{"id2label": {"0": "a", "1": "b"}, "id2label": {"0": "b", "1": "a"}}',
            "'id2label' is in one",
        ),
        ("names.json", '{"0": "cat", "1": "emu", "00": "dog"}', "several names for the index 0"),
        ("names.json", '{"cat": 0, "emu": 1, "dog": 1}', "several names for the index 1"),
    ],
)
def test_files_without_names_are_refused(name, text, says, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(ParameterError, match=says):
        labels_of(tmp_path / name)


def test_another_number_of_names_is_refused():
    with pytest.raises(ParameterError, match="3 names were given, and the output 'logits' has 4 classes"):
        Saliency(classifier(), labels=["a", "b", "c"])


def test_from_the_shell(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    onnx.save(classifier(), "model.onnx")
    np.save("photos.npy", photos.load("coffee")[None])
    (tmp_path / "names.json").write_text('["a", "b", "c", "d"]')
    given = ["--preprocess", "imagenet", "--labels", "names.json", "--attributions-at", "input"]
    assert main(["convert", "model.onnx", *given, "-o", "photos.onnx"]) == 0
    assert (
        main(
            ["explain", "photos.onnx", "photos.npy", "--method", "Saliency", "--targets", "b", "-o", "a.npy"]
        )
        == 0
    )
    assert main(["export", "model.onnx", *given, "--method", "Saliency", "-o", "explainer.onnx"]) == 0
    assert main(["explain", "explainer.onnx", "photos.npy", "--targets", "b", "-o", "b.npy"]) == 0
    found = np.load("a.npy")
    assert found.shape == (1, 1, 12, 12)
    np.testing.assert_allclose(np.load("b.npy"), found, rtol=1e-5, atol=1e-9)
    capsys.readouterr()
    assert main(["convert", "model.onnx", "-o", "x.onnx"]) == 2
    assert "With --preprocess or --labels it is written anew" in capsys.readouterr().err
    assert (
        main(
            ["convert", "model.onnx", "--labels", "names.json", "--attributions-at", "input", "-o", "x.onnx"]
        )
        == 2
    )
    assert "it needs preprocess" in capsys.readouterr().err
    assert main(["convert", "model.onnx", "--preprocess", "imagenet", "-o", "model.onnx"]) == 2
