"""Rows of the operators that pool regions of interest."""

import numpy as np

from support.rule_cases import Case, case, const, feed, x

#: x1, y1, x2, y2 inside the image and over its border.
REGIONS = {"low": np.array([-1.5, -1.5, 3, 3]), "high": np.array([2.5, 2.5, 8, 7])}
MODES = ("half_pixel", "output_half_pixel")
#: Whose width and height are below 1, which "output_half_pixel" raises to 1: the far ends have no gradient.
SMALL = {"low": np.array([0.6, 1.6, 0.9, 1.9]), "high": np.array([0.7, 1.7, 1.3, 2.3])}
#: Far outside; smaller than a bin; over all borders.
ODD = [[9.1, -7.3, 12.2, -5.6], [2.13, 3.21, 2.37, 3.83], [-3.3, -2.2, 8.3, 7.9]]


def align(*operands, **settings) -> Case:
    settings = {"output_height": 2, "output_width": 3, "opset": 16, **settings}
    image = x(2, 3, 5, 6)
    return case("RoiAlign", image, *(operands or (x(4, 4, **REGIONS), const([0, 1, 1, 0]))), **settings)


def pool(regions: list[list[float]], **settings) -> Case:
    return case("MaxRoiPool", x(2, 3, 6, 7), const(regions, np.float32), **settings)


CASES = [
    *(
        align(mode=mode, sampling_ratio=ratio, coordinate_transformation_mode=coordinates, spatial_scale=0.9)
        for mode in ("avg", "max")
        for ratio in (0, 2)
        for coordinates in MODES
    ),
    *(
        align(const(ODD, np.float32), feed([1, 0, 0]), mode=mode, coordinate_transformation_mode=coordinates)
        for mode in ("avg", "max")
        for coordinates in MODES
    ),
    *(
        align(
            x(3, 4, **SMALL),
            const([1, 0, 1]),
            mode=mode,
            coordinate_transformation_mode=coordinates,
            label="small",
        )
        for mode in ("avg", "max")
        for coordinates in MODES
    ),
    align(
        opset=10,
        sampling_ratio=3,
        oracle="onnxruntime",
        because="onnx's evaluator shifts the regions of opset 10 by half an element",
    ),
    align(
        const(np.zeros((0, 4)), np.float32),
        const(np.zeros(0)),
        label="none",
        oracle="onnxruntime",
        because="onnx's evaluator takes no empty regions",
    ),
    pool([[0, 0.4, 0.6, 3.4, 4.4], [1, 1, 2, 6, 5], [0, 2, 2, 2, 2]], pooled_shape=[2, 3]),
    pool([[1, 3, 4, 10, 14], [0, -5, 1, -1, 3], [0, 3, 3, 1, 0]], pooled_shape=[3, 2], spatial_scale=0.7),
]
