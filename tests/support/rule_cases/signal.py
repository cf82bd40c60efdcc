"""Rows of the Fourier transforms."""

from support.rule_cases import Case, case, const, feed, weight, x


def dft(size: tuple[int, ...], length: int | None = None, axis: int = 1, opset: int = 20, **settings) -> Case:
    operands = [x(*size), const(length) if length else None]
    if opset < 20:
        return case("DFT", *operands, axis=axis, opset=opset, **settings)
    return case("DFT", *operands, const(axis), opset=opset, **settings)


CASES = [
    *(
        dft((2, 6, 3, pairs), length, inverse=inverse, opset=opset)
        for pairs in (1, 2)
        for length in (None, 5, 8)
        for inverse in (0, 1)
        for opset in (17, 20)
    ),
    *(dft((2, 6, 1), length, onesided=1, opset=opset) for length in (None, 5, 8) for opset in (17, 20)),
    *(
        dft((2, 5, 2), length, onesided=1, inverse=1, opset=opset)
        for length in (None, 9)
        for opset in (17, 20)
    ),
    dft((2, 3, 6, 1), axis=-2, onesided=1),
    dft((3, 4, 2), axis=0),
    dft((4, 2, 3, 2), axis=-4, inverse=1, onesided=1),
    case("DFT", x(2, 6, 1), feed(4), opset=20, label="default-axis"),
    case("DFT", x(2, 6, 1), const(6), feed(1), onesided=1, opset=20, label="dynamic"),
    case("DFT", x(2, 4, 3, 2), None, feed(-3), onesided=1, inverse=1, opset=20, label="dynamic"),
    case("STFT", x(2, 11, 1), const(3), weight(4, low=0.2)),
    case("STFT", x(2, 11, 1), const(2), weight(5, low=0.2), onesided=0),
    case("STFT", x(1, 9, 2), const(2), weight(4, low=0.2), const(4), onesided=0),
    case("STFT", x(2, 8, 1), const(4), None, const(4)),
    case("STFT", x(2, 12, 1), feed(3), None, feed(6), label="dynamic"),
    case("STFT", x(2, 11), const(3), weight(4, low=0.2), label="flat"),
]
