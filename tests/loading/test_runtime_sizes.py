"""Sizes that ONNX Runtime computes otherwise than ONNX infers them, and what its Resize leaves as it is."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from support.gradient_graphs import run
from support.tiny_graphs import parse

from onnxattr import GradientInput
from onnxattr.loading.load import load
from onnxattr.testing import check_vjp

#: Sizes before and after: ONNX floors the float64 product of 20 and float32(9 / 20) to 8. Of (30, 9) it floors rightly.
PAIRS = [(20, 9), (30, 9), (299, 224), (50, 41), (55, 14), (600, 331)]


def scale_of(old, new):
    return float(np.float32(new) / np.float32(old))


def resize(
    shape, scales, attributes="", opset=18, operands="x, , s", body="y = R", result="float[a,b,c,d] y"
):
    """A Resize by scales, "R" in the body."""
    node = f"Resize<{attributes}>({operands})" if attributes else f"Resize({operands})"
    numbers = ", ".join(repr(float(np.float32(scale))) for scale in scales)
    body = body.replace("R", node, 1)
    return parse(
        f"""g (float[{shape}] x) => ({result}) <float[{len(scales)}] s = {{{numbers}}},
            float[8] region = {{0, 0, 0.1, 0.2, 1, 1, 0.75, 0.85}}> {{ {body} }}""",
        opset,
    )


def check(model, shape, exact=True):
    """The prepared model predicts what the model does, its sizes are declared, its gradient is that of differences."""
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    prepared = ir.serde.serialize_model(load(model))
    (right,), (got,) = (run(m, {"x": x}).values() for m in (model, prepared))
    np.testing.assert_allclose(got, right, rtol=0, atol=0 if exact else 1e-4)
    declared = [dim.dim_value for dim in prepared.graph.output[0].type.tensor_type.shape.dim]
    assert all(size in (0, actual) for size, actual in zip(declared, right.shape, strict=True))
    check_vjp(model, {"x": x}, runtime="onnxruntime")


@pytest.mark.parametrize(("old", "new"), PAIRS)
@pytest.mark.parametrize("opset", [11, 13, 18])
def test_the_matrix_of_an_interpolation(old, new, opset):
    settings = 'mode = "linear", coordinate_transformation_mode = "half_pixel"'
    operands = "x, none, s" if opset < 13 else "x, , s"
    model = resize(f"N,1,{old},1", [1, 1, scale_of(old, new), 1], settings, opset, operands)
    if opset < 13:
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(0, np.float32), "none"))
    method = GradientInput(model, reducer=None)
    rows = method.predict(np.eye(old, dtype=np.float32)[:, None, :, None])
    assert rows.shape[2] == new
    got = method.explain(np.ones((1, 1, old, 1), np.float32), np.ones((1, 1, new, 1), np.float32))
    np.testing.assert_allclose(got.ravel(), rows.sum((1, 2, 3)), atol=1e-5)


MODES = [
    (mode, f'mode = "{mode}", coordinate_transformation_mode = "{where}"')
    for mode in ("nearest", "linear", "cubic")
    for where in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
]


@pytest.mark.parametrize(("mode", "attributes"), MODES, ids=[attributes for _, attributes in MODES])
@pytest.mark.parametrize(
    ("shape", "scales"),
    [
        ((2, 1, 20, 50), [1, 1, 9 / 20, 41 / 50]),
        ((2, 1, 20, 30), [1, 1, 9 / 20, 0.7]),
        ((2, 1, 55, 29), [1, 1, 14 / 55, 30 / 29]),
        ((2, 1, 29, 29), [1, 1, 30 / 29, 30 / 29]),
        ((2, 1, 29, 30), [1, 1, 30 / 29, 0.5]),
    ],
    ids=[
        "both wrong",
        "one wrong",
        "one keeps its size",
        "both keep their sizes",
        "the other keeps its size",
    ],
)
@pytest.mark.parametrize("symbols", [False, True])
def test_every_mode(mode, attributes, shape, scales, symbols):
    """Among axes that change, ONNX Runtime samples one that keeps its size; an image that keeps its shape it copies."""
    model = resize("N,1,H,W" if symbols else "N,1," + ",".join(map(str, shape[2:])), scales, attributes)
    check(model, shape, exact=symbols or mode == "nearest" or scales[3] == 41 / 50)


@pytest.mark.parametrize(
    ("shape", "scales", "attributes"),
    [
        ("N,1,20,30", [9 / 20, 9 / 30], 'mode = "linear", axes = [2, 3]'),
        ("N,1,20,30", [0.5, 9 / 20], 'mode = "linear", axes = [-1, 2]'),
        ("N,1,20,30", [9 / 20, 9 / 30], 'mode = "linear", axes = [2, 3], antialias = 1'),
        ("2,1,20,30", [1, 1, 9 / 20, 0.5], 'mode = "linear"'),
    ],
)
def test_axes_and_antialias(shape, scales, attributes):
    check(resize(shape, scales, attributes), (2, 1, 20, 30))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scales", [[1, 1, 9 / 20, 0.7], [1, 1, 9 / 20, 1], [1, 1, 1, 9 / 30], [1, 1, 2, 1]])
@pytest.mark.parametrize("shape", ["N,1,20,30", "2,1,20,30"])
def test_regions(mode, scales, shape):
    """Of a region that keeps one size, or both: the latter is a copy of the whole in ONNX Runtime."""
    attributes = f'mode = "{mode}", coordinate_transformation_mode = "tf_crop_and_resize"'
    check(resize(shape, scales, attributes, operands="x, region, s"), (2, 1, 20, 30))


def test_what_follows_sees_the_sizes_of_the_runtime():
    """Two Resizes, the second of a size that only follows from the first, and a mean over 9 * 4 places."""
    body = 'a = R b = Resize<mode = "linear">(a, , t) q = GlobalAveragePool(b) y = Flatten(q)'
    model = resize("N,1,20,20", [1, 1, 9 / 20, 9 / 20], 'mode = "linear"', body=body, result="float[N,1] y")
    second = np.array([1, 1, 4 / 9, 7 / 9], np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(second, "t"))
    check(model, (2, 1, 20, 20))
    for wrt, count in (("a", 81), ("b", 28)):
        method = GradientInput(model, wrt=wrt, reducer=None)
        maps = method.explain(np.ones((1, 1, 20, 20), np.float32), [0])
        assert maps.size == count
        np.testing.assert_allclose(maps.sum(), 1, rtol=1e-5)


POOLS = [
    ("MaxPool", (1, 2), "kernel_shape = [1, 1], strides = [1, 2]"),
    ("MaxPool", (11, 11), "kernel_shape = [2, 3], strides = [4, 2], dilations = [1, 2], pads = [0, 1, 1, 2]"),
    ("AveragePool", (11, 10), "kernel_shape = [1, 3], strides = [3, 4], pads = [0, 0, 0, 1]"),
    (
        "AveragePool",
        (11, 10),
        "kernel_shape = [1, 3], strides = [3, 4], pads = [0, 0, 0, 1], count_include_pad = 1",
    ),
    (
        "AveragePool",
        (7, 6),
        "kernel_shape = [3, 1], strides = [3, 4], pads = [0, 0, 1, 0], count_include_pad = 1",
    ),
    ("LpPool", (10, 3), "kernel_shape = [1, 2], strides = [2, 3], pads = [0, 1, 0, 0]"),
]


@pytest.mark.parametrize(("op", "size", "attributes"), POOLS)
@pytest.mark.parametrize("symbols", [False, True])
def test_a_window_behind_the_input(op, size, attributes, symbols):
    dims = "H,W" if symbols else f"{size[0]},{size[1]}"
    model = parse(
        f"g (float[N,2,{dims}] x) => (float[a,b,c,d] y) {{ y = {op}<ceil_mode = 1, {attributes}>(x) }}", 19, 9
    )
    check(model, (2, 2, *size))
