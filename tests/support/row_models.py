"""Models x -> y whose rows are apart, are not, or may be, as text; with inputs, targets and float64 differences."""

import numpy as np
import onnx
import onnxruntime
from onnx import parser

ATTENTION = """
  heads = Constant<value = int64[4] {0, 0, 2, 2}>() flat = Constant<value = int64[3] {0, 0, -1}>()
  split = Reshape(x, heads) q = Transpose<perm = [0, 2, 1, 3]>(split) k = Transpose<perm = [0, 2, 3, 1]>(split)
  s = MatMul(q, k) p = Softmax<axis = -1>(s) o = MatMul(p, q) t = Transpose<perm = [0, 2, 1, 3]>(o)
  y = Reshape(t, flat)
"""
LSTM = "W = Constant<value = float[1,4,2] {1,2,3,4,-1,-2,-3,-4}>() R = Constant<value = float[1,4,1] {1,-1,2,-2}>() "
#: Bodies of models x -> y by the shape of x; what y is like follows from them.
PROVEN = {
    "elementwise": ("N,3", "y = Tanh(x)"),
    "softmax of classes": ("N,3", "y = Softmax<axis = -1>(x)"),
    "attention, heads beside the batch": ("N,T,4", ATTENTION),
    "heads merged with the batch": (
        "N,T,4",
        """a = Constant<value = int64[4] {0, 0, 2, 2}>() b = Reshape(x, a) c = Transpose<perm = [0, 2, 1, 3]>(b)
        s = Shape(x) n = Slice(s, zero, one) l = Slice(s, one, two) h = Mul(n, two) d = Concat<axis = 0>(h, l, two)
        m = Reshape(c, d) mt = Transpose<perm = [0, 2, 1]>(m) s1 = MatMul(m, mt) p = Softmax<axis = -1>(s1)
        o = MatMul(p, m) e = Concat<axis = 0>(n, two, l, two) r = Reshape(o, e)
        t = Transpose<perm = [0, 2, 1, 3]>(r) y = Reshape(t, s)""",
    ),
    "mean over time, divided by its length": (
        "N,T,3",
        "u = ReduceSum<keepdims = 0>(x, one) s = Shape<start = 1, end = 2>(x) l = Cast<to = 1>(s) y = Div(u, l)",
    ),
    "rows of a table by position": (
        "N,T,4",
        """s = Shape(x) t = Gather(s, i1) z = Constant<value = int64 {0}>() o = Constant<value = int64 {1}>()
        r = Range(z, t, o) u = Unsqueeze(r, zero) n = Slice(s, zero, two) e = Expand(u, n)
        table = ConstantOfShape<value = float[1] {0.5}>(shape) w = CumSum(table, z) p = Gather(w, e) y = Add(x, p)""",
    ),
    "time first, inside": (
        "N,T,2",
        LSTM + "t = Transpose<perm = [1, 0, 2]>(x) Y, H, C = LSTM<hidden_size = 1>(t, W, R) y = Squeeze(H, zero)",
    ),
    "dense layer on merged time steps": (
        "N,T,2",
        """rows = Constant<value = int64[2] {-1, 2}>() m = Reshape(x, rows) w = Constant<value = float[2,2] {1,2,3,4}>()
        d = MatMul(m, w) s = Shape(x) y = Reshape(d, s)""",
    ),
    "layer norm written as batch norm": (
        "N,4",
        """n = Shape<start = 0, end = 1>(x)
        a = Unsqueeze(x, zero) g = ConstantOfShape<value = float[1] {1.0}>(n) b = ConstantOfShape(n)
        c, rm, rv = BatchNormalization<training_mode = 1>(a, g, b, b, g) y = Squeeze(c, zero)""",
    ),
    "mask of the batch's shape": (
        "N,3",
        "s = Shape(x) m = ConstantOfShape<value = float[1] {2.0}>(s) y = Mul(x, m)",
    ),
    "scan over time": (
        "N,T,2",
        """h0 = ReduceMin<keepdims = 0>(x, one)
        h, ys = Scan<num_scan_inputs = 1, scan_input_axes = [1], scan_output_axes = [1], body =
          step (float[N,2] h, float[N,2] v) => (float[N,2] g, float[N,2] o) {
            m = Mul(h, v) g = Tanh(m) o = Identity(g) }>(h0, x) y = Add(ys, x)""",
    ),
    "einsum": (
        "N,T,4",
        'w = Constant<value = float[4,2] {1,2,3,4,5,6,7,8}>() y = Einsum<equation = "...i,ij->...j">(x, w)',
    ),
}  # fmt: skip
MIXED = {
    "time first": ("T,1,2", LSTM + "Y, H, C = LSTM<hidden_size = 1>(x, W, R) y = Squeeze(Y, two)"),
    "unbatched": ("T,2", LSTM + "u = Unsqueeze(x, one) Y, H, C = LSTM<hidden_size = 1>(u, W, R) y = Squeeze(H, zero)"),
    "similarity in the batch": ("N,3", "t = Transpose<perm = [1, 0]>(x) y = MatMul(x, t)"),
    "batch statistics": (
        "N,2",
        """g = Constant<value = float[2] {1, 1}>() b = Constant<value = float[2] {0, 0}>()
        y, m, v = BatchNormalization<training_mode = 1>(x, g, b, b, g)""",
    ),
    "softmax over rows": ("N,2", "y = Softmax<axis = 0>(x)"),
    "cumulative sum over rows": ("N,2", "z = Constant<value = int64 {0}>() y = CumSum(x, z)"),
    "centred": ("N,2", "m = ReduceMean<keepdims = 1>(x, zero) y = Sub(x, m)"),
    "the other way round": (
        "N,2",
        """a = Constant<value = int64[1] {-1}>() b = Constant<value = int64[1] {-9223372036854775807}>()
        y = Slice(x, a, b, zero, a)""",
    ),
    "a graph network": ("N,N", "p = Softmax<axis = -1>(x) y = MatMul(p, x)"),
    "convolution over rows": (
        "T,2",
        """t = Transpose<perm = [1, 0]>(x) u = Unsqueeze(t, zero) w = Constant<value = float[1,2,3] {1,2,3,4,5,6}>()
        c = Conv<pads = [1, 1]>(u, w) y = Reshape(c, column)""",
    ),
    "loop over rows": (
        "T,2",
        """h0 = ReduceMin<keepdims = 0>(x, zero) h, y = Scan<num_scan_inputs = 1, body =
          step (float[2] h, float[2] v) => (float[2] g, float[2] o) {
            m = Add(h, v) g = Tanh(m) o = Identity(g) }>(h0, x)""",
    ),
    "rows moved by a step": (
        "N,2",
        """p = Constant<value = int64[4] {1, 0, 0, 0}>() q = Pad(x, p) a = Constant<value = int64[1] {-1}>()
        d = Slice(q, zero, a, zero) y = Add(x, d)""",
    ),
    "the first row": ("N,2", "f = Slice(x, zero, one, zero) y = Add(x, f)"),
    "added up into one": ("N,2", "y = ReduceSum<keepdims = 1>(x, zero)"),
}  # fmt: skip
UNDECIDED = {
    "number of rows": (("N,2", "s = Shape<start = 0, end = 1>(x) n = Cast<to = 1>(s) y = Div(x, n)"), True),
    "place among the rows": (
        (
            "N,2",
            """s = Shape(x) n = Gather(s, i0) z = Constant<value = int64 {0}>() o = Constant<value = int64 {1}>()
            r = Range(z, n, o) f = Cast<to = 1>(r) u = Unsqueeze(f, one) y = Add(x, u)""",
        ),
        True,
    ),
    "rows picked by their own numbers": (
        (
            "N,3",
            """s = Shape(x) n = Gather(s, i0) z = Constant<value = int64 {0}>() o = Constant<value = int64 {1}>()
            r = Range(z, n, o) a = ArgMax<axis = 1, keepdims = 0>(x) u = Unsqueeze(r, one) v = Unsqueeze(a, one)
            i = Concat<axis = 1>(u, v) y = GatherND(x, i)""",
        ),
        False,
    ),
}  # fmt: skip
#: Not batch statistics, in which ONNX Runtime's kernel is several percent off ONNX's definition.
COMPUTED = [name for name in MIXED if name != "batch statistics"]
ALL = PROVEN | MIXED | {name: model for name, (model, _) in UNDECIDED.items()}
STEM = """<ir_version: 8, opset_import: ["" : 18]> g (float[%s] x) => (float[%s] y)
  <int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64 i0 = {0}, int64 i1 = {1},
   int64[2] shape = {40, 4}, int64[2] column = {-1, 1}> { %s }"""
RANKS = {
    "rows picked by their own numbers": 1,
    "mean over time, divided by its length": 2,
    "time first, inside": 2,
}


def model(name) -> onnx.ModelProto:
    shape, body = ALL[name]
    rank = RANKS.get(name, 2 if name in ("time first", "unbatched") else shape.count(",") + 1)
    return parser.parse_model(STEM % (shape, ",".join("?" * rank), body))


def inputs(name, seed=0, rows=5):
    sizes = {"N": rows, "T": 5}
    shape = [sizes.get(dim) or int(dim) for dim in ALL[name][0].split(",")]
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def run(proto, **feeds):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(proto.SerializeToString(), options).run(None, feeds)


def weights(name, x, seed=1):
    shape = run(model(name), x=x)[0].shape
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def by_differences(proto, x, target, step=1e-2):
    """The gradient of the sum of the output times the targets."""
    gradient = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        shift = np.zeros_like(x)
        shift[place] = step
        up, down = (run(proto, x=x + sign * shift)[0].astype(float) for sign in (1, -1))
        gradient[place] = ((up - down) * target).sum() / (2 * step)
    return gradient


#: Methods with the options that suit small models.
METHODS = {
    "Saliency": {},
    "GradientInput": {},
    "IntegratedGradients": {"steps": 7, "baseline_value": 0.1},
    "SmoothGrad": {"nb_samples": 3},
    "SquareGrad": {"nb_samples": 3},
    "VarGrad": {"nb_samples": 3},
}
