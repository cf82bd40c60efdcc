"""Rows of operators without a rule, which are differentiated through ONNX's own definition."""

from support.rule_cases import case, const, w, x

SINGLE = {"oracle": "onnxruntime", "because": "onnx's evaluator has no float64 form"}

CASES = [
    case("Attention", x(2, 2, 4, 8), x(2, 2, 6, 8), x(2, 2, 6, 8), opset=23),
    case("Attention", x(2, 2, 4, 8), x(2, 2, 4, 8), x(2, 2, 4, 8), is_causal=1, opset=23),
    case("Attention", x(2, 4, 16), x(2, 4, 16), x(2, 4, 16), q_num_heads=2, kv_num_heads=2, opset=23),
    case("Attention", x(2, 4, 4, 8), x(2, 2, 6, 8), x(2, 2, 6, 8), scale=0.3, opset=23, label="grouped"),
    case("Attention", x(2, 2, 4, 8), x(2, 2, 6, 8), x(2, 2, 6, 8), w(4, 6), opset=23, label="mask"),
    case("RotaryEmbedding", x(2, 2, 4, 8), w(50, 4), w(50, 4), const([[0, 1, 2, 3], [3, 1, 0, 9]]), opset=23),
    case("CenterCropPad", x(5, 6), const([4, 8])),
    case("CenterCropPad", x(5, 6), const([8]), axes=[1]),
]
