"""Models of one operator that computes in integers, and the same in the QDQ form."""

import numpy as np
import onnx

from support.tiny_graphs import parse

XQ = "q = QuantizeLinear(x, xs, xz)"
YR = "y = DequantizeLinear(r, ys, yz)"
REAL = "f = DequantizeLinear(q, xs, xz)"
HEAD = (
    "g (float[N,2,4,4] x) => (float[A,B,C,D] y) <float xs = {0.02}, uint8 xz = {120}, float ys = {0.05},"
    " uint8 yz = {128}, uint8 low = {0}, float half = {0.5}, int64[2] flat = {-1, 4}, int64[4] shape = {-1, 2, 4, 4},"
    " int64[3] rows = {-1, 4, 4}, int64[3] wide = {-1, 2, 16}>"
)
LAST, FIRST = "p = Transpose<perm=[0,2,3,1]>(q)", "r = Transpose<perm=[0,3,1,2]>(t)"
#: What is between quantised values, by operator: in integers, and in the QDQ form.
STATIC = {
    "QLinearConv": (
        "r = QLinearConv<pads=[1,1,1,1]>(q, xs, xz, w, ws, wz, ys, yz)",
        "a = DequantizeLinear<axis=0>(w, ws, wz) b = Conv<pads=[1,1,1,1]>(f, a)",
    ),
    "QLinearConv, with bias": (
        "r = QLinearConv<strides=[2,1]>(q, xs, xz, w, ws, wz, ys, yz, c)",
        "a = DequantizeLinear<axis=0>(w, ws, wz) s = Mul(xs, ws) d = DequantizeLinear<axis=0>(c, s)"
        " b = Conv<strides=[2,1]>(f, a, d)",
    ),
    "com.microsoft::QLinearConv": (
        "r = com.microsoft.QLinearConv<pads=[0,1,1,0]>(q, xs, xz, w, ws, wz, ys, yz)",
        "a = DequantizeLinear<axis=0>(w, ws, wz) b = Conv<pads=[0,1,1,0]>(f, a)",
    ),
    "com.microsoft::QLinearConv, channels last": (
        f"{LAST} t = com.microsoft.QLinearConv<channels_last=1, pads=[0,1,1,0]>"
        f"(p, xs, xz, w, ws, wz, ys, yz, c) {FIRST}",
        "a = DequantizeLinear<axis=0>(w, ws, wz) s = Mul(xs, ws) d = DequantizeLinear<axis=0>(c, s)"
        " b = Conv<pads=[0,1,1,0]>(f, a, d)",
    ),
    "QLinearMatMul": (
        "r = QLinearMatMul(q, xs, xz, m, ms, mz, ys, yz)",
        "a = DequantizeLinear(m, ms, mz) b = MatMul(f, a)",
    ),
    "QLinearAdd": ("r = com.microsoft.QLinearAdd(q, xs, xz, n, ms, xz, ys, yz)",
                   "a = DequantizeLinear(n, ms, xz) b = Add(f, a)"),
    "QLinearAdd, of one value": ("r = com.microsoft.QLinearAdd(q, xs, xz, q, xs, xz, ys, yz)", "b = Add(f, f)"),
    "QLinearMul": ("r = com.microsoft.QLinearMul(q, xs, xz, n, ms, xz, ys, yz)",
                   "a = DequantizeLinear(n, ms, xz) b = Mul(f, a)"),
    "QLinearSigmoid": ("r = com.microsoft.QLinearSigmoid(q, xs, xz, ys, yz)", "b = Sigmoid(f)"),
    "QLinearLeakyRelu": ("r = com.microsoft.QLinearLeakyRelu<alpha=0.1>(q, xs, xz, ys, yz)",
                         "b = LeakyRelu<alpha=0.1>(f)"),
    "QLinearGlobalAveragePool": ("r = com.microsoft.QLinearGlobalAveragePool(q, xs, xz, ys, yz)",
                                 "b = GlobalAveragePool(f)"),
    "QLinearAveragePool": (
        "r = com.microsoft.QLinearAveragePool<kernel_shape=[2,2], strides=[1,2], pads=[0,1,1,0]>(q, xs, xz, ys, yz)",
        "b = AveragePool<kernel_shape=[2,2], strides=[1,2], pads=[0,1,1,0]>(f)",
    ),
    "QLinearGlobalAveragePool, channels last": (
        f"{LAST} t = com.microsoft.QLinearGlobalAveragePool<channels_last=1>(p, xs, xz, ys, yz) {FIRST}",
        "b = GlobalAveragePool(f)",
    ),
    "QLinearAveragePool, channels last": (
        f"{LAST} t = com.microsoft.QLinearAveragePool<channels_last=1, kernel_shape=[2,3]>(p, xs, xz, ys, yz) {FIRST}",
        "b = AveragePool<kernel_shape=[2,3]>(f)",
    ),
    "MaxPool": (
        "r = MaxPool<kernel_shape=[3,3], strides=[2,1], pads=[1,1,1,1]>(q) y = DequantizeLinear(r, xs, xz)",
        "y = MaxPool<kernel_shape=[3,3], strides=[2,1], pads=[1,1,1,1]>(f)",
    ),
    "MaxPool, of the lowest number": (
        "h = QuantizeLinear(x, xs, low) r = MaxPool<kernel_shape=[2,2], pads=[1,1,1,1]>(h)"
        " y = DequantizeLinear(r, xs, low)",
        "h = QuantizeLinear(x, xs, low) k = DequantizeLinear(h, xs, low)"
        " y = MaxPool<kernel_shape=[2,2], pads=[1,1,1,1]>(k)",
    ),
    "NhwcMaxPool": (
        f"{LAST} t = com.microsoft.NhwcMaxPool<kernel_shape=[2,2], strides=[2,1], pads=[0,1,0,0]>(p) {FIRST}"
        " y = DequantizeLinear(r, xs, xz)",
        "y = MaxPool<kernel_shape=[2,2], strides=[2,1], pads=[0,1,0,0]>(f)",
    ),
    "QLinearWhere": (
        "g0 = Greater(x, half) r = com.microsoft.QLinearWhere(g0, q, xs, xz, n, ms, xz, ys, yz)",
        "g0 = Greater(x, half) a = DequantizeLinear(n, ms, xz) b = Where(g0, f, a)",
    ),
    "QLinearConcat": ("r = com.microsoft.QLinearConcat<axis=1>(ys, yz, q, xs, xz, q, ms, xz)",
                      "a = DequantizeLinear(q, ms, xz) b = Concat<axis=1>(f, a)"),
    "QGemm": (
        "p = Reshape(q, flat) t = com.microsoft.QGemm<transB=1, alpha=0.5>(p, xs, xz, m, ms, mz, b4, ys, yz)"
        " r = Reshape(t, shape)",
        "p = Reshape(f, flat) a = DequantizeLinear(m, ms, mz) s = Mul(xs, ms) h = Mul(s, half)"
        " d = DequantizeLinear(b4, h) g = Gemm<transB=1, alpha=0.5>(p, a, d) b = Reshape(g, shape)",
    ),
    "MatMulIntegerToFloat": (
        "y = com.microsoft.MatMulIntegerToFloat(q, m, xs, ms, xz, mz, v4)",
        "a = DequantizeLinear(m, ms, mz) b = MatMul(f, a) y = Add(b, v4)",
    ),
    "DynamicQuantizeMatMul": (
        "y = com.microsoft.DynamicQuantizeMatMul(x, m, ms, mz, v4)",
        "k, ks, kz = DynamicQuantizeLinear(x) e = DequantizeLinear(k, ks, kz) a = DequantizeLinear(m, ms, mz)"
        " b = MatMul(e, a) y = Add(b, v4)",
    ),
    "QLinearSoftmax, before opset 13": (
        "r = com.microsoft.QLinearSoftmax<axis=2, opset=12>(q, xs, xz, ys, yz)",
        "k = Reshape(f, wide) s = Softmax<axis=2>(k) b = Reshape(s, shape)",
    ),
    **{
        f"QAttention, {name}": (
            "k = Reshape(q, rows)"
            f" t = com.microsoft.QAttention<num_heads=2, {options}>(k, l, v12, xs, ls, {mask}, xz, lz)"
            " y = Reshape(t, shape)",
            "k = Reshape(f, rows) a = DequantizeLinear<axis=1>(l, ls, lz)"
            f" t = com.microsoft.Attention<num_heads=2, {options}>(k, a, v12, {mask}) y = Reshape(t, shape)",
        )
        for name, options, mask in (
            ("causal", "unidirectional=1", ""),
            ("masked", "mask_filter_value=-9.0, scale=0.7", "seen"),
        )
    },
    "QLinearSoftmax": ("r = com.microsoft.QLinearSoftmax<axis=-1, opset=17>(q, xs, xz, ys, yz)",
                       "b = Softmax<axis=-1>(f)"),
}  # fmt: skip


def static(between, integers):
    """The model of one form of a row."""
    body = [XQ, between] if integers else [XQ, REAL, between]
    if "y =" not in between:
        body += [YR] if integers else ["r = QuantizeLinear(b, ys, yz)", YR]
    model = parse(f"{HEAD} {{ {' '.join(body)} }}", 17, domains="com.microsoft")
    rng = np.random.default_rng(2)
    arrays = {
        "w": rng.integers(-90, 90, (3, 2, 3, 3)).astype(np.int8),
        "ws": rng.uniform(0.005, 0.01, 3).astype(np.float32),
        "wz": np.zeros(3, np.int8),
        "c": rng.integers(-900, 900, 3).astype(np.int32),
        "b4": rng.integers(-900, 900, 4).astype(np.int32),
        "v4": rng.normal(size=4).astype(np.float32),
        "m": rng.integers(0, 255, (4, 4)).astype(np.uint8),
        "ms": np.float32(0.008),
        "mz": np.uint8(130),
        "l": rng.integers(0, 255, (4, 12)).astype(np.uint8),
        "ls": rng.uniform(0.005, 0.01, 12).astype(np.float32),
        "lz": np.full(12, 120, np.uint8),
        "v12": rng.normal(size=12).astype(np.float32),
        "seen": np.array([[1, 1, 0, 1]] * 6, np.int32),
        "n": rng.integers(0, 255, (2, 4, 4)).astype(np.uint8),
    }
    read = {name for node in model.graph.node for name in node.input}
    for name, array in arrays.items():
        if name in read:
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    return model
