"""Class activation maps on small models of every layout against their formulas, in every rendering."""

import warnings
from collections import Counter
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto
from support.cam_formulas import CAMS, grad_cam, resized
from support.explained import close
from support.methods import AT_LAYER
from support.small_models import (
    build,
    cnn_nchw,
    cnn_nhwc,
    embedding,
    mlp,
    node,
    random,
    rows,
    series,
    two_inputs,
)

import onnxattr
import onnxattr.attributions as attributions
from onnxattr import GradCAM, GuidedBackprop, GuidedGradCAM, LayerCAM, Saliency
from onnxattr.errors import ModelError, OnnxAttrError, ParameterError

LABELS = np.array([1, 0, 2])


def volume():
    """Two 3-D convolutions on volumes (N, 2, 5, 6, 7), channels first; the batch and two sizes are free."""
    nodes = [
        node("Conv", ["v", "k1"], ["c1"], strides=[2, 2, 2], pads=[1] * 6), node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "k2"], ["c2"], pads=[1] * 6), node("Tanh", ["c2"], ["r2"]),
        node("GlobalAveragePool", ["r2"], ["g"]), node("Flatten", ["g"], ["f"]), node("Gemm", ["f", "w"], ["y"]),
    ]  # fmt: skip
    weights = {"k1": 2 * random(1, 4, 2, 3, 3, 3), "k2": 2 * random(2, 5, 4, 3, 3, 3), "w": random(3, 5, 3)}
    return build(nodes, {"v": ["N", 2, 5, "H", "W"]}, {"y": ["N", 3]}, weights), rows(3, 2, 5, 6, 7)


def grey():
    """Grey images (N, 9, 7), without an axis of channels."""
    nodes = [
        node("Unsqueeze", ["x", "one"], ["u"]), node("Conv", ["u", "k"], ["c"], strides=[2, 2]),
        node("Sigmoid", ["c"], ["s"]), node("GlobalMaxPool", ["s"], ["g"]), node("Flatten", ["g"], ["f"]),
        node("Gemm", ["f", "w"], ["y"]),
    ]  # fmt: skip
    weights = {"one": np.array([1]), "k": 2 * random(1, 4, 1, 3, 3), "w": random(2, 4, 3)}
    return build(nodes, {"x": ["N", 9, 7]}, {"y": ["N", 3]}, weights), rows(4, 9, 7)


def series_in_two_axes():
    """Series (N, 12, 3) whose convolution is written with two axes of space, one of size 1; bytes come in."""
    nodes = [
        node("Cast", ["x"], ["real"], to=TensorProto.FLOAT), node("Mul", ["real", "scale"], ["scaled"]),
        node("Unsqueeze", ["scaled", "one"], ["u"]), node("Transpose", ["u"], ["t"], perm=[0, 3, 1, 2]),
        node("Conv", ["t", "k"], ["c"], strides=[1, 2]), node("Elu", ["c"], ["e"]),
        node("ReduceMean", ["e", "space"], ["m"], keepdims=0), node("Gemm", ["m", "w"], ["y"]),
    ]  # fmt: skip
    weights = {"one": np.array([1]), "k": 2 * random(1, 4, 3, 1, 3), "w": random(2, 4, 3), "space": np.array([2, 3]),
               "scale": np.float32(1 / 64)}  # fmt: skip
    model = build(nodes, {"x": (["N", 12, 3], TensorProto.UINT8)}, {"y": ["N", 3]}, weights)
    return model, np.random.default_rng(5).integers(0, 255, (3, 12, 3)).astype(np.uint8)


def transposed():
    """A decoder: a transposed convolution, then a mean over the image; channels last."""
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]), node("ConvTranspose", ["t", "k"], ["c"], strides=[2, 2]),
        node("Softplus", ["c"], ["s"]), node("Transpose", ["s"], ["last"], perm=[0, 2, 3, 1]),
        node("Mul", ["last", "last"], ["square"]),
        node("ReduceMean", ["square", "space"], ["m"], keepdims=0), node("Gemm", ["m", "w"], ["y"]),
    ]  # fmt: skip
    weights = {"k": 2 * random(1, 2, 4, 3, 3), "w": random(2, 4, 3), "space": np.array([1, 2])}
    return build(nodes, {"x": ["N", 4, 5, 2]}, {"y": ["N", 3]}, weights), rows(6, 4, 5, 2)


@dataclass(frozen=True)
class Case:
    """A model, what it is given, the layer that is looked at, its channel axis, and the shape of a map."""

    make: object
    layer: str
    channel: int
    shape: tuple
    options: dict = field(default_factory=dict)


def of(small):
    return lambda: (small().model, small().given)


CASES = {
    "nchw": Case(of(cnn_nchw), "c2", 1, (1, 8, 9)),
    "nchw, first convolution": Case(of(cnn_nchw), "r1", 1, (1, 8, 9), {"conv_layer": "r1"}),
    "nhwc": Case(of(cnn_nhwc), "c2", 1, (8, 9, 1)),
    "nhwc, pooled": Case(of(cnn_nhwc), "p1", 1, (8, 9, 1), {"conv_layer": "p1"}),
    "series": Case(of(series), "c2", 1, (20, 1)),
    "volume": Case(volume, "c2", 1, (1, 5, 6, 7)),
    "grey": Case(grey, "c", 1, (9, 7, 1)),
    "series in two axes": Case(series_in_two_axes, "c", 1, (12, 1)),
    "transposed": Case(transposed, "c", 1, (4, 5, 1)),
    "transposed, channels last": Case(transposed, "last", 3, (4, 5, 1), {"conv_layer": "last"}),
    "two inputs": Case(of(two_inputs), "c", 1, (1, 6, 6)),
}


@cache
def made(name):
    return CASES[name].make()


@cache
def layer_and_gradient(name):
    """A and g at the layer in float64, channels last, from the model's own gradient graph."""
    case, (model, given) = CASES[name], made(name)
    graph = onnxattr.vjp(model, wrt=case.layer)
    graph.graph.output.append(onnx.ValueInfoProto(name=case.layer))
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = given if isinstance(given, dict) else {session.get_inputs()[0].name: given}
    output = model.graph.output[0].name
    classes = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    cotangent = {f"{output}_cotangent": np.eye(classes, dtype=np.float32)[LABELS]}
    g, a = session.run([f"{case.layer}_gradient", case.layer], feeds | cotangent)
    return [np.moveaxis(array.astype(np.float64), case.channel, -1) for array in (a, g)]


def expected_map(name, formula, upsampling="bicubic"):
    """The formula's map with the sizes of the case's maps."""
    sizes = [size for size in CASES[name].shape if size != 1]
    small = formula(*layer_and_gradient(name))
    small = small.reshape(len(small), *(size for size in small.shape[1:] if size != 1))
    return resized(small, sizes, upsampling).reshape(len(small), *CASES[name].shape)


@pytest.mark.parametrize(("method", "options"), CAMS, ids=lambda value: str(value))
@pytest.mark.parametrize("name", CASES)
def test_formulas(name, method, options, tmp_path):
    case, (model, given) = CASES[name], made(name)
    explainer = getattr(attributions, method)(model, **case.options, **dict(options))
    expected = expected_map(name, CAMS[method, options])
    assert np.abs(expected).max() > 0
    close(explainer.explain(given, LABELS), expected, 1e-5)
    explainer.export(tmp_path / "cam.onnx")
    loaded = onnxattr.load(tmp_path / "cam.onnx")
    close(loaded.explain(given, LABELS), expected, 1e-5)
    close(loaded.predict(given), explainer.predict(given))


@pytest.mark.parametrize("upsampling", ["bicubic", "bilinear", "nearest"])
@pytest.mark.parametrize("name", ["nchw", "series", "volume", "transposed"])
def test_upsampling(name, upsampling):
    model, given = made(name)
    found = GradCAM(model, **CASES[name].options, upsampling=upsampling).explain(given, LABELS)
    close(found, expected_map(name, grad_cam, upsampling), 1e-5)


def test_no_upsampling_gives_the_layers_size():
    """In the image's layout."""
    for name, shape in (("nhwc", (2, 2, 1)), ("nchw", (1, 2, 2)), ("series", (6, 1))):
        model, given = made(name)
        found = GradCAM(model, upsampling=None).explain(given, LABELS)
        close(found, grad_cam(*layer_and_gradient(name)).reshape(3, *shape), 1e-5)


@pytest.mark.parametrize("name", ["nhwc", "nchw", "series", "two inputs"])
def test_guided_grad_cam_is_a_product(name):
    model, given = made(name)
    image = {"wrt": "image"} if name == "two inputs" else {}
    for upsampling in ("bicubic", "nearest"):
        found = GuidedGradCAM(model, reducer=None, upsampling=upsampling)
        guided = GuidedBackprop(model, reducer=None, **image).explain(given, LABELS)
        cam = GradCAM(model, upsampling=upsampling).explain(given, LABELS)
        close(found.explain(given, LABELS), guided * cam)
    mean = GuidedGradCAM(model).explain(given, LABELS)
    axis = {"nhwc": 3, "nchw": 1, "two inputs": 1}.get(name)
    product = guided * GradCAM(model).explain(given, LABELS)
    close(mean, product if axis is None else product.mean(axis, keepdims=True), 2e-6)


@pytest.mark.parametrize("method", AT_LAYER)
@pytest.mark.parametrize("name", ["nhwc", "series", "two inputs"])
def test_any_chunk_and_any_target(name, method):
    model, given = made(name)
    reference = getattr(attributions, method)(model, batch_size=None)
    expected = reference.explain(given, LABELS)
    one_hot = np.eye(reference.predict(given).shape[1])[LABELS]
    for batch_size in (1, 2, 3):
        explainer = getattr(attributions, method)(model, batch_size=batch_size)
        close(explainer.explain(given, LABELS), expected)
        close(explainer.explain(given, one_hot), expected)
    predicted = reference.predict(given).argmax(axis=1)
    close(reference.explain(given), reference.explain(given, predicted))


def test_half_precision():
    model, given = made("nchw")
    half = onnx.ModelProto()
    half.CopyFrom(model)
    for tensor in half.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    for value in (*half.graph.input, *half.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    expected = GradCAM(model).explain(given, LABELS)
    close(GradCAM(half).explain(given.astype(np.float16), LABELS), expected, 2e-2)
    close(GradCAM(half, precision="float32").explain(given.astype(np.float16), LABELS), expected, 2e-2)


@pytest.mark.parametrize("method", ["GradCAM", "GradCAMPP", "LayerCAM"])
def test_files_are_small_and_run_the_model_once(method, tmp_path):
    """No node of the model twice, and none of the gradient before the layer."""
    model, _ = made("nchw")
    explainer = getattr(attributions, method)(model)
    explainer.export(tmp_path / "cam.onnx")
    file = onnx.load(tmp_path / "cam.onnx")
    counts = Counter(n.op_type for n in file.graph.node)
    assert [counts[kind] for kind in ("Conv", "ConvTranspose", "BatchNormalization")] == [2, 0, 1]
    assert counts["MatMul"] == 2
    assert len(file.graph.node) <= len(model.graph.node) + 32
    assert file.ByteSize() < model.ByteSize() + 6000
    saliency = onnx.load_from_string(Saliency(model).explainer().SerializeToString())
    assert any(n.op_type == "ConvTranspose" for n in saliency.graph.node)


def test_the_operator_is_what_is_explained(tmp_path):
    """A function of the output; and the mean over the pixels of a class, at a layer of a network of convolutions."""
    model, given = made("nhwc")
    expected = GradCAM(model).explain(given, LABELS)
    explainer = GradCAM(model, operator=lambda f, x, y: 3 * (f(x) * y).sum(axis=-1))
    close(explainer.explain(given, LABELS), 3 * expected)
    explainer.export(tmp_path / "cam.onnx")
    close(onnxattr.load(tmp_path / "cam.onnx").explain(given, LABELS), 3 * expected)
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]), node("Conv", ["t", "k1"], ["c1"], pads=[1] * 4),
        node("Tanh", ["c1"], ["a"]), node("Conv", ["a", "k2"], ["c2"]),
        node("Transpose", ["c2"], ["y"], perm=[0, 2, 3, 1]),
    ]  # fmt: skip
    weights = {"k1": random(1, 4, 2, 3, 3), "k2": random(2, 3, 4, 1, 1)}
    segmentation = build(nodes, {"x": ["N", 6, 5, 2]}, {"y": ["N", 6, 5, 3]}, weights)
    x, mask = rows(3, 6, 5, 2), np.zeros((3, 6, 5, 3), np.float32)
    mask[:, 1:4, 2:, 1] = 1
    found = GradCAM(segmentation, conv_layer="a", operator="semantic segmentation").explain(x, mask)
    session = onnxruntime.InferenceSession(
        onnxattr.vjp(segmentation, wrt="a").SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (g,) = session.run(["a_gradient"], {"x": x, "y_cotangent": mask / 9})
    a = np.tanh(Saliency(segmentation, output_layer="c1").predict(x))
    close(
        found, grad_cam(*(np.moveaxis(array.astype(np.float64), 1, -1) for array in (a, g)))[..., None], 1e-5
    )


# The layer and the image


def test_default_is_the_last_convolution_with_more_than_one_place():
    nodes = [
        node("Conv", ["x", "k"], ["c"]), node("GlobalAveragePool", ["c"], ["g"]),
        node("Conv", ["g", "head"], ["h"]), node("Flatten", ["h"], ["y"]),
    ]  # fmt: skip
    model = build(
        nodes,
        {"x": ["N", 2, 5, 5]},
        {"y": ["N", 3]},
        {"k": random(1, 4, 2, 3, 3), "head": random(2, 3, 4, 1, 1)},
    )
    x = rows(8, 2, 5, 5)
    close(GradCAM(model).explain(x, LABELS), GradCAM(model, conv_layer="c").explain(x, LABELS))
    assert np.ptp(GradCAM(model).explain(x, LABELS), axis=(2, 3)).max() > 0
    with pytest.warns(UserWarning, match=r"'g' has the shape .*one position.*conv_layer") as said:
        maps = GradCAM(model, conv_layer="g").explain(x, LABELS)
    assert said[0].filename == __file__
    assert np.ptp(maps, axis=(2, 3)).max() < 1e-6


@pytest.mark.parametrize("method", AT_LAYER)
def test_without_convolutions_the_error_says_what_can_be_named(method):
    with pytest.raises(ModelError, match=r"no convolution.*No value of the model has axes of space"):
        getattr(attributions, method)(mlp().model)
    with pytest.raises(ModelError, match=r"no convolution.*conv_layer: 'squashed', 'embedded'"):
        getattr(attributions, method)(embedding().model)


def test_tokens_have_maps_of_the_layers_size():
    """Of the size of the tokens themselves, where the input has an axis of them."""
    case = embedding()
    found = GradCAM(case.model, conv_layer="squashed").explain(case.given, LABELS)
    assert found.shape == (3, 7, 1)
    close(GradCAM(case.model, conv_layer="squashed", upsampling=None).explain(case.given, LABELS), found)


def test_a_layer_that_no_input_fits_has_maps_of_its_own_size():
    """A wave, folded into an image."""
    nodes = [
        node("Reshape", ["wave", "fold"], ["image"]), node("Conv", ["image", "k"], ["c"]),
        node("GlobalAveragePool", ["c"], ["g"]), node("Flatten", ["g"], ["y"]),
    ]  # fmt: skip
    weights = {"fold": np.array([-1, 1, 4, 6]), "k": random(1, 3, 1, 3, 3)}
    model = build(nodes, {"wave": ["N", 24]}, {"y": ["N", 3]}, weights)
    with pytest.raises(
        ModelError, match=r"'c' of shape .* has 2 axes of space; of the inputs.*none.*upsampling=None"
    ):
        GradCAM(model)
    assert GradCAM(model, upsampling=None).explain(rows(3, 24), LABELS).shape == (3, 1, 2, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conv_layer": "nowhere"}, "nowhere"),
        ({"conv_layer": "logits"}, "conv_layer='logits'.*does not depend on that layer, or is it.*'r2'"),
        ({"conv_layer": "flat"}, r"conv_layer='flat' has the shape .*expected.*axes of space"),
        ({"conv_layer": 1.5}, "conv_layer=1.5: expected"),
        ({"conv_layer": True}, "conv_layer=True: expected"),
        ({"upsampling": "cubic"}, "upsampling='cubic': expected one of"),
        ({"wrt": "elsewhere"}, "wrt=<input>"),
        ({"wrt": ("image", "c1")}, "over one input; expected its name"),
        ({"reducer": "mean"}, "reducer"),
        ({"conv_leyer": "c2"}, "conv_leyer"),
    ],
)
def test_bad_parameters(options, message):
    with pytest.raises(OnnxAttrError, match=message):
        GradCAM(cnn_nchw().model, **options)


def test_bad_variant_and_guided_without_a_size():
    with pytest.raises(ParameterError, match="variant='original': expected one of"):
        attributions.GradCAMPP(cnn_nchw().model, variant="original")
    with pytest.raises(ParameterError, match="upsampling=None: expected one of"):
        GuidedGradCAM(cnn_nchw().model, upsampling=None)


def test_two_images_need_a_name():
    nodes = [
        node("Conv", ["a", "k"], ["ca"]), node("Conv", ["b", "k"], ["cb"], strides=[2, 2]),
        node("GlobalAveragePool", ["ca"], ["ga"]), node("Mul", ["cb", "ga"], ["both"]),
        node("GlobalAveragePool", ["both"], ["g"]), node("Flatten", ["g"], ["y"]),
    ]  # fmt: skip
    model = build(
        nodes, {"a": ["N", 1, 5, 5], "b": ["N", 1, 9, 8]}, {"y": ["N", 3]}, {"k": random(1, 3, 1, 3, 3)}
    )
    given = {"a": rows(1, 1, 5, 5), "b": rows(2, 1, 9, 8)}
    with pytest.raises(ModelError, match=r"several inputs, \['a', 'b'\].*wrt=<input>"):
        GradCAM(model, conv_layer="both")
    assert GradCAM(model, conv_layer="both", wrt="b").explain(given, LABELS).shape == (3, 1, 9, 8)
    assert GradCAM(model, conv_layer="both", wrt="a").explain(given, LABELS).shape == (3, 1, 5, 5)


def test_rows_that_are_not_apart_are_refused():
    nodes = [
        node("Conv", ["x", "k"], ["c"]), node("ReduceMean", ["c", "axes"], ["m"]), node("Sub", ["c", "m"], ["d"]),
        node("Mul", ["d", "d"], ["s"]), node("GlobalAveragePool", ["s"], ["g"]), node("Flatten", ["g"], ["y"]),
    ]  # fmt: skip
    weights = {"k": random(1, 3, 2, 3, 3), "axes": np.array([0])}
    model = build(nodes, {"x": ["N", 2, 6, 6]}, {"y": ["N", 3]}, weights)
    with pytest.raises(ModelError, match=r"map at a layer needs .*all rows are one sample"):
        GradCAM(model)


def test_a_fixed_batch_of_one():
    """Freed where that is proven; else row by row."""
    model, given = made("nchw")
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in (*fixed.graph.input, *fixed.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    close(LayerCAM(fixed).explain(given, LABELS), LayerCAM(model).explain(given, LABELS))


def test_bytes_are_no_reason_for_a_warning_where_all_goes_through_the_layer():
    model, _ = made("series in two axes")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GradCAM(model)


def test_loops_have_nothing_to_repeat():
    with pytest.raises(ParameterError, match="GradCAM takes a single one"):
        GradCAM(cnn_nchw().model).explainer("loop")


def test_metadata_say_what_the_file_shows(tmp_path):
    LayerCAM(cnn_nhwc().model, upsampling="bilinear").export(tmp_path / "cam.onnx")
    about = onnxattr.load(tmp_path / "cam.onnx").metadata
    assert about["method"] == "LayerCAM"
    assert about["parameters"]["upsampling"] == "bilinear"
    assert about["explained"]["c2"]["axes"] == ["row", "height", "width", "channel"]
