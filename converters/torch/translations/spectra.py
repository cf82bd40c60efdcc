"""Fourier transforms of PyTorch, written in operators of ONNX."""

import importlib
from collections.abc import Sequence
from typing import Any

from .elementwise import operators


def of_real_numbers(self: Any, dim: Sequence[int], normalization: int, onesided: bool) -> Any:
    """The exporter's, with an imaginary part of +0 where that of one transform is 0: at the frequencies 0 and n / 2.

    A runtime may round it to another number, whose sign makes an angle pi or -pi.
    """
    library = importlib.import_module("onnxscript.function_libs.torch_lib.ops.fft")
    found = library.aten__fft_r2c(self, dim, normalization, onesided)
    axis = dim[-1] % len(self.shape)
    size = self.shape[axis]
    if len(dim) != 1 or not isinstance(size, int):
        return found
    return _real_where_it_is(found, size, onesided, axis - len(self.shape) - 1)


def short_time(
    self: Any,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = None,
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
) -> Any:
    """The exporter's, with the same +0, of the short-time transform of real numbers."""
    library = importlib.import_module("onnxscript.function_libs.torch_lib.ops.core")
    found = library.aten_stft(
        self, n_fft, hop_length, win_length, window, normalized, onesided, return_complex
    )
    return _real_where_it_is(found, n_fft, onesided is not False, -3)


def _real_where_it_is(found: Any, size: int, onesided: bool, axis: int) -> Any:
    """Pairs (..., 2) with an imaginary part of +0 at the frequencies 0 and size / 2 of a negative axis."""
    op = operators()
    real = [place == 0 or 2 * place == size for place in range(size // 2 + 1 if onesided else size)]
    flags = [flag for at_real in real for flag in (0, int(at_real))]  # of the real and the imaginary part
    shape = [len(real), *[1] * (-axis - 2), 2]
    mask = op.Reshape(op.Constant(value_ints=flags), op.Constant(value_ints=shape))
    return op.Where(op.Cast(mask, to=9), op.CastLike(0.0, found), found)
