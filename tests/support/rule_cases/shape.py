"""Rows of the operators that move elements."""

import numpy as np

from support.rule_cases import Case, case, const, feed, w, x

F = np.float32
COORDINATES = (
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
)  # fmt: skip
EVALUATOR = {
    "oracle": "onnxruntime", "step": 1.0, "tolerance": 1e-4,
    "because": "onnx's evaluator and ONNX Runtime place these samples differently",
}  # fmt: skip


def resize(
    size: tuple[int, ...], scales: list[float] | None = None, sizes: list[int] | None = None, **settings
) -> Case:
    operands = [None, const(scales, F)] if scales else [None, None, const(sizes)]
    return case("Resize", x(*size), *operands, **{**EVALUATOR, **settings})


RESIZE = [
    *(
        resize((1, 2, 4, 5), scales, mode=mode, coordinate_transformation_mode=coordinates)
        for scales in ([1, 1, 2, 2], [1, 1, 0.6, 1.5])
        for mode in ("nearest", "linear", "cubic")
        for coordinates in COORDINATES
        if not (coordinates == "half_pixel_symmetric" and scales[2] == 2)
    ),
    *(resize((1, 2, 4, 5), sizes=[1, 2, 7, 3], mode=mode) for mode in ("nearest", "linear", "cubic")),
    *(
        resize((1, 2, 4, 5), [1, 1, 1.7, 0.7], mode="nearest", nearest_mode=rounding)
        for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    ),
    resize((1, 2, 4, 5), [1, 1, 1.7, 0.7], mode="cubic", cubic_coeff_a=-0.5, exclude_outside=1),
    resize((1, 2, 6, 8), [1, 1, 0.5, 0.4], mode="linear", antialias=1),
    resize((1, 2, 6, 8), [1, 1, 0.5, 0.4], mode="cubic", antialias=1),
    resize((1, 2, 4, 5), [1.5, 2], axes=[2, 3], mode="linear"),
    resize((1, 2, 4, 5), sizes=[7, 6], axes=[3, 2], mode="linear"),
    resize((1, 2, 4, 5), sizes=[8], axes=[-1], mode="nearest"),
    resize((1, 2, 4, 5), [1, 1, 1.2, 1], mode="linear", label="same-size-other-scale"),
    resize((2, 4, 5, 3), [1, 2, 2, 1], mode="linear", label="channels-last"),
    resize((2, 5), [1, 2], mode="linear"),
    resize((2, 3, 5), [1, 1, 2], mode="linear"),
    resize((1, 1, 3, 4, 2), [1, 1, 2, 1.5, 2], mode="linear"),
    resize((1, 1, 3, 4, 2), [1, 1, 2, 1.5, 2], mode="nearest"),
    *(
        case("Resize", x(1, 2, 4, 5), const(roi, F), None, const([1, 2, 6, 7]), mode=mode,
             coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=3.0, **EVALUATOR)
        for mode in ("linear", "nearest")
        for roi in ([0, 0, 0.2, 0.1, 1, 1, 0.9, 0.8], [0, 0, -0.2, 0.3, 1, 1, 0.9, 1.4])
    ),
    case("Resize", x(1, 2, 4, 5), None, feed([1, 1, 2, 1.5], F), mode="linear", label="dynamic", **EVALUATOR),
    *(
        resize((1, 2, 4, 5), sizes=[7, 8], axes=[2, 3], mode=mode, keep_aspect_ratio_policy=policy)
        for mode in ("nearest", "linear")
        for policy in ("not_larger", "not_smaller")
    ),
    case("Resize", x(1, 2, 4, 5), None, None, feed([1, 2, 7, 3]), mode="linear", label="dynamic", **EVALUATOR),
    case("Resize", x(1, 2, 4, 5), const([1, 1, 2, 2], F), mode="nearest", opset=10, **EVALUATOR),
    case("Resize", x(1, 2, 7, 9), const([1, 1, 0.6, 0.4], F), mode="nearest", opset=10, **EVALUATOR),
    case("Resize", x(1, 2, 7, 9), const([1, 1, 0.6, 0.4], F), mode="linear", opset=10, **EVALUATOR),
    case("Upsample", x(1, 2, 4, 5), const([1, 1, 2, 3], F), mode="nearest", opset=9, **EVALUATOR),
    case("Upsample", x(1, 2, 4, 5), mode="linear", scales=[1.0, 1.0, 2.0, 2.0], opset=7, **EVALUATOR),
]  # fmt: skip

PADS = [
    case("Pad", x(2, 3, 4), const([0, 1, 2, 1, 0, 1])),
    case("Pad", x(2, 3, 4), const([0, 1, 2, 1, 0, 1]), x()),
    case("Pad", x(2, 3, 4), const([0, 1, 2, 1, 0, 1]), x(1), label="value-of-one-element"),
    case("Pad", x(2, 3, 4), const([0, -1, 2, 1, 0, -2]), x()),
    case("Pad", x(2, 3, 4), const([1, -1]), None, const([2])),
    case("Pad", x(2, 3, 4), const([1, 2, 0, 1]), w(), const([-1, 0])),
    case("Pad", x(2, 3, 4), feed([0, 1, 2, 1, 0, -1]), label="dynamic"),
    case("Pad", x(2, 3, 4), const([0, 1, 2, 1, 2, 3]), mode="edge"),
    case("Pad", x(2, 3, 4), const([0, 1, 2, 0, 2, 3]), mode="reflect"),
    case("Pad", x(2, 3, 4), const([0, 1, 2, 1, 2, 3]), mode="wrap", opset=19),
    case("Pad", x(2, 3, 4), const([2, 3]), None, const([2]), mode="edge"),
    # The value is not read in these modes.
    case("Pad", x(2, 3, 4), const([0, 1, 2, 0, 2, 3]), const(7, F), mode="reflect"),
    case("Pad", x(2, 3, 4), const([0, 1, 2, 0, 2, 3]), const(7, F), mode="reflect", opset=11),
    case("Pad", x(2, 3, 4), const([2, 3]), x(), const([2]), mode="edge"),
    case("Pad", x(2, 3, 4), const([0, 1, 2, 1, 2, 3]), x(), mode="wrap", opset=19),
    case("Pad", x(2, 3, 4), pads=[0, 1, 2, 0, 2, 3], opset=7, value=0.5, mode="reflect", oracle="onnxruntime",
         because="onnx's evaluator has no Pad of opset 7"),
    case("Pad", x(2, 3, 4), pads=[0, 1, 2, 1, 0, 1], opset=7, value=0.5, oracle="onnxruntime",
         because="upgrading makes the float attribute a float32 constant"),
]  # fmt: skip

CASES = [
    case("Reshape", x(2, 3, 4), const([2, 12])),
    case("Reshape", x(2, 3, 4), const([0, -1])),
    case("Reshape", x(2, 3, 4), feed([4, 6]), label="dynamic"),
    case("Reshape", x(2, 0, 4), const([2, 0]), allowzero=1),
    case("Flatten", x(2, 3, 4)),
    case("Flatten", x(2, 3, 4), axis=2),
    case("Flatten", x(2, 3, 4), axis=0),
    case("Squeeze", x(2, 1, 4), const([1])),
    case("Squeeze", x(1, 1), label="all", dynamic=False),
    case("Unsqueeze", x(2, 3), const([0, -1])),
    case("Unsqueeze", x(2, 3), axes=[1], opset=11),
    case("Transpose", x(2, 3, 4)),
    case("Transpose", x(2, 3, 4), perm=[1, 2, 0]),
    case("Expand", x(3, 1), const([2, 3, 4])),
    case("Expand", x(2, 3), const([1, 1])),
    case("Expand", x(1, 3), feed([2, 1]), label="dynamic"),
    case("Expand", x(), const([2, 3])),
    case("Tile", x(2, 3), const([2, 1])),
    case("Tile", x(2, 3, 2), const([1, 3, 2])),
    case("Tile", x(2, 3), feed([2, 2]), label="dynamic"),
    case("Concat", x(2, 3), x(2, 1), w(2, 2), axis=1),
    case("Concat", x(2, 3), x(1, 3), axis=-2),
    case("Concat", x(2, 3), axis=0),
    case("Split", x(4, 6), num_outputs=3, axis=1, outputs="fff"),
    case("Split", x(4, 7), num_outputs=2, axis=-1, outputs="ff"),
    case("Split", x(4, 6), const([1, 3]), outputs="ff"),
    case("Split", x(4, 6), const([1, 3, 2]), axis=1, outputs="fff"),
    case("Split", x(4, 6), split=[1, 5], axis=1, opset=11, outputs="ff"),
    case("DepthToSpace", x(2, 8, 3, 2), blocksize=2),
    case("DepthToSpace", x(2, 8, 3, 2), blocksize=2, mode="CRD"),
    case("SpaceToDepth", x(2, 3, 4, 6), blocksize=2),
    case("Trilu", x(2, 3, 4)),
    case("Trilu", x(3, 4), const(1), upper=0),
    case("Trilu", x(3, 4), feed(-1), upper=1),
    case("ReverseSequence", x(4, 3, 2), const([1, 4, 2])),
    case("ReverseSequence", x(3, 4, 2), feed([1, 4, 2]), batch_axis=0, time_axis=1),
    *PADS,
    *RESIZE,
]
