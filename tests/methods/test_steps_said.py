"""Parts of any graph that change in steps, or jump, are said; masks and tables and functions that go on are not."""

import warnings

import numpy as np
import pytest
from support.tiny_graphs import parse

from onnxattr import load
from onnxattr.attributions import IntegratedGradients, Saliency
from onnxattr.inspection import inspect

WEIGHTS = {
    "float[3, 2] w": "1, -2, 0.5, 1, 3, -1",
    "float[2, 2] u": "2, 1, -1, 3",
    "float[5, 2] v": "1, 2, -1, 0.5, 3, 1, 2, -2, 1, 1",
    "float[4, 3] t": "0, 1, 2, 3, 1, 0, 2, 2, 1, 1, 3, 0",
    "float[4, 2] votes": "1, 0, 0, 1, 0.5, 0.5, 0.25, 0.75",
    "float[4] slopes": "1, -2, 0.5, 3",
    "float[4] knots": "-3, -1, 0, 2",
    "float[4] heights": "0, 2, -2, -1",
    "int64[1] k": "2",
    "int64[1] last": "1",
    "int64[1] first": "0",
    "int64[2] shape": "0, 2",
    "float one": "1",
    "float zero": "0",
    "float far": "-1e4",
    "float half": "0.5",
    "float pi": "3.1415927",
    "float double": "2",
    "float tau": "6.2831855",
    "float[2] slopes2": "1, 2",
    "float minus": "-1",
    "float threehalves": "1.5",
    "float twenty": "20",
    "float tiny": "1e-6",
    "float srgb": "0.04045",
    "float srgb1": "12.92",
    "float srgb2": "0.055",
    "float srgb3": "1.055",
    "float srgb4": "2.4",
}
HEAD = f"(float[N, 3] x) => (float[N, 2] y) <{', '.join(f'{k} = {{{v}}}' for k, v in WEIGHTS.items())}>"
#: How near the rows of t are.
TABLE = """
    tt = Transpose(t) ts = Mul(t, t) dots = MatMul(x, tt) squares = ReduceSum <keepdims = 0> (ts, last)
    twice = Add(dots, dots) near = Sub(twice, squares)"""
#: What chooses an expert, not the same one all along a ray.
ROUTED = "z = MatMul(x, w) q = Mul(x, x) squared = MatMul(q, w) routed = Sub(squared, z)"
#: By what stands in the sentence, and the graph.
SAID = {
    "votes of neighbours": ("TopK", TABLE + """
        best, places = TopK(near, k) of = Gather(votes, places) voted = ReduceMean <keepdims = 0> (of, last)
        z = MatMul(x, w) y = Add(z, voted)"""),
    "the nearest code, put in for the value": ("ArgMax", TABLE + """
        place = ArgMax <axis = 1, keepdims = 0> (near) code = Gather(t, place) gap = Sub(code, x) q = Add(x, gap)
        s = MatMul(q, w) z = MatMul(x, w) y = Add(z, s)"""),
    "comparisons among features": ("Greater", """
        up = Greater(x, half) f = Cast <to = 1> (up) two = Slice(x, first, k, last) both = Concat <axis = 1> (f, two)
        y = MatMul(both, v)"""),
    "roundings among features": ("Floor", """
        whole = Floor(x) scaled = Mul(whole, half) two = Slice(x, first, k, last) both = Concat <axis = 1> (scaled, two)
        moved = Add(both, one) y = Gemm(moved, v)"""),
    "a choice of two numbers": ("Less", """
        z = MatMul(x, w) low = Less(z, half) step = Where(low, zero, half) y = Add(z, step)"""),
    "roundings with weights of their own": ("Round", """
        r = Round(x) a = MatMul(r, w) b = MatMul(x, w) y = Sub(b, a)"""),
    "a rounding put in for the value": ("Round", """
        z = MatMul(x, w) r = Round(z) gap = Sub(r, z) q = Add(z, gap) s = MatMul(x, w) h = Tanh(s) y = Add(q, h)"""),
    "a rounding taken from the value": ("Round", """
        r = Round(x) gap = Sub(x, r) q = Sub(x, gap) y = MatMul(q, w)"""),
    "a rounding in units of the largest value": ("Round", """
        a = Abs(x) top = ReduceMax(a, last) largest = Add(top, one) scaled = Div(x, largest) twice = Mul(scaled, double)
        r = Round(twice) back = Mul(r, largest) q0 = Div(back, double) gap = Sub(q0, x) q = Add(gap, x)
        y = MatMul(q, w)"""),
    "a row for a count of comparisons": ("Greater", """
        up = Greater(x, half) n = Cast <to = 7> (up) count = ReduceSum <keepdims = 0> (n, last)
        row = Gather(votes, count) z = MatMul(x, w) y = Add(z, row)"""),
    "weights and a bias of the chosen expert": ("ArgMax", f"""{ROUTED}
        place = ArgMax <axis = 1, keepdims = 0> (routed) row = Gather(votes, place) bias = Gather(u, place)
        m = Mul(z, row) y = Add(m, bias)"""),
    "the best expert of TopK": ("TopK", f"""{ROUTED}
        best, places = TopK(routed, last) place = Squeeze(places, last) row = Gather(votes, place)
        bias = Gather(u, place) m = Mul(z, row) y = Add(m, bias)"""),
    "weights and a bias by Hardmax": ("Hardmax", f"""{ROUTED}
        chosen = Hardmax(routed) row = MatMul(chosen, u) m = Mul(z, row) y = Add(m, row)"""),
    "what a remainder leaves": ("Mod", """
        z = MatMul(x, w) part = Mod <fmod = 1> (z, double) y = Sub(z, part)"""),
    "what a remainder leaves, with weights": ("Mod", """
        part = Mod <fmod = 1> (x, double) whole = Sub(x, part) a = MatMul(whole, w) z = MatMul(x, w) y = Sub(a, z)"""),
    "a mask that does not begin at 0": ("Greater", """
        z = MatMul(x, w) up = Greater(z, half) f = Cast <to = 1> (up) y = Mul(z, f)"""),
    "a choice that does not begin at 0": ("Less", "z = MatMul(x, w) low = Less(z, half) y = Where(low, zero, z)"),
    "a choice of two functions": ("Greater", """
        z = MatMul(x, w) up = Greater(z, zero) a = Exp(z) b = Tanh(z) y = Where(up, a, b)"""),
    "a hard shrink": ("Greater", """
        z = MatMul(x, w) a = Abs(z) up = Greater(a, half) f = Cast <to = 1> (up) r = Mul(z, f) y = Tanh(r)"""),
    "what is masked, put in for the value": ("Greater", """
        z = MatMul(x, w) up = Greater(z, half) f = Cast <to = 1> (up) m = Mul(z, f) gap = Sub(m, z) y = Add(z, gap)"""),
    "ThresholdedRelu": ("ThresholdedRelu", "z = MatMul(x, w) y = ThresholdedRelu <alpha = 0.5> (z)"),
    "Shrink": ("Shrink", "z = MatMul(x, w) r = Shrink <lambd = 0.5> (z) y = Tanh(r)"),
    "a rounding as a factor": ("Ceil", "z = MatMul(x, w) r = Ceil(z) y = Mul(r, z)"),
    "the larger of a step and a slope": ("Less", """
        z = MatMul(x, w) low = Less(z, half) step = Where(low, one, zero) y = Max(z, step)"""),
    "the fractional part": ("Floor", "z = MatMul(x, w) whole = Floor(z) part = Sub(z, whole) y = Mul(part, part)"),
    "a remainder": ("Mod", "z = MatMul(x, w) part = Mod <fmod = 1> (z, one) y = Mul(part, part)"),
    "a remainder alone": ("Mod", "z = MatMul(x, w) y = Mod <fmod = 1> (z, one)"),
    "a remainder taken away by its sign": ("Mod", """
        z = MatMul(x, w) part = Mod <fmod = 1> (z, double) less = Neg(part) y = Add(z, less)"""),
    "a bias of Gemm": ("Greater", """
        z = MatMul(x, w) up = Greater(z, half) f = Cast <to = 1> (up) y = Gemm(z, u, f)"""),
}  # fmt: skip
SILENT = {
    "a ReLU's mask": "z = MatMul(x, w) up = Greater(z, zero) f = Cast <to = 1> (up) y = Mul(z, f)",
    "a slope chosen by sign": """
        z = MatMul(x, w) up = Greater(z, zero) f = Where(up, one, half) y = Mul(z, f)""",
    "padding left out": """
        z = MatMul(x, w) up = Greater(z, half) f = Cast <to = 1> (up) g = Sub(one, f) away = Mul(g, far)
        s = Add(z, away) y = Softmax(s)""",
    "a mean over what is there": """
        z = MatMul(x, w) up = Greater(z, half) f = Cast <to = 1> (up) masked = Mul(z, f)
        n = ReduceSum(f, last) total = ReduceSum(masked, last) d = Max(n, one) mean = Div(total, d) y = Mul(z, mean)""",
    "a guard of a division": """
        z = MatMul(x, w) n = ReduceSum(z, last) none = Equal(n, zero) f = Cast <to = 1> (none) d = Add(n, f)
        y = Div(z, d)""",
    "a sine of a remainder": "z = MatMul(x, w) part = Mod <fmod = 1> (z, tau) y = Sin(part)",
    "an angle in one turn": """
        z = MatMul(x, w) moved = Add(z, pi) q = Div(moved, tau) whole = Floor(q) back = Mul(whole, tau)
        s = Sub(z, back) r = Mul(s, slopes2) y = Cos(r)""",
    "a hard sigmoid of comparisons": """
        z = MatMul(x, w) low = Greater(z, minus) high = Less(z, half) in = And(low, high) f = Cast <to = 1> (in)
        over = GreaterOrEqual(z, half) g = Cast <to = 1> (over) a = Add(z, one) b = Div(a, threehalves)
        c = Mul(b, f) y = Add(c, g)""",
    "a hard tanh of choices": """
        z = MatMul(x, w) high = Greater(z, half) low = Less(z, minus) a = Where(high, half, z)
        y = Where(low, minus, a)""",
    "a soft shrink of choices": """
        z = MatMul(x, w) high = Greater(z, half) low = Less(z, minus) a = Sub(z, half) b = Add(z, one)
        c = Where(high, a, zero) y = Where(low, b, c)""",
    "a soft shrink by signs": """
        z = MatMul(x, w) a = Abs(z) up = Greater(a, half) s = Sign(z) d = Mul(s, half) r = Sub(z, d)
        y = Where(up, r, zero)""",
    "a leaky choice": "z = MatMul(x, w) up = Greater(z, zero) l = Mul(z, half) y = Where(up, z, l)",
    "a soft plus of choices": """
        z = MatMul(x, w) up = Greater(z, twenty) l = Softplus(z) y = Where(up, z, l)""",
    "a guard of a quotient": """
        z = MatMul(x, w) a = Abs(z) up = Greater(a, tiny) q = Reciprocal(z) y = Where(up, q, zero)""",
    "a guard of a logarithm": """
        z = MatMul(x, w) up = Greater(z, zero) q = Log(z) y = Where(up, q, zero)""",
    "a guard of a divisor": """
        z = MatMul(x, w) a = Abs(z) low = Less(a, tiny) d = Where(low, tiny, z) s = Sin(d) y = Div(s, d)""",
    "a root with its sign": """
        z = MatMul(x, w) s = Sign(z) a = Abs(z) b = Add(a, tiny) r = Sqrt(b) y = Mul(r, s)""",
    "sRGB": """
        z = MatMul(x, w) up = Greater(z, srgb) l = Div(z, srgb1) a = Add(z, srgb2) b = Div(a, srgb3) c = Pow(b, srgb4)
        y = Where(up, c, l)""",
    "a window that ends in 0": """
        z = MatMul(x, w) in = Less(z, pi) f = Cast <to = 1> (in) c = Cos(z) d = Add(c, one) y = Mul(d, f)""",
    "a window of distances": """
        z = MatMul(x, w) q = Mul(z, z) q0 = Reshape(q, shape) d = Sqrt(q0) in = Less(d, pi) c = Cos(d) e = Add(c, one)
        y = Where(in, e, zero)""",
    "scores that are left out": """
        z = MatMul(x, w) up = Greater(z, half) s = Where(up, z, far) y = Softmax(s)""",
    "a place by a remainder": """
        z = MatMul(x, w) part = Mod <fmod = 1> (z, one) whole = Sub(z, part) n = Cast <to = 7> (whole)
        three = Mod(n, k) row = Gather(slopes, three) y = Mul(z, row)""",
    "a table with slopes": """
        z = MatMul(x, w) end = Unsqueeze(z, k) over = GreaterOrEqual(end, knots) n = Cast <to = 1> (over)
        place = ArgMax <axis = 2, keepdims = 0, select_last_index = 1> (n) knot = Gather(knots, place)
        slope = Gather(slopes, place) height = Gather(heights, place) d = Sub(z, knot) r = Mul(d, slope)
        y = Add(r, height)""",
    "a table with slopes of two functions": """
        z = MatMul(x, w) end = Unsqueeze(z, k) over = GreaterOrEqual(end, knots) n = Cast <to = 7> (over)
        place = ReduceSum <keepdims = 0> (n, k) knot = Gather(heights, place) d = Sub(z, knot) wide = Unsqueeze(d, k)
        slope = Gather(votes, place) r = Mul(wide, slope) height = Gather(votes, place) s = Add(r, height)
        y = ReduceSum <keepdims = 0> (s, k)""",
    "weights of the corners around a place": """
        s = MatMul(x, w) p = Sigmoid(s) z = Mul(p, double) low = Floor(z) a = Gather <axis = 1> (z, first)
        c = Gather <axis = 1> (low, first) n = Add(c, one) i = Cast <to = 7> (c) j = Cast <to = 7> (n)
        left = Gather(slopes, i) right = Gather(slopes, j) to_right = Sub(n, a) to_left = Sub(a, c)
        r = Mul(left, to_right) l = Mul(right, to_left) y0 = Add(r, l) y = Mul(y0, z)""",
    "weights of the chosen expert": """
        z = MatMul(x, w) place = ArgMax <axis = 1, keepdims = 0> (z) row = Gather(votes, place) y = Mul(z, row)""",
    "the largest values": "z = MatMul(x, w) best, places = TopK(z, k) y = MatMul(best, u)",
    "an angle of all four quadrants": """
        z = MatMul(x, w) a, b = Split <axis = 1, num_outputs = 2> (z) q = Div(a, b) angle = Atan(q) left = Less(b, zero)
        turn = Where(left, pi, zero) y0 = Add(angle, turn) y = Concat <axis = 1> (y0, a)""",
    "which values are missing": """
        gone = IsNaN(x) f = Cast <to = 1> (gone) two = Slice(x, first, k, last) both = Concat <axis = 1> (f, two)
        y = MatMul(both, v)""",
    "a label beside the score": """
        z = MatMul(x, w) label = ArgMax <axis = 1> (z) f = Cast <to = 1> (label) y = Concat <axis = 1> (z, f)""",
    "what is not in the score": """
        z = MatMul(x, w) up = Greater(z, half) f = Cast <to = 1> (up) s = Add(z, f) y = Mul(z, z)""",
}  # fmt: skip


def model_of(text):
    return parse(f"g {HEAD} {{ {text} }}")


@pytest.mark.parametrize("case", SAID)
def test_said(case):
    """The sentence is right: maps along a path do not add up."""
    kind, text = SAID[case]
    model = model_of(text)
    with pytest.warns(
        UserWarning, match=f"change in steps, which have no gradient: {kind}\\..*( at the node| jumps from )"
    ) as heard:
        method = IntegratedGradients(model, steps=300)
    assert len(heard) == 1
    x = np.array([[0.7, 1.6, 2.7], [2.2, -1.4, 0.3]], np.float32)
    found = method(x, np.array([1, 0]))
    assert np.abs(found.relative_gap).max() > 0.05
    assert f"changes in steps, without a gradient: {kind}; " in inspect(model)


def test_what_is_chosen_to_be_explained_decides():
    """Neighbours are found by x; at the layer z they are given."""
    model = model_of(SAID["votes of neighbours"][1])
    with pytest.warns(UserWarning, match="change in steps"):
        Saliency(model, wrt="x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Saliency(model, wrt="z")


def test_files_say_what_their_maps_do_not_show(tmp_path):
    """Whoever opens an explainer has not seen what was said when it was written."""
    with pytest.warns(UserWarning, match="change in steps") as heard:
        Saliency(model_of(SAID["votes of neighbours"][1])).export(tmp_path / "explainer.onnx")
    said = str(heard[0].message)
    with pytest.warns(UserWarning, match="change in steps") as again:
        load(tmp_path / "explainer.onnx")
    assert [str(one.message) for one in again] == [said]
    assert said in inspect(tmp_path / "explainer.onnx")


@pytest.mark.parametrize("case", SILENT)
def test_silent(case):
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        Saliency(model_of(SILENT[case]))
    assert [str(one.message) for one in heard if "in steps" in str(one.message)] == []
    assert "in steps" not in inspect(model_of(SILENT[case]))
