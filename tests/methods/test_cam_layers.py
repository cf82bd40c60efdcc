"""Which layer a class activation map shows, on which images, and its bad parameters."""

import warnings

import numpy as np
import onnx
import pytest
from support.cam_cases import LABELS, made
from support.explained import close
from support.methods import AT_LAYER
from support.small_models import build, cnn_nchw, cnn_nhwc, embedding, mlp, node, random, rows

import onnxattr
import onnxattr.attributions as attributions
from onnxattr import GradCAM, GradCAMPP, GuidedGradCAM, LayerCAM
from onnxattr.errors import ModelError, OnnxAttrError, ParameterError

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
        ({"wrt": "elsewhere"}, "wrt='elsewhere' is no input"),
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


def two_branches(kernels, joined):
    """Two images through convolutions with kernels of these names; joined: through one more convolution together."""
    nodes = [
        node("Conv", ["a", kernels[0]], ["ca"]), node("Conv", ["b", kernels[1]], ["cb"]),
        node("Mul", ["ca", "cb"], ["m"]),
        node("Conv", ["m", "last"], ["c"]) if joined else node("Relu", ["m"], ["c"]),
        node("GlobalAveragePool", ["c"], ["g"]), node("Flatten", ["g"], ["y"]),
    ]  # fmt: skip
    weights = {"k": random(1, 3, 1, 3, 3), "other": random(2, 3, 1, 3, 3), "last": random(3, 3, 3, 1, 1)}
    inputs = {"a": ["N", 1, 5, 5], "b": ["N", 1, 5, 5]}
    return build(nodes, inputs, {"y": ["N", 3]}, {k: weights[k] for k in {*kernels, *["last"] * joined}})


@pytest.mark.parametrize("method", [GradCAM, GradCAMPP, LayerCAM])
@pytest.mark.parametrize("kernels", ["kk", ["k", "other"]])
def test_a_default_layer_of_one_branch_says_what_it_leaves_out(method, kernels):
    with pytest.warns(UserWarning, match=r"last convolution, 'cb', which does not read \['a'\]") as said:
        method(two_branches(kernels, joined=False))
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method(two_branches(kernels, joined=False), conv_layer="ca")
        method(two_branches(kernels, joined=True), wrt="a")


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
