"""Loading writes auto_pad, output_shape and ceil_mode as pads where they can be known; the forward pass stays."""

import numpy as np
import onnx_ir as ir
import pytest
from support.tiny_graphs import parse, run

from onnxattr.errors import ModelError
from onnxattr.loading.load import load
from onnxattr.testing import check_vjp

W, DEEP = "float[4,2,3,2] w", "float[2,4,3,2] w"
STATIC, DYNAMIC = "float[N,2,7,6] x", "float[N,2,H,L] x"
CONV, TRANSPOSED = "y = Conv<%s>(x, w)", "y = ConvTranspose<%s>(x, w)"
MAX, MEAN, NORM = (f"y = {name}Pool<kernel_shape=[3,2], %s>(x)" for name in ("Max", "Average", "Lp"))
DILATED = (MAX, MEAN, NORM)

# A node, its input, its attributes, the pads that loading states; None where the node stays as it is.
CASES = [
    (CONV, STATIC, 'auto_pad="SAME_UPPER"', [1, 0, 1, 1]),
    (CONV, STATIC, 'auto_pad="SAME_LOWER"', [1, 1, 1, 0]),
    (CONV, STATIC, 'auto_pad="SAME_UPPER", strides=[2,4]', [1, 0, 1, 0]),
    (CONV, STATIC, 'auto_pad="SAME_LOWER", strides=[3,1]', [1, 1, 1, 0]),
    (CONV, STATIC, 'auto_pad="VALID"', [0, 0, 0, 0]),
    (CONV, STATIC, "pads=[0,1,2,0]", None),
    (CONV, DYNAMIC, 'auto_pad="SAME_UPPER"', [1, 0, 1, 1]),
    (CONV, DYNAMIC, 'auto_pad="SAME_UPPER", strides=[2,1]', None),
    (CONV, "float[N,2,7,L] x", 'auto_pad="SAME_UPPER", strides=[2,1]', [1, 0, 1, 1]),
    (CONV, DYNAMIC, 'auto_pad="VALID", strides=[2,1]', [0, 0, 0, 0]),
    (TRANSPOSED, STATIC, 'auto_pad="SAME_UPPER", strides=[2,1]', [0, 0, 1, 1]),
    (TRANSPOSED, DYNAMIC, 'auto_pad="SAME_LOWER", strides=[2,2]', [1, 0, 0, 0]),
    (TRANSPOSED, STATIC, 'auto_pad="SAME_LOWER", strides=[4,1]', None),
    (TRANSPOSED, STATIC, "output_shape=[14,11], strides=[2,2]", [1, 1, 0, 0]),
    (TRANSPOSED, DYNAMIC, "output_shape=[14,11], strides=[2,2]", None),
    (TRANSPOSED, STATIC, 'auto_pad="VALID", strides=[2,2]', [0, 0, 0, 0]),
    # With auto_pad the output_padding adds to the pads, not to the output.
    (TRANSPOSED, STATIC, 'auto_pad="SAME_UPPER", strides=[2,2], output_padding=[1,1]', [1, 0, 1, 1]),
    (TRANSPOSED, STATIC, 'auto_pad="SAME_LOWER", strides=[2,2], output_padding=[0,1]', [1, 1, 0, 0]),
    (TRANSPOSED, DYNAMIC, 'auto_pad="SAME_LOWER", strides=[2,2], output_padding=[1,0]', [1, 0, 1, 0]),
    (TRANSPOSED, STATIC, 'auto_pad="VALID", strides=[2,2], output_padding=[1,1]', [0, 0, 0, 0]),
    # ONNX Runtime does not read the pads of a pool beside auto_pad.
    *((kind, STATIC, 'auto_pad="SAME_UPPER", pads=[1,1,1,1]', [1, 0, 1, 1]) for kind in DILATED),
    *((kind, STATIC, 'auto_pad="VALID", pads=[1,1,1,1]', [0, 0, 0, 0]) for kind in DILATED),
    *((kind, STATIC, 'auto_pad="VALID", ceil_mode=1, strides=[3,2]', [0, 0, 2, 0]) for kind in DILATED),
    (MAX, STATIC, "ceil_mode=1, strides=[3,2]", [0, 0, 2, 0]),
    (MAX, STATIC, "ceil_mode=1, strides=[2,2], pads=[1,0,0,0]", [1, 0, 1, 0]),
    (MAX, DYNAMIC, "ceil_mode=1, strides=[3,3]", None),
    (MAX, STATIC, 'auto_pad="SAME_UPPER", strides=[2,2]', [1, 0, 1, 0]),
    (MAX, STATIC, 'auto_pad="SAME_UPPER", strides=[2,2], ceil_mode=1', [1, 0, 1, 0]),
    (MEAN, STATIC, "ceil_mode=1, strides=[3,2]", [0, 0, 2, 0]),
    # A longer border would count, and without ceil_mode ONNX Runtime sums in another order.
    (MEAN, STATIC, "ceil_mode=1, strides=[3,2], count_include_pad=1", None),
    (MEAN, STATIC, "ceil_mode=1, strides=[2,2], count_include_pad=1", None),
    (NORM, STATIC, "ceil_mode=1, strides=[3,2]", [0, 0, 2, 0]),
    (MEAN, STATIC, 'auto_pad="SAME_LOWER", strides=[2,2], count_include_pad=1', [1, 0, 1, 0]),
    (NORM, STATIC, 'auto_pad="SAME_LOWER"', [1, 1, 1, 0]),
    # ONNX Runtime pads pools as if they were not dilated, where ONNX has one window for each stride.
    *((pool, STATIC, 'auto_pad="SAME_UPPER", dilations=[2,3]', [1, 0, 1, 1]) for pool in DILATED),
    *((pool, STATIC, 'auto_pad="SAME_LOWER", dilations=[2,4]', [1, 1, 1, 0]) for pool in DILATED),
    *(
        (pool, STATIC, 'auto_pad="SAME_LOWER", strides=[2,2], dilations=[1,2]', [1, 0, 1, 0])
        for pool in DILATED
    ),
    *((pool, DYNAMIC, 'auto_pad="SAME_UPPER", dilations=[2,2]', [1, 0, 1, 1]) for pool in DILATED),
    *((pool, DYNAMIC, 'auto_pad="SAME_UPPER", strides=[2,2], dilations=[2,2]', None) for pool in DILATED),
]


@pytest.mark.parametrize(("node", "x", "attributes", "pads"), CASES)
def test_pads(node, x, attributes, pads):
    weights = [DEEP if node is TRANSPOSED else W] if "w)" in node else []
    opset = 19 if "dilations" in attributes else 18
    model = parse(f"g ({', '.join([x, *weights])}) => (float[N,C,M,K] y) {{ {node % attributes} }}", opset)
    loaded = load(model)
    (found,) = loaded.graph
    kept = {"auto_pad", "output_shape", "ceil_mode"} & set(found.attributes)
    if pads is None:
        assert kept or "auto" not in attributes
        given = model.graph.node[0].attribute
        assert {a.name for a in given} <= set(found.attributes)
    else:
        assert not kept
        assert list(found.attributes.get_ints("pads")) == pads
    feeds = {
        value.name: np.random.default_rng(0)
        .normal(
            size=[
                d.dim_value or {"H": 7, "L": 6}.get(d.dim_param, 2) for d in value.type.tensor_type.shape.dim
            ]
        )
        .astype(np.float32)
        for value in model.graph.input
    }
    expected, got = (run(m, **feeds)["y"] for m in (model, ir.serde.serialize_model(loaded)))
    np.testing.assert_array_equal(got, expected)
    if "dilations" in attributes:
        check_vjp(model, feeds, runtime="onnxruntime", step=1e-3, tolerance=5e-3)


@pytest.mark.parametrize(
    ("node", "size"),
    [
        ('Conv<kernel_shape=[1], strides=[4], auto_pad="SAME_UPPER">(x, w)', 8),
        ('Conv<kernel_shape=[1], strides=[4], auto_pad="SAME_LOWER">(x, w)', 8),
        ('AveragePool<kernel_shape=[1], strides=[3], auto_pad="SAME_UPPER">(x)', 6),
        ('LpPool<kernel_shape=[2], strides=[4], auto_pad="SAME_UPPER">(x)', "L"),
        ('MaxPool<kernel_shape=[2], strides=[3], dilations=[3], auto_pad="SAME_LOWER">(x)', 6),
    ],
)
def test_negative_padding_is_refused(node, size):
    """ONNX Runtime begins such windows behind the start, ONNX and other runtimes at the start."""
    model = parse(f"g (float[N,1,{size}] x) => (float[N,1,M] y) <float[1,1,1] w = {{2}}> {{ y = {node} }}")
    with pytest.raises(ModelError, match="in place of auto_pad"):
        load(model)


@pytest.mark.parametrize(
    "node",
    [
        'MaxPool<kernel_shape=[3,3], strides=[2,2], auto_pad="SAME_UPPER">(v)',
        'Conv<strides=[2,2], auto_pad="SAME_UPPER">(v, w)',
        "MaxPool<kernel_shape=[3,3], strides=[2,2], ceil_mode=1>(v)",
    ],
)
def test_sizes_that_a_file_declares_move_no_window(node):
    """v is 8 x 8 and declared 7 x 7; what a Reshape gives has no rank where their number is open."""
    model = parse(
        "g (float[1,1,64] x, float[4] sizes, float[1,1,3,3] w) => (float[1,1,M,K] y) <float[1,1,7,7] v> "
        f"{{ n = Cast<to=7>(sizes) b = Cast<to=9>(sizes) m = Compress(n, b) v = Reshape(x, m) y = {node} }}"
    )
    rng = np.random.default_rng(0)
    feeds = {"x": rng.normal(size=(1, 1, 64)).astype("f"), "sizes": np.array([1, 1, 8, 8], "f")}
    feeds["w"] = rng.normal(size=(1, 1, 3, 3)).astype("f")
    np.testing.assert_array_equal(
        run(ir.serde.serialize_model(load(model)), **feeds)["y"], run(model, **feeds)["y"]
    )
