"""Rows of the pools."""

from support.rule_cases import Case, case, const, feed, x

UNPOOLED = [[[[0, 3], [9, 10]], [[17, 18], [28, 31]]]]
TOP = [[[[0, 3], [9, 11]]]]
TWICE = [[[[5, 5], [7, 5]]]]
SMALL = "onnx's evaluator has no such windows"
AUTO_PADS = ("VALID", "SAME_UPPER", "SAME_LOWER")


def pool(op: str, size: tuple[int, ...], kernel: list[int], **settings) -> Case:
    return case(op, x(*size), kernel_shape=kernel, **settings)


def both(size: tuple[int, ...], kernel: list[int], **settings) -> list[Case]:
    """The same windows for MaxPool and AveragePool (with and without count_include_pad)."""
    return [
        pool("MaxPool", size, kernel, **settings),
        pool("AveragePool", size, kernel, **settings),
        pool("AveragePool", size, kernel, count_include_pad=1, **settings),
    ]


CASES = [
    *both((2, 3, 6, 6), [2, 2], strides=[2, 2]),
    *both((2, 3, 7, 6), [2, 2], strides=[2, 2]),
    *both((2, 3, 6, 6), [3, 3], strides=[3, 3], pads=[1, 1, 1, 1]),
    *both((2, 3, 6, 6), [3, 2], strides=[3, 2]),
    *both((2, 3, 7, 7), [3, 3], strides=[2, 2]),
    *both((2, 3, 7, 8), [3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    *both((2, 3, 7, 8), [3, 3], strides=[2, 2], pads=[0, 0, 1, 1]),
    *both((2, 3, 5, 5), [3, 3]),
    *both((2, 3, 5, 5), [2, 3], pads=[1, 0, 0, 2]),
    *both((2, 3, 7, 7), [2, 2], strides=[3, 3]),
    *both((2, 3, 9), [3], strides=[2]),
    *both((2, 3, 9), [2], strides=[2], pads=[1, 0]),
    *both((2, 3, 5, 6, 4), [2, 3, 2], strides=[2, 1, 2], pads=[0, 1, 0, 1, 1, 0]),
    *both((2, 3, 6, 6), [3, 3], strides=[2, 2], ceil_mode=1),
    *both((2, 3, 5, 5), [2, 2], strides=[2, 2], ceil_mode=1),
    *both((2, 3, 6, 6), [3, 3], strides=[2, 2], ceil_mode=1, pads=[1, 1, 1, 1]),
    *both((2, 3, 6, 7), [3, 3], strides=[2, 2], ceil_mode=1, pads=[1, 1, 1, 1], opset=20),
    *both((2, 3, 6, 5), [3, 2], strides=[2, 2], ceil_mode=1, auto_pad="VALID"),
    *both((2, 3, 9, 8), [3, 2], strides=[2, 2], ceil_mode=1, auto_pad="VALID", dilations=[2, 3], opset=22),
    *(row for a in AUTO_PADS for row in both((2, 3, 7, 6), [3, 3], strides=[2, 2], auto_pad=a)),
    *(row for a in AUTO_PADS for row in both((2, 3, 7, 6), [2, 2], strides=[2, 2], auto_pad=a)),
    *(row for a in AUTO_PADS for row in both((2, 3, 7, 6), [3, 2], auto_pad=a)),
    *both((2, 3, 9, 9), [3, 3], strides=[2, 1], dilations=[2, 3], opset=19),
    pool("MaxPool", (2, 3, 9, 9), [3, 3], strides=[2, 1], dilations=[2, 3], pads=[1, 2, 1, 0]),
    pool("MaxPool", (2, 3, 9, 8), [2, 2], strides=[2, 2], dilations=[2, 2], ceil_mode=1),
    pool("MaxPool", (2, 3, 6, 6), [2, 2], strides=[2, 2], outputs="fi"),
    pool("MaxPool", (2, 3, 5, 6), [1, 3], pads=[0, 1, 0, 1]),
    pool("MaxPool", (2, 3, 5, 6), [3, 1], strides=[2, 2]),
    pool("MaxPool", (2, 3, 5, 6), [1, 1]),
    pool("MaxPool", (2, 3, 7), [3], strides=[2], outputs="fi"),
    pool("MaxPool", (1, 2, 6, 6), [2, 2], strides=[2, 2], opset=7),
    # ONNX Runtime gives an image smaller than its window one window, or none.
    *(
        pool("AveragePool", size, kernel, oracle="onnxruntime", because=SMALL, **settings)
        for size, kernel, settings in (
            ((2, 3, 5, 5), [7, 7], {"strides": [7, 7]}),
            ((2, 3, 1, 6), [2, 2], {"strides": [2, 2]}),
            ((2, 3, 2), [3], {"strides": [2]}),
            ((2, 3, 4), [3], {"strides": [2], "dilations": [2], "opset": 19}),
            ((2, 3, 1), [3], {"strides": [2], "pads": [0, 1], "count_include_pad": 1}),
            ((2, 3, 1), [3], {"strides": [2], "pads": [0, 1], "count_include_pad": 1, "opset": 19}),
            ((2, 3, 2, 3, 2), [3, 3, 3], {"strides": [2, 2, 2]}),
        )
    ),
    *(
        pool(
            op, (2, 3, *size), [3] * len(size), dynamic=False, oracle="onnxruntime", because=SMALL, **settings
        )
        for op in ("MaxPool", "AveragePool", "LpPool")
        for size, settings in (
            ((2,), {}),
            ((1, 1), {"strides": [2, 2]}),
            ((5, 5, 2), {}),
            ((2, 2, 2), {"ceil_mode": 1}),
        )
    ),
    pool("LpPool", (2, 3, 6, 6), [2, 2], strides=[2, 2]),
    pool("LpPool", (2, 3, 7, 6), [3, 2], strides=[2, 1], pads=[1, 0, 0, 1], p=1),
    pool("LpPool", (2, 3, 7, 6), [3, 3], strides=[2, 2], p=3, auto_pad="SAME_UPPER"),
    pool("LpPool", (2, 3, 7), [3], strides=[2], p=2),
    case("GlobalLpPool", x(2, 3, 4, 5)),
    case("GlobalLpPool", x(2, 3, 4, 5), p=1),
    case("GlobalLpPool", x(2, 3, 7), p=3),
    case("MaxUnpool", x(1, 2, 2, 2), const(UNPOOLED), kernel_shape=[2, 2], strides=[2, 2]),
    case("MaxUnpool", x(1, 2, 2, 2), feed(UNPOOLED), kernel_shape=[2, 2], strides=[2, 2], dynamic=False),
    case("MaxUnpool", x(1, 1, 2, 2), const(TWICE), kernel_shape=[2, 2], strides=[2, 2]),
    case("MaxUnpool", x(1, 1, 2, 2), feed(TWICE), kernel_shape=[2, 2], strides=[2, 2], label="dynamic"),
    case("MaxUnpool", x(1, 1, 2, 2), feed(TOP), const([1, 1, 6, 4]), kernel_shape=[2, 2], strides=[2, 2]),
    case(
        "MaxUnpool",
        x(1, 1, 2, 2),
        const(TOP),
        const([1, 1, 5, 6]),
        kernel_shape=[2, 2],
        strides=[2, 2],
        oracle="onnxruntime",
        because="onnx's evaluator counts the positions in another shape",
    ),
    *(
        case(op, x(2, 3, *size))
        for op in ("GlobalAveragePool", "GlobalMaxPool")
        for size in ((5,), (4, 5), (2, 3, 4))
    ),
]
