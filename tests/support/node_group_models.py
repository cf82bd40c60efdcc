"""Models in which exporters have spelled out what is differentiated as one node, and models that are nearly those."""

from __future__ import annotations

import numpy as np
import onnx

from support.tiny_graphs import parse

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 3, 4)).astype(np.float32)
CONSTANTS = """
    <float half = {0.5}, float one = {1.0}, float two = {2.0}, float minus = {-0.5}, float root2 = {1.4142135}, float eps = {0.01},
     float near = {1.41}, float r = {0.70710677}, float quick = {1.702}, float c = {0.044715}, float three = {3.0},
     float k = {0.7978846}, float[1,1] ones = {0.01}, float zero = {0.0}, float[4] g = {0.5, 2.0, -1.0, 1.5},
     float[4] b = {1.0, -0.5, 0.25, 3.0}, float[2,1,1,4] wide = {0.5, 2.0, -1.0, 1.5, 1.0, 3.0, 0.1, -2.0},
     float[1,1,1,1] eps4 = {0.01}, float[1,1,1,1] one4 = {1.0}, float[1,1,1,1] two4 = {2.0}, int64[1] last = {-1}, int64[1] middle = {1}, int64[2] both = {1, 2}>
"""  # noqa: E501
CENTRED = "m = ReduceMean(x, last) c0 = Sub(x, m)"
VARIANCE = f"{CENTRED} q = Mul(c0, c0) v = ReduceMean(q, last)"
DEVIATION = f"{VARIANCE} e = Add(v, eps) s = Sqrt(e)"
INVERSE = f"{DEVIATION} i = Reciprocal(s)"
FACTOR = f"{INVERSE} f = Mul(i, g) p = Mul(x, f)"
ERF = "d = Div(x, root2) t = Erf(d)"
TANH = "x3 = Pow(x, three) u0 = Mul(x3, c) u1 = Add(x, u0) u = Mul(u1, k) t = Tanh(u)"

#: By what writes them: nodes from x to y.
GROUPS = {
    "softmax": ("e = Exp(x) s = ReduceSum(e, last) y = Div(e, s)", "Softmax"),
    "softmax of logarithms": ("s = ReduceLogSumExp<keepdims = 1>(x, last) d = Sub(x, s) y = Exp(d)", "Softmax"),
    "softmax of logarithms, another axis": (
        "s = ReduceLogSumExp<keepdims = 0>(x, middle) u = Unsqueeze(s, middle) d = Sub(x, u) y = Exp(d)",
        "Softmax",
    ),
    "softmax by a product": ("e = Exp(x) s = ReduceSum(e, last) i = Reciprocal(s) y = Mul(i, e)", "Softmax"),
    # Quotients
    "sigmoid of an exponential": ("e = Exp(x) s = Add(one, e) y = Div(e, s)", "Quotient"),
    "sigmoid by a reciprocal": ("e = Exp(x) s = Add(e, one) i = Reciprocal(s) y = Mul(i, e)", "Quotient"),
    "sigmoid by one over": ("e = Exp(x) s = Add(e, half) i = Div(one, s) h = Mul(e, two) y = Mul(h, i)", "Quotient"),
    "tanh of exponentials": (
        "n = Neg(x) a = Exp(x) c0 = Exp(n) d = Sub(a, c0) s = Add(a, c0) y = Div(d, s)", "Quotient",
    ),
    "tanh of one exponential": ("e = Exp(x) d = Sub(one, e) s = Add(e, one) y = Div(d, s)", "Quotient"),
    "saturation with constants": (
        "a = Exp(x) h = Mul(a, three) d = Sub(h, ones) t = Div(a, half) u = Add(ones, t) w = Exp(g) s = Add(u, w) "
        "y = Div(d, s)",
        "Quotient",
    ),
    "term of another shape": (
        "a = Exp(x) r0 = ReduceMean(a, last) s = Add(a, r0) d = Sub(a, r0) y = Div(d, s)", "Quotient",
    ),
    "of three terms": (
        "n = Neg(x) a = Exp(x) c0 = Exp(n) q = Mul(x, x) u = Add(a, q) s = Add(u, c0) d = Sub(u, c0) y = Div(d, s)",
        "Quotient",
    ),
    "share of squares": ("q = Mul(x, x) s = ReduceSum(q, last) y = Div(q, s)", "Quotient"),
    "share by a reciprocal": ("a = Abs(x) s = ReduceSum(a, middle) i = Reciprocal(s) y = Mul(a, i)", "Quotient"),
    "share of powers that are read": ("e = Exp(x) s = ReduceSum(e, last) z = Div(e, s) y = Add(z, e)", "Quotient"),
    "share of a sum that is read": ("e = Exp(x) s = ReduceSum(e, last) z = Div(e, s) y = Sub(z, s)", "Quotient"),
    "softsign": ("a = Abs(x) s = Add(a, one) y = Div(x, s)", "Quotient"),
    "softsign of other numbers": (
        "a = Abs(x) t = Mul(a, three) q = Mul(x, x) u = Add(t, q) s = Add(u, half) h = Mul(x, two) y = Div(h, s)",
        "Quotient",
    ),
    # LayerNormalization
    "torch layer norm": (
        f"{CENTRED} q = Pow(c0, two) v = ReduceMean(q, last) e = Add(v, eps) s = Sqrt(e) z = Div(c0, s) h = Mul(z, g) "
        "y = Add(h, b)",
        "Standardize",
    ),
    "keras layer norm, no beta": (f"{FACTOR} n = Neg(m) o = Mul(n, f) y = Add(p, o)", "LayerNormalization"),
    "keras layer norm": (
        f"{FACTOR} n = Neg(m) o = Mul(n, f) w = Add(o, b) y = Add(p, w)",
        "LayerNormalization",
    ),
    "tensorflow's batch normalization": (
        f"{FACTOR} o = Mul(m, f) w = Sub(b, o) y = Add(w, p)",
        "LayerNormalization",
    ),
    "mean times factor subtracted": (f"{FACTOR} o = Mul(f, m) y = Sub(p, o)", "LayerNormalization"),
    "negative product": (f"{FACTOR} o = Mul(f, m) n = Neg(o) y = Add(n, p)", "LayerNormalization"),
    "neither gain nor offset": (f"{INVERSE} p = Mul(x, i) o = Mul(m, i) y = Sub(p, o)", "LayerNormalization"),
    "gain over deviation": (f"{DEVIATION} f = Div(g, s) p = Mul(x, f) o = Mul(m, f) y = Sub(p, o)",
                            "LayerNormalization"),
    "by a power": (f"{VARIANCE} e = Add(eps, v) i = Pow(e, minus) y = Mul(i, c0)", "Standardize"),
    "one over the root": (f"{DEVIATION} i = Div(one, s) y = Mul(c0, i)", "Standardize"),
    "two differences": (f"{DEVIATION} c1 = Sub(x, m) y = Div(c1, s)", "Standardize"),
    "two means": (f"{DEVIATION} m1 = ReduceMean(x, last) c1 = Sub(x, m1) y = Div(c1, s)", "Standardize"),
    "two axes": (
        "m = ReduceMean(x, both) c0 = Sub(x, m) q = Mul(c0, c0) v = ReduceMean(q, both) e = Add(v, eps) s = Sqrt(e) "
        "y = Div(c0, s)",
        "Standardize",
    ),
    "average pool": (
        "m = GlobalAveragePool(x) c0 = Sub(x, m) q = Mul(c0, c0) v = GlobalAveragePool(q) e = Add(v, ones) s = Sqrt(e) "
        "y = Div(c0, s)",
        "Standardize",
    ),
    "root mean square": (
        "q = Pow(x, two) v = ReduceMean(q, last) e = Add(v, eps) s = Sqrt(e) i = Reciprocal(s) h = Mul(x, i) "
        "y = Mul(h, g)",
        "Standardize",
    ),
    "centred over another axis": (
        f"{CENTRED} q = Mul(c0, c0) v = ReduceMean(q, middle) e = Add(v, eps) s = Sqrt(e) z = Div(c0, s) y = Mul(z, g)",
        "Standardize",
    ),
    # GELU
    "torch gelu": (f"{ERF} a = Add(t, one) w = Mul(x, a) y = Mul(w, half)", "Gelu"),
    "keras gelu": (
        "h = Mul(half, x) n = Neg(x) d = Mul(n, r) t = Erf(d) a = Sub(one, t) y = Mul(h, a)",
        "Gelu",
    ),
    "gelu by probability": (f"{ERF} a = Add(one, t) w = Mul(a, half) y = Mul(x, w)", "Gelu"),
    "gelu of a product": (f"x_ = Mul(x, g) {ERF.replace('x,', 'x_,')} a = Add(t, one) h = Mul(x_, half) y = Mul(h, a)",
                          "Gelu"),
    "gelu of a double": ("x_ = Mul(x, two) d = Mul(x_, r) t = Erf(d) a = Add(t, one) h = Mul(x_, half) y = Mul(h, a)",
                         "Gelu"),
    "tanh gelu": (f"{TANH} a = Add(t, one) h = Mul(x, half) y = Mul(h, a)", "Gelu"),
    "tanh gelu by squares": (
        "x2 = Mul(x, x) c1 = Mul(c, x2) i1 = Add(c1, one) k1 = Mul(x, k) u = Mul(k1, i1) t = Tanh(u) a = Add(one, t) "
        "w = Mul(a, half) y = Mul(x, w)",
        "Gelu",
    ),
    # Swish
    "swish": ("t = Sigmoid(x) y = Mul(x, t)", "Swish"),
    "quick gelu": ("d = Mul(x, quick) t = Sigmoid(d) y = Mul(x, t)", "Swish"),
}  # fmt: skip
NEAR_MISSES = {
    "powers over two axes": "e = Exp(x) s = ReduceSum(e, both) y = Div(e, s)",
    "powers of another value": "e = Exp(x) n = Neg(x) f = Exp(n) s = ReduceSum(f, last) y = Div(e, s)",
    "logarithms of another value": "n = Neg(x) s = ReduceLogSumExp(n, last) d = Sub(x, s) y = Exp(d)",
    "logarithms over two axes": "s = ReduceLogSumExp(x, both) d = Sub(x, s) y = Exp(d)",
    "a sum over powers": "e = Exp(x) s = ReduceSum(e, last) y = Div(s, e)",
    "a share over two axes": "q = Mul(x, x) s = ReduceSum(q, both) y = Div(q, s)",
    "a share of an average": "q = Mul(x, x) s = ReduceMean(q, last) y = Div(q, s)",
    "no term of both sums": "e = Exp(x) n = Neg(x) f = Exp(n) s = Add(one, f) y = Div(e, s)",
    "a constant of both sums": "e = Exp(x) d = Add(e, ones) q = Mul(x, x) s = Add(q, ones) y = Div(d, s)",
    "a term and its square": "e = Exp(x) q = Mul(e, e) s = Add(q, one) y = Div(e, s)",
    "the size of another value": "n = Mul(x, x) a = Abs(b) s = Add(a, one) y = Div(n, s)",
    "epsilon beside the root": f"{VARIANCE} s0 = Sqrt(v) s = Add(s0, eps) y = Div(c0, s)",
    "no epsilon above 0": f"{VARIANCE} e = Add(v, zero) s = Sqrt(e) z = Div(c0, s) y = Mul(z, x)",
    "a sum": f"{CENTRED} q = Mul(c0, c0) v = ReduceSum(q, last) e = Add(v, eps) s = Sqrt(e) y = Div(c0, s)",
    "a cube": f"{CENTRED} q0 = Mul(c0, c0) q = Mul(q0, c0) v0 = ReduceMean(q, last) v = Abs(v0) e = Add(v, eps) "
    "s = Sqrt(e) y = Div(c0, s)",
    "another root": f"{DEVIATION} s1 = Sqrt(s) y = Div(c0, s1)",
    "upside down": f"{CENTRED} q0 = Mul(c0, c0) q = Add(q0, one) v = ReduceMean(q, last) e = Add(v, eps) s = Sqrt(e) "
    "c1 = Add(q, one) y = Div(s, c1)",
    "the mean of something else": f"{CENTRED} w = Mul(x, g) n = ReduceMean(w, last) d = Sub(x, n) q = Mul(d, d) "
    "v = ReduceMean(q, last) e = Add(v, eps) s = Sqrt(e) z = Div(c0, s) y = Add(z, x)",
    "the mean is read": f"{DEVIATION} z = Div(c0, s) y = Add(z, m)",
    "the deviation is read": f"{DEVIATION} z = Div(c0, s) y = Add(z, s)",
    "another factor": f"{FACTOR} o = Mul(m, i) y = Sub(p, o)",
    "another constant": "d = Div(x, near) t = Erf(d) a = Add(t, one) w = Mul(x, a) y = Mul(w, half)",
    "another half": f"{ERF} a = Add(t, one) w = Mul(x, a) y = Mul(w, r)",
    "two added": f"{ERF} a = Add(t, two) w = Mul(x, a) y = Mul(w, half)",
    "another sign": f"{ERF} a = Sub(one, t) w = Mul(x, a) y = Mul(w, half)",
    "subtracted from": f"{ERF} a = Sub(t, one) w = Mul(x, a) y = Mul(w, half)",
    "another x": f"{ERF} a = Add(t, one) x1 = Tanh(x) w = Mul(x1, a) y = Mul(w, half)",
    "a divisor": f"{ERF} a = Add(t, one) a2 = Add(a, one) w = Div(x, a2) y = Mul(w, half)",
    "the probability is read": f"{ERF} a = Add(t, one) w = Mul(x, a) h = Mul(w, half) y = Add(h, a)",
    "another cubic": f"{TANH.replace('c)', 'eps)')} a = Add(t, one) h = Mul(x, half) y = Mul(h, a)",
    "no cubic": "d = Mul(x, k) t = Tanh(d) a = Add(t, one) h = Mul(x, half) y = Mul(h, a)",
    "a gate of another value": "x1 = Tanh(x) t = Sigmoid(x1) y = Mul(x, t)",
    "a gate with an offset": "d = Add(x, one) t = Sigmoid(d) y = Mul(x, t)",
    # What is added or multiplied is a value inside.
    "gain is the mean": f"{INVERSE} f = Mul(i, m) p = Mul(x, f) o = Mul(m, f) y = Sub(p, o)",
    "gain is the deviation": f"{INVERSE} f = Mul(i, i) p = Mul(x, f) o = Mul(m, f) y = Sub(p, o)",
    "gain is what is squared": f"{INVERSE} f = Mul(i, c0) p = Mul(x, f) o = Mul(m, f) y = Sub(p, o)",
    "offset is the mean": f"{FACTOR} o = Mul(m, f) w = Sub(m, o) y = Add(p, w)",
    "offset is the product": f"{FACTOR} o = Mul(m, f) w = Sub(p, o) y = Add(p, w)",
    "offset is the factor": f"{FACTOR} n = Neg(m) o = Mul(n, f) w = Add(o, f) y = Add(p, w)",
    "twice": "d = Mul(x, quick) t = Sigmoid(d) h = Mul(x, t) y = Add(h, t)",
}


def model_of(nodes: str, outputs: str = "float[N,3,4] y") -> onnx.ModelProto:
    return parse(f"g (float[N,3,4] x) => ({outputs}) {CONSTANTS} {{ {nodes} }}")
