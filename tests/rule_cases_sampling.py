"""Rows of the operators that sample between elements."""

from rule_cases import Case, case, const, feed, x

#: Positions inside and around the image, none at a kink.
GRID = {"low": -1.3, "high": 1.3}
MODES = ("bilinear", "nearest", "bicubic")
PADDINGS = ("zeros", "border", "reflection")


def grid(image: tuple[int, ...], positions: tuple[int, ...], **settings) -> Case:
    return case("GridSample", x(*image), x(*positions, **GRID), **settings)


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
]
