"""By rewrite of the backward graph: small models, and whether its pattern is in their gradients."""

IMAGE = "g (float[N,2,6,6] x) => (float[N,2,3,3] y)"
POOL = "y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r) }"
BOUNDS = "<float a = {0.0}, float b = {1.0}>"
CONV = "g (float[N,8,6,6] x, float[4,8,3,3] w) => (float[N,4,M,L] y)"
FEW = "g (float[N,3,6,6] x, float[4,3,3,3] w) => (float[N,4,4,4] y)"
DEPTHWISE = "g (float[N,3,8,8] x, float[3,1,3,3] w) => (float[N,3,M,L] y)"
MULTIPLIED = "g (float[N,3,8,8] x, float[6,1,3,3] w) => (float[N,6,M,L] y)"
SERIES = "g (float[N,8,9] x, float[4,8,3] w) => (float[N,4,L] y)"
NUMBERS = ",".join(str((7 * i) % 11 - 5) for i in range(36))
SQUARE = f"g (float[N,2,6,6] x) => (float[N,2,M,L] y) <float[2,2,3,3] w = {{{NUMBERS}}}>"
WEIGHT = "<float[3,4] w = {1,-2,3,4,5,-6,7,8,9,-1,2,3}> { y = MatMul(x, w) }"
MATRIX = "g (float[N,3] x) => (float[N,3] y) <float[3,3] w = {1,-2,3,4,5,-6,7,8,9}>"
QUANTISED = (
    "g (float[N,3] x) => (float[N,3] y) <int8[3,3] w = {1,-2,3,4,5,-6,7,8,9}, float s = {0.1}, int8 z = {2},"
    " float[3] v = {0.1,0.2,0.3}>"
)
RELU6 = "g (float[N,8,6,6] x, float[8,8,3,3] w) => (float[N,8,M,L] y) <float a = {0.0}, float b = {6.0}>"
CHANNELS, ONE_COLUMN = "<float[1,4,1,1] k = {1,2,3,4}>", "<float[1,1,1,4] k = {1,2,3,4}>"
SCALES = "<float[8,1,1] k = {1,-2,3,4,-5,6,7,8}>"
ONE_NUMBER, THREE = "<float k = {2.0}>", "<float[1,3,1,1] k = {1,-2,3}>"
LSTM = "g (float[3,N,2] x, float[1,20,2] w, float[1,20,5] r) => (float[3,1,N,5] y) { y = LSTM<hidden_size=5>(x, w, r) }"


def channels(count: int) -> str:
    """A normalisation of so many channels by constants."""
    return (
        f"g (float[N,{count}] x) => (float[N,{count}] y) <float[{count}] v = {{{','.join(['2'] * count)}}}>"
        " { y = BatchNormalization(x, v, v, v, v) }"
    )


def slices(*ends: tuple[int, int], size: int | str = 6, more: str = "y = Identity(p)") -> str:
    """The product of the sums of slices of each row."""
    numbers = ", ".join(f"int64[1] n{number} = {{{number}}}" for number in range(8))
    parts = [
        f"s{i} = Slice(x, n{start}, n{end}, n1) r{i} = ReduceSum<keepdims=1>(s{i}, n1)"
        for i, (start, end) in enumerate(ends)
    ]
    product = "q = Mul(r0, r1) p = " + ("Mul(q, r2)" if len(ends) > 2 else "Identity(q)")
    return f"g (float[N,{size}] x) => (float[N,L] y) <{numbers}> {{ {' '.join(parts)} {product} {more} }}"


NORMAL = (
    "g ({t}[{n}] x) => ({t}[{n}] y) <{t}[3] s = {{1,-2,3}}, {t}[3] b = {{4,5,6}}, {t}[3] m = {{1,2,3}},"
    " {t}[3] v = {{2,3,5}}> {{ y = BatchNormalization(x, s, b, m, v) }}"
)
# By rewrite: models, and whether its pattern is in their gradients.
BLOCK = "g (float[N,16,6,6] x) => (float[N,16,h,w] y)"
EACH = {
    "ones": [(LSTM, True), ("g (float[N,3] x) => (float[N,3] y) { y = Tanh(x) }", False)],
    "outer": [
        ("g (float[N,3,1,4] w, float[N,3,4,5] x) => (float[N,3,1,5] y) { y = MatMul(w, x) }", True),
        ("g (float[N,3,4,1] w, float[1,5] x) => (float[N,3,4,5] y) { y = MatMul(w, x) }", False),
        ("g (float[N,2,4] w, float[4,5] x) => (float[N,2,5] y) { y = MatMul(w, x) }", False),
    ],
    "side_by_side": [
        (slices((0, 3), (3, 6)), True),
        (slices((4, 6), (0, 2), (2, 4)), True),
        (slices((1, 2), (2, 4), more="t = Tanh(x) e = Exp(x) u = Mul(t, e) y = Mul(u, p)"), True),
        (
            "g (float[3,N,4] x) => (float[N,4] y) <int64 h = {0}, int64 i = {1}, int64 j = {2}> "
            "{ a = Gather(x, h) b = Gather(x, i) c = Gather(x, j) d = Mul(a, b) y = Mul(d, c) }",
            True,
        ),
        # A gap, places in two slices, a slice alone, whole rows, lengths that a run decides, another axis.
        (slices((0, 2), (3, 6)), False),
        (slices((0, 4), (2, 6)), False),
        (slices((0, 3), (0, 6)), False),
        (slices((0, 3), (0, 7)), False),
        (slices((0, 3), (3, 6), size="T"), False),
        (
            "g (float[4,6] x) => (float y) <int64[1] o = {0}, int64[1] two = {2}, int64[1] one = {1}> "
            "{ a = Slice(x, o, two, o) b = Slice(x, o, two, one) c = ReduceSum<keepdims=0>(a) "
            "d = ReduceSum<keepdims=0>(b) y = Mul(c, d) }",
            False,
        ),
    ],
    "weight_as_it_is": [
        (f"g (float[N,3] x) => (float[N,4] y) {WEIGHT}", True),
        (f"g (float[N,5,3] x) => (float[N,5,4] y) {WEIGHT}", True),
        (f"g (float[2,T,3] x) => (float[2,T,4] y) {WEIGHT}", True),
        (f"g (float[N,2,5,3] x) => (float[N,2,5,4] y) {WEIGHT}", True),
        (f"{MATRIX} {{ y = MatMul(x, w) }}", True),
        (
            "g (float[N,3] x, float[4,3] v) => (float[N,4] y) { w = Transpose<perm=[1,0]>(v) y = MatMul(x, w) }",
            False,
        ),
        (f"g (float[N,T,3] x) => (float[N,T,4] y) {WEIGHT}", False),
        ("g (float[N,3] x, float[3,4] w) => (float[N,4] y) { y = MatMul(x, w) }", False),
        (
            "g (float[N,2,3] x) => (float[N,2,2] y) <float[1,3,2] w = {1,2,3,4,5,6}> { y = MatMul(x, w) }",
            False,
        ),
    ],
    "mask_before_pool": [
        (f"{IMAGE} {{ r = Relu(x) {POOL}", True),
        (f"{IMAGE} {BOUNDS} {{ r = Relu(x) s = Neg(r) {POOL.replace('(r)', '(s)')}", False),
        (f"{IMAGE.replace('y)', 'y, float[N,2,6,6] z)')} {{ r = Relu(x) z = Tanh(r) {POOL}", False),
        (
            "g (float[N,2,4,4,4] x) => (float[N,2,2,2,2] y)"
            " { r = Relu(x) y = MaxPool<kernel_shape=[2,2,2], strides=[2,2,2]>(r) }",
            True,
        ),
        ("g (float[N,2,9] x) => (float[N,2,7] y) { r = Relu(x) y = MaxPool<kernel_shape=[3]>(r) }", True),
        (f"{IMAGE} {{ r = Relu(x) y = AveragePool<kernel_shape=[2,2], strides=[2,2]>(r) }}", False),
    ],
    "pool_by_convs": [
        (f"{BLOCK} {{ y = MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[0,0,1,1]>(x) }}", True),
        (f"{BLOCK} {{ y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x) }}", True),
        (f"{BLOCK} {{ y = MaxPool<kernel_shape=[1,3], pads=[0,1,0,1]>(x) }}", True),
        (f'{BLOCK} {{ y = MaxPool<kernel_shape=[3,2], auto_pad="SAME_LOWER">(x) }}', True),
        (f"{BLOCK} {{ r = Relu(x) y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r) }}", True),
        # Elements that are in no window.
        (f"{BLOCK} {{ y = MaxPool<kernel_shape=[2,2], strides=[3,2]>(x) }}", False),
        (f"{BLOCK} {{ y = AveragePool<kernel_shape=[2,2], strides=[2,2]>(x) }}", False),
        (f"{BLOCK.replace('6,6]', 'H,W]')} {{ y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x) }}", False),
        (f"{BLOCK.replace('float', 'double')} {{ y = MaxPool<kernel_shape=[2,2]>(x) }}", False),
        (f"{BLOCK.replace('16', '24')} {{ y = MaxPool<kernel_shape=[2,2]>(x) }}", False),
        ("g (float[N,16,9] x) => (float[N,16,7] y) { y = MaxPool<kernel_shape=[3]>(x) }", False),
        # Infinite numbers have no difference.
        (f"{BLOCK} {{ l = Log(x) y = MaxPool<kernel_shape=[2,2]>(l) }}", False),
        (f"{BLOCK} {{ q = Abs(x) p = MaxPool<kernel_shape=[2,2]>(q) y = Sqrt(p) }}", False),
    ],
    "mask_by_steps": [
        ("g (float[N,3] x) => (float[N,3] y) { y = Relu(x) }", True),
        ("g (float[N,3] x) => (float[N,3] y) { y = HardSigmoid(x) }", True),
        ("g (float[N,3] x) => (float[N,3] y) { y = ThresholdedRelu<alpha=0.25>(x) }", True),
        # An infinite cotangent would be multiplied with 0.
        ("g (float[N,3] x) => (float[N,3] y) { r = Relu(x) y = Sqrt(r) }", False),
        ("g (float16[N,3] x) => (float16[N,3] y) { y = Relu(x) }", False),
    ],
    "mask_by_conv": [
        (f"{RELU6} {{ c = Conv(x, w) y = Clip(c, a, b) }}", True),
        (f"{RELU6} {{ c = Conv(x, w) d = Mul(c, b) y = Clip(d, a, b) }}", True),
        (f"{RELU6} {{ c = Conv(x, w) y = HardSigmoid(c) }}", True),
        (f"{RELU6} {{ c = Conv(x, w) y = Relu(c) }}", False),
        (f"{RELU6} {{ c = Conv(x, w) y = HardSwish(c) }}", False),
        (f"{RELU6} {{ c = Conv(x, w) d = Clip(c, a, b) y = Sqrt(d) }}", False),
        (f"{RELU6} {{ c = Tanh(x) y = Clip(c, a, b) }}", False),
        (f"{FEW} <float a = {{0.0}}, float b = {{6.0}}> {{ c = Conv(x, w) y = Clip(c, a, b) }}", False),
        (f"{SERIES} <float a = {{0.0}}, float b = {{6.0}}> {{ c = Conv(x, w) y = Clip(c, a, b) }}", False),
    ],
    "mask_by_product": [
        (f"{IMAGE} {{ r = Tanh(x) {POOL}", True),
        ("g (float[N,2,9] x) => (float[N,2,7] y) { y = MaxPool<kernel_shape=[3]>(x) }", True),
        (
            "g (float[N,2,9] x) => (float[N,2,7] z) { q = Abs(x) y = MaxPool<kernel_shape=[3]>(q) z = Sqrt(y) }",
            False,
        ),
    ],
    "scale_in_kernel": [
        (f"{CONV} {CHANNELS} {{ c = Conv(x, w) y = Mul(c, k) }}", True),
        (f"{CONV} {CHANNELS} {{ c = Conv<strides=[2,2], pads=[1,1,1,1]>(x, w) y = Mul(k, c) }}", True),
        (f"{CONV} {ONE_COLUMN} {{ c = Conv(x, w) y = Mul(c, k) }}", False),
        (f"{CONV} {{ c = Conv(x, w) y = Mul(c, c) }}", False),
    ],
    "scale_through_mask": [
        (f"{CONV} {SCALES} {{ s = Mul(x, k) r = Relu(s) y = Conv(r, w) }}", True),
        (
            f"{CONV} {SCALES} {{ s = Mul(k, x) r = Relu(s) y = Conv<strides=[2,2], pads=[1,1,1,1]>(r, w) }}",
            True,
        ),
        (f"{DEPTHWISE} {THREE} {{ s = Mul(x, k) r = Relu(s) y = Conv<group=3>(r, w) }}", True),
        # Several kernels for each channel.
        (f"{MULTIPLIED} {THREE} {{ s = Mul(x, k) r = Relu(s) y = Conv<group=3>(r, w) }}", True),
        (
            f"{MULTIPLIED} {THREE} {{ s = Mul(k, x) r = Relu(s)"
            " y = Conv<group=3, strides=[2,2], pads=[1,1,1,1]>(r, w) }",
            True,
        ),
        (
            "g (float[N,3,9] x, float[9,1,3] w) => (float[N,9,L] y) <float[3,1] k = {1,-2,3}>"
            " { s = Mul(x, k) r = Relu(s) y = Conv<group=3>(r, w) }",
            True,
        ),
        (f"{CONV} {ONE_NUMBER} {{ s = Mul(x, k) r = Relu(s) y = Conv(r, w) }}", False),
        (f"{CONV} {SCALES} {{ s = Mul(x, k) r = Tanh(s) y = Conv(r, w) }}", False),
        (f"{CONV} {SCALES} {{ s = Mul(x, k) y = Conv(s, w) }}", False),
        # What the convolution gives is read twice.
        (f"{CONV} {SCALES} {{ s = Mul(x, k) r = Relu(s) q = Relu(s) t = Add(r, q) y = Conv(t, w) }}", False),
        # A group of several channels.
        (
            "g (float[N,4,6,6] x, float[4,2,3,3] w) => (float[N,4,M,L] y) <float[4,1,1] k = {1,2,3,4}>"
            " { s = Mul(x, k) r = Relu(s) y = Conv<group=2>(r, w) }",
            False,
        ),
    ],
    "conv_at_stride_1": [
        (f"{CONV} {{ y = Conv<pads=[1,2,0,1]>(x, w) }}", True),
        (f"{CONV} {{ y = Conv<dilations=[2,1]>(x, w) }}", True),
        (f"{SERIES} {{ y = Conv(x, w) }}", True),
        (f'{SERIES.replace("9", "T")} {{ y = Conv<auto_pad="SAME_UPPER">(x, w) }}', True),
        (f'{DEPTHWISE} {{ y = Conv<group=3, auto_pad="SAME_UPPER">(x, w) }}', True),
        (f'{MULTIPLIED} {{ y = Conv<group=3, auto_pad="SAME_UPPER">(x, w) }}', True),
        (f"{FEW} {{ y = Conv(x, w) }}", False),
        (f"{CONV} {{ y = Conv<pads=[3,0,0,0]>(x, w) }}", False),
        (f"{CONV} {{ y = Conv<strides=[1,2]>(x, w) }}", False),
    ],
    "spaced_depthwise": [
        (f"{DEPTHWISE} {{ y = Conv<group=3, strides=[2,2], pads=[0,0,1,1]>(x, w) }}", True),
        (f"{DEPTHWISE} {{ y = Conv<group=3, strides=[3,2]>(x, w) }}", True),
        (f"{DEPTHWISE} {{ y = Conv<group=3, strides=[1,2]>(x, w) }}", False),
        (f"{DEPTHWISE} {{ y = Conv<group=3, strides=[2,2], pads=[3,3,3,3]>(x, w) }}", False),
        (f"{CONV} {{ y = Conv<strides=[2,2]>(x, w) }}", False),
    ],
    "crop_in_conv": [
        (
            f"{CONV} <int64[8] p = {{0,0,0,0,0,0,1,1}}> {{ r = Pad(x, p) y = Conv<strides=[2,2]>(r, w) }}",
            True,
        ),
        (f"{SERIES} <int64[6] p = {{0,0,1,0,0,2}}> {{ r = Pad(x, p) y = Conv(r, w) }}", True),
        (f"{SERIES} <int64[6] p = {{0,0,-1,0,0,2}}> {{ r = Pad(x, p) y = Conv(r, w) }}", False),
        # Wider than what the gradient's convolution is padded with: its pads would be negative.
        (
            "g (float[N,8,9] x, float[8,4,3] w) => (float[N,4,L] y) <int64[6] p = {0,0,1,0,0,2}>"
            " { r = Pad(x, p) y = ConvTranspose<pads=[0,1]>(r, w) }",
            False,
        ),
        (f"{CONV} <int64[8] p = {{0,1,0,0,0,-1,1,1}}> {{ r = Pad(x, p) y = Conv(r, w) }}", False),
        (
            f"{SERIES} <int64[6] p = {{0,0,1,0,0,2}}> {{ r = Pad(x, p) y = MaxPool<kernel_shape=[3]>(r) }}",
            False,
        ),
    ],
    "even_pads": [
        *(
            (f"{CONV} {{ y = Conv<strides=[{strides}], pads=[{pads}]>(x, w) }}", uneven)
            for strides, pads, uneven in [
                ("2,2", "0,0,1,1", True),
                ("3,2", "2,0,0,1", True),
                ("2,2", "0,2,2,0", True),
                ("1,1", "0,2,1,0", True),
                ("2,2", "1,1,1,1", False),
                ("3,3", "2,2,0,1", True),
                ("2,1", "0,0,0,2", True),
            ]
        ),
        (f"{SERIES} {{ y = Conv<strides=[3], pads=[2,0]>(x, w) }}", True),
        (f"{CONV} {{ y = Conv<strides=[2,2], dilations=[2,1], pads=[0,1,1,0]>(x, w) }}", True),
    ],
    "own_kernel": [
        (f"{SQUARE} {{ y = Conv<strides=[2,2], pads=[1,1,1,1]>(x, w) }}", True),
        (f"{SQUARE} {{ y = Conv<pads=[1,1,1,1]>(x, w) }}", True),
        (f"{MATRIX} {{ y = MatMul(x, w) }}", True),
        (f"{MATRIX} {{ y = Gemm(x, w) }}", True),
        (f"{MATRIX} {{ y = Gemm<transB=1>(x, w) }}", True),
        ("g (float[N,3] x) => (float[N,2] y) <float[3,2] w = {1,2,3,4,5,6}> { y = MatMul(x, w) }", False),
        (f"{CONV} {{ y = Conv<strides=[2,2]>(x, w) }}", False),
    ],
    "weight_in_floats": [
        (f"{QUANTISED} {{ r = DequantizeLinear(w, s, z) y = MatMul(x, r) }}", True),
        (
            f"{QUANTISED} {{ r = DequantizeLinear<axis=0>(w, v) t = Transpose<perm=[1,0]>(r)"
            " y = Gemm<transB=1>(x, t) }",
            True,
        ),
        (f"{QUANTISED} {{ r = DequantizeLinear<axis=0>(w, v) q = Tanh(r) y = MatMul(x, q) }}", False),
    ],
    "small_constants": [
        (NORMAL.format(t="float", n="N,3"), True),
        (NORMAL.format(t="float", n="N,3,4,2"), True),
        (NORMAL.format(t="double", n="N,3,4"), True),
        (
            "g (float[N,3,4] x) => (float[N,3,4] y) <int64 n = {2}, bool go = {1}, float[3] s = {1,-2,3},"
            " float[3] v = {4,5,7}> { y = Loop<body = l (int64 i, bool d, float[N,3,4] a) =>"
            " (bool e, float[N,3,4] o) { e = Identity(d) o = BatchNormalization(a, s, v, s, v) }>(n, go, x) }",
            True,
        ),
        (
            "g (float[N,3] x, float[3] v) => (float[N,3] y) { u = Exp(v) y = BatchNormalization(x, v, v, v, u) }",
            False,
        ),
        (channels(240), True),
        (channels(241), False),
    ],
}
EACH_ROWS = [(name, text, fits) for name, rows in EACH.items() for text, fits in rows]
