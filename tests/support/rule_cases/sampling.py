"""Rows of the operators that sample between elements."""

import math

from support.rule_cases import Case, case, const, feed, weight, x

#: Positions inside and around the image, none at a kink.
GRID = {"low": -1.3, "high": 1.3}
MODES = ("bilinear", "nearest", "bicubic")
PADDINGS = ("zeros", "border", "reflection")


def grid(image: tuple[int, ...], positions: tuple[int, ...], **settings) -> Case:
    return case("GridSample", x(*image), x(*positions, **GRID), **settings)


def deform(
    image: tuple[int, ...], kernel: tuple[int, ...], out: tuple[int, ...], masked: bool = True, **settings
) -> Case:
    """A DeformConv whose offsets stay clear of the kinks, with a bias and a mask or without both."""
    sets, count = settings.get("offset_group", 1), math.prod(kernel[2:])
    offset = x(image[0], sets * count * len(out), *out, low=0.2, high=0.8)
    rest = [weight(kernel[0]), x(image[0], sets * count, *out)] if masked else []
    return case("DeformConv", x(*image), weight(*kernel), offset, *rest, opset=19, **settings)


CASES = [
    *(
        grid((2, 3, 4, 5), (2, 3, 2, 2), mode=mode, padding_mode=padding, align_corners=corners)
        for mode in MODES
        for padding in PADDINGS
        for corners in (0, 1)
    ),
    *(
        grid(
            (2, 2, 3, 4, 2),
            (2, 2, 2, 3, 3),
            mode="linear",
            padding_mode=padding,
            align_corners=corners,
            opset=20,
        )
        for padding in PADDINGS
        for corners in (0, 1)
    ),
    grid((1, 2, 3, 4, 2), (1, 2, 2, 3, 3), mode="nearest", padding_mode="reflection", opset=20),
    grid((1, 2, 1, 4), (1, 3, 2, 2), mode="linear", padding_mode="reflection", align_corners=1, opset=22),
    grid((1, 2, 3, 4), (1, 3, 2, 2), mode="cubic", opset=22),
    *(
        case("AffineGrid", x(2, 2, 3), const([2, 3, 4, 5]), align_corners=corners, opset=20)
        for corners in (0, 1)
    ),
    case("AffineGrid", x(2, 3, 4), const([2, 1, 2, 3, 4]), opset=20),
    case("AffineGrid", x(1, 2, 3), feed([1, 1, 3, 4]), opset=20, label="dynamic"),
    deform((1, 2, 4, 4), (2, 2, 2, 2), (3, 3)),
    deform((2, 4, 5, 4), (6, 2, 3, 2), (4, 4), group=2, offset_group=2, pads=[1, 0, 0, 1]),
    deform(
        (2, 4, 6, 7),
        (4, 1, 2, 3),
        (3, 2),
        masked=False,
        group=4,
        strides=[2, 2],
        dilations=[2, 2],
        pads=[0, 1, 1, 0],
    ),
    deform((1, 6, 4, 4), (2, 6, 3, 3), (4, 4), offset_group=3, pads=[1, 1, 1, 1]),
    case("Col2Im", x(2, 12, 4), const([3, 4]), const([3, 2]), strides=[1, 2], pads=[0, 0, 1, 0]),
    case("Col2Im", x(2, 8, 8), const([5, 5]), const([2, 2]), dilations=[3, 2], pads=[0, 1, 0, 0]),
    case("Col2Im", x(1, 8, 4), feed([3, 3]), feed([2, 2]), label="dynamic"),
    case("Col2Im", x(1, 16, 2), const([2, 2, 3]), const([2, 2, 2])),
    case("Col2Im", x(1, 6, 5), const([6]), const([2])),
]
