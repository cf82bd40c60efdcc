"""Class activation maps on small models of every layout against their formulas, in every rendering."""

from collections import Counter
from functools import cache

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto
from support.cam_cases import CASES, LABELS, made
from support.cam_formulas import CAMS, grad_cam, resized
from support.explained import close
from support.methods import AT_LAYER
from support.small_models import build, node, random, rows

import onnxattr
import onnxattr.attributions as attributions
from onnxattr import GradCAM, GuidedBackprop, GuidedGradCAM, Saliency

# An input that is not behind the layer has a gradient all the same.
pytestmark = pytest.mark.filterwarnings("error:The score depends on the inputs")


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


@pytest.mark.parametrize("size", [1e-24, 1e15])
@pytest.mark.parametrize(("method", "options"), CAMS, ids=lambda value: str(value))
def test_small_and_large_gradients(method, options, size):
    """Powers of them neither vanish nor overflow."""
    model, given = made("nchw")
    found = getattr(attributions, method)(model, upsampling=None, **dict(options))
    a, g = layer_and_gradient("nchw")
    expected = CAMS[method, options](a, g * size)[:, None]
    assert expected.any()
    weights = size * np.eye(found.predict(given).shape[1], dtype=np.float32)[LABELS]
    np.testing.assert_allclose(
        found.explain(given, weights) / expected.max(), expected / expected.max(), atol=1e-5
    )


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
    names = [n.name for n in file.graph.node]
    assert sum("rows_fit" in name for name in names) == sum("labels_fit" in name for name in names) == 1
    checks = 2 + 10  # with the Shape of the images that one reads, and nine nodes on the labels of the other
    assert len(file.graph.node) - checks <= len(model.graph.node) + 32
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
