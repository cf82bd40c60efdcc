"""Rows of the convolutions."""

from support.rule_cases import Case, case, w, weight, x

AUTO_PADS = ("VALID", "SAME_UPPER", "SAME_LOWER")


def conv(size: tuple[int, ...], kernel: tuple[int, ...], **settings) -> Case:
    return case("Conv", x(*size), w(*kernel), **settings)


CONV = [
    conv((2, 3, 7), (4, 3, 3)),
    conv((2, 3, 7), (4, 3, 3), strides=[2], pads=[1, 2]),
    conv((2, 3, 7, 6), (4, 3, 3, 2)),
    conv((2, 3, 7, 6), (4, 3, 3, 2), kernel_shape=[3, 2]),
    conv((2, 3, 7, 6), (4, 3, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1]),
    conv((2, 3, 8, 8), (4, 3, 3, 3), strides=[2, 2], pads=[0, 0, 1, 1]),
    conv((2, 3, 8, 8), (4, 3, 3, 3), strides=[2, 2], label="rest"),
    conv((2, 3, 9, 8), (4, 3, 1, 1), strides=[3, 2], label="kernel-below-stride"),
    conv((2, 3, 7, 6), (4, 3, 3, 3), strides=[1, 2], pads=[2, 0, 1, 3], dilations=[2, 1]),
    conv((2, 3, 7, 9), (4, 3, 3, 3), dilations=[2, 3]),
    conv((2, 3, 5, 6, 4), (4, 3, 3, 3, 2)),
    conv((2, 3, 5, 6, 4), (4, 3, 3, 3, 2), strides=[2, 1, 2], pads=[1, 0, 1, 0, 1, 1], dilations=[1, 2, 1]),
    conv((2, 4, 7, 6), (6, 2, 3, 3), group=2, pads=[1, 1, 1, 1]),
    conv((2, 4, 7, 6), (6, 2, 3, 3), group=2, strides=[2, 2], dilations=[2, 1]),
    conv((2, 4, 7, 6), (4, 1, 3, 3), group=4, pads=[1, 1, 1, 1], label="depthwise"),
    conv((2, 4, 7, 6), (4, 1, 3, 3), group=4, pads=[2, 0, 1, 2], label="depthwise"),
    conv((2, 4, 7, 6), (4, 1, 3, 3), group=4, pads=[3, 3, 3, 3], label="depthwise-wide-pads"),
    conv((2, 4, 7, 6), (4, 1, 3, 3), group=4, strides=[2, 2], pads=[1, 1, 1, 1], label="depthwise"),
    conv((2, 4, 7, 6), (4, 1, 3, 3), group=4, dilations=[2, 2], label="depthwise"),
    conv((2, 4, 7, 6), (8, 1, 3, 3), group=4, pads=[1, 1, 1, 1], label="depthwise-multiplier"),
    conv((2, 4, 9), (4, 1, 4), group=4, pads=[2, 1], label="depthwise-1d"),
    *(conv((2, 3, 7, 6), (4, 3, 3, 3), auto_pad=a) for a in AUTO_PADS),
    *(conv((2, 3, 7, 6), (4, 3, 3, 2), auto_pad=a, strides=[2, 3]) for a in AUTO_PADS),
    *(conv((2, 3, 8, 8), (4, 3, 2, 4), auto_pad=a, strides=[1, 1]) for a in AUTO_PADS),
    *(conv((2, 4, 7, 6), (4, 1, 4, 4), auto_pad=a, group=4) for a in AUTO_PADS[1:]),
    case("Conv", x(2, 3, 6, 6), w(4, 3, 3, 3), x(4), pads=[1, 1, 1, 1], label="bias"),
    case("Conv", x(1, 3, 6, 6), w(4, 3, 3, 3), w(4)),
    # More channels, larger images and kernels: other ways back.
    conv((2, 9, 8), (10, 9, 3), pads=[1, 0]),
    conv((2, 9, 6, 5), (10, 9, 3, 3), pads=[1, 1, 1, 1]),
    conv((2, 9, 6, 5), (10, 9, 1, 1)),
    conv((2, 9, 6, 5), (10, 9, 3, 2), pads=[2, 0, 1, 1], dilations=[1, 2]),
    conv((2, 9, 6, 5), (10, 9, 3, 2), pads=[3, 0, 3, 1], label="pads-beyond-kernel"),
    conv((1, 9, 4, 3, 4), (10, 9, 2, 3, 2), pads=[1, 1, 0, 0, 1, 1]),
    conv((2, 18, 6, 5), (20, 9, 3, 3), group=2, pads=[1, 1, 1, 1]),
    *(conv((2, 9, 6, 5), (10, 9, 4, 2), auto_pad=a) for a in AUTO_PADS),
    conv((1, 2, 66, 65), (2, 1, 3, 3), group=2, strides=[2, 2], pads=[1, 1, 1, 1], label="depthwise-large"),
    conv((1, 2, 66, 65), (2, 1, 5, 5), group=2, strides=[2, 2], pads=[2, 2, 2, 2], label="depthwise-large"),
    conv((2, 4, 9, 8), (4, 1, 5, 5), group=4, strides=[2, 3], pads=[2, 1, 1, 2], label="depthwise"),
    conv((2, 4, 9, 8), (4, 1, 3, 2), group=4, strides=[3, 2], label="depthwise"),
    conv((2, 4, 9, 8), (4, 1, 2, 2), group=4, strides=[3, 3], dilations=[2, 1], label="depthwise"),
    *(conv((2, 4, 9, 8), (4, 1, 3, 3), group=4, strides=[2, 2], auto_pad=a) for a in AUTO_PADS),
    # The kernel's own gradient.
    case("Conv", x(2, 3, 7), weight(4, 3, 3), x(4)),
    case("Conv", x(2, 3, 7, 6), weight(4, 3, 3, 2), strides=[2, 2], pads=[1, 0, 2, 1], label="rest"),
    case("Conv", x(2, 3, 8, 9), weight(4, 3, 3, 3), dilations=[2, 3], strides=[1, 2]),
    case("Conv", x(2, 4, 7, 6), weight(6, 2, 3, 3), group=2, strides=[2, 1]),
    case("Conv", x(2, 4, 7, 6), weight(8, 1, 3, 3), group=4, pads=[1, 1, 1, 1]),
    case("Conv", x(1, 2, 4, 5, 4), weight(3, 2, 2, 2, 2), strides=[2, 1, 1]),
    case("Conv", x(2, 3, 8, 7), weight(4, 3, 3, 2), auto_pad="SAME_UPPER", strides=[2, 2]),
    case("Conv", x(2, 3, 8, 7), weight(4, 3, 3, 2), auto_pad="SAME_LOWER", strides=[2, 3]),
    case("Conv", w(2, 3, 7), weight(4, 3, 3), label="kernel-only"),
]  # fmt: skip


def transpose(size: tuple[int, ...], kernel: tuple[int, ...], **settings) -> Case:
    return case("ConvTranspose", x(*size), w(*kernel), **settings)


TRANSPOSE = [
    transpose((2, 3, 5), (3, 4, 3)),
    transpose((2, 3, 5), (3, 4, 3), strides=[2], pads=[1, 0], output_padding=[1]),
    transpose((2, 3, 5, 4), (3, 4, 3, 2)),
    transpose((2, 3, 5, 4), (3, 4, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]),
    transpose((2, 3, 5, 4), (3, 4, 3, 3), strides=[3, 2], pads=[0, 1, 1, 0], output_padding=[2, 1]),
    transpose((2, 3, 5, 4), (3, 4, 2, 2), strides=[3, 3], label="kernel-below-stride"),
    transpose((2, 3, 5, 4), (3, 4, 3, 3), dilations=[2, 1], strides=[1, 2], kernel_shape=[3, 3]),
    transpose((2, 3, 4, 3, 3), (3, 2, 2, 3, 2), strides=[2, 1, 2], pads=[0, 1, 0, 1, 0, 1]),
    transpose((2, 4, 5, 4), (4, 3, 3, 3), group=2, strides=[2, 2], pads=[1, 1, 1, 1]),
    transpose((2, 4, 5, 4), (4, 1, 3, 3), group=4),
    *(
        transpose((2, 3, 5, 4), (3, 4, 3, 3), auto_pad=a, strides=[2, 2], dynamic=a == "VALID")
        for a in AUTO_PADS
    ),
    *(
        transpose((2, 3, 5, 4), (3, 4, 4, 3), output_shape=[9, 8], strides=[2, 2], dynamic=False, **extra)
        for extra in ({}, {"auto_pad": "SAME_UPPER"}, {"auto_pad": "SAME_LOWER"})
    ),
    case("ConvTranspose", x(2, 3, 5, 4), w(3, 4, 3, 3), x(4), strides=[2, 2], label="bias"),
    case("ConvTranspose", x(2, 3, 5), weight(3, 4, 3), x(4)),
    case("ConvTranspose", x(2, 3, 5, 4), weight(3, 4, 3, 3), strides=[3, 2], pads=[0, 1, 1, 0], output_padding=[2, 1]),
    case("ConvTranspose", x(2, 4, 5, 4), weight(4, 3, 3, 3), group=2, strides=[2, 2], pads=[1, 1, 1, 1]),
    case("ConvTranspose", x(2, 4, 5, 4), weight(4, 1, 3, 3), group=4, dilations=[2, 1]),
    *(
        case("ConvTranspose", x(2, 3, 5, 4), weight(3, 4, *kernel), auto_pad=auto_pad, strides=[2, 2])
        for kernel in ((3, 4), (2, 5))
        for auto_pad in ("SAME_UPPER", "SAME_LOWER", "VALID")
    ),
    case("ConvTranspose", x(2, 3, 5), weight(3, 2, 4), auto_pad="SAME_UPPER", dilations=[2]),
    case("ConvTranspose", x(2, 3, 5), weight(3, 2, 2), auto_pad="SAME_UPPER", strides=[4], oracle="onnxruntime",
         because="onnx's evaluator gives another length"),
    case("ConvTranspose", x(2, 2, 2, 3, 2), weight(2, 1, 3, 2, 3), auto_pad="SAME_LOWER", strides=[1, 2, 2]),
    case("ConvTranspose", x(2, 3, 5, 4), weight(3, 4, 4, 3), output_shape=[9, 8], strides=[2, 2]),
    case("ConvTranspose", x(2, 3, 5, 4), weight(3, 4, 4, 3), output_shape=[11, 8], strides=[2, 2],
         output_padding=[1, 0], auto_pad="SAME_UPPER"),
]  # fmt: skip

CASES = CONV + TRANSPOSE
