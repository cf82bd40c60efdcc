"""Operators of TensorFlow on complex numbers, each written as operators on the real and the imaginary parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from onnxattr.errors import ConversionError

from ...common import dependencies

# The matrix of one of so many points takes 64 MiB for each part.
_MOST_POINTS = 4096


class Parts(NamedTuple):
    """The names of the real values that a complex one consists of."""

    real: str
    imaginary: str


class Writing:
    """One operation that is written anew, and the graph that the new ones go to.

    Attributes:
        operation: The `tf.Operation`, of one output.
        dtype: The type of the parts.
    """

    def __init__(self, tf: Any, written: Any, parts: dict[str, Parts], operation: Any) -> None:
        self._tf, self._written, self._parts, self._count = tf, written, parts, 0
        self.operation = operation
        tensors = (*operation.inputs, *operation.outputs)
        self.dtype = next(tensor.dtype for tensor in tensors if tensor.dtype.is_complex).real_dtype

    def parts(self, place: int = 0) -> Parts:
        """The parts of a complex input."""
        return self._parts[self.operation.inputs[place].name]

    def real(self, place: int = 0) -> str:
        """The name of a real input."""
        return str(self.operation.inputs[place].name)

    def lengths(self) -> list[int]:
        """The numbers of the second input, a constant.

        Raises:
            ConversionError: It is none.
        """
        found = self._tf.get_static_value(self.operation.inputs[1])
        if found is None:
            raise self.refused("takes a length that the model computes; make it a number")
        return [int(length) for length in np.ravel(found)]

    def size(self, axis: int) -> int | None:
        """The size of an axis of the first input, where it is known."""
        shape = self.operation.inputs[0].shape
        size = None if shape.rank is None else shape[axis]
        return None if size is None else int(size)

    def known_size(self, axis: int) -> int:
        """The size of an axis of the first input.

        Raises:
            ConversionError: It is not known.
        """
        size = self.size(axis)
        if size is None:
            raise self.refused(f"transforms axis {axis}, whose size is not known; give the input its shape")
        return size

    def refused(self, why: str) -> ConversionError:
        """An error that names the operation."""
        return ConversionError(f"Operation {self.operation.name!r} ({self.operation.type}) {why}.")

    def op(self, kind: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """A node on real values of the parts' type; returns the name of its output."""
        self._count += 1
        node = self._written.node.add(name=name or f"{self.operation.name}/onnxattr_{self._count}", op=kind)
        node.input.extend(inputs)
        typed = {} if kind in ("Cast", "GatherV2", "Range") else {"T": self.dtype}
        for key, value in (typed | attributes).items():
            if isinstance(value, bool):
                node.attr[key].b = value
            elif isinstance(value, int):
                node.attr[key].i = value
            else:
                node.attr[key].type = value.as_datatype_enum
        return f"{node.name}:0"

    def const(self, value: np.ndarray, dtype: Any = None) -> str:
        """A constant of the parts' type, or another."""
        self._count += 1
        dtype = dtype or self.dtype
        node = self._written.node.add(name=f"{self.operation.name}/onnxattr_{self._count}", op="Const")
        node.attr["dtype"].type = dtype.as_datatype_enum
        node.attr["value"].tensor.CopyFrom(self._tf.make_tensor_proto(value, dtype))
        return f"{node.name}:0"

    def give(self, real: str, imaginary: str) -> None:
        """The complex result."""
        self._parts[self.operation.outputs[0].name] = Parts(real, imaginary)

    def end(self, kind: str, *inputs: str, **attributes: Any) -> None:
        """The real result, which has the operation's name."""
        self.op(kind, *inputs, name=self.operation.name, **attributes)


def _complex(w: Writing) -> None:
    w.give(w.real(0), w.real(1))


def _cast(w: Writing) -> None:
    """Of a real number the imaginary part is 0; of a complex one the real part is left."""
    source, target = w.operation.inputs[0].dtype, w.operation.outputs[0].dtype
    kinds = {"SrcT": source.real_dtype, "DstT": target.real_dtype, "Truncate": False}
    if not target.is_complex:
        w.end("Cast", w.parts().real, **kinds)
    elif source.is_complex:
        w.give(*(w.op("Cast", part, **kinds) for part in w.parts()))
    else:
        real = w.op("Cast", w.real(), **kinds)
        w.give(real, w.op("ZerosLike", real))


def _magnitude(w: Writing) -> None:
    """|z|, whose gradient at 0 is 0, as TensorFlow's is."""
    tf = dependencies.tensorflow()
    both = w.op("Pack", *w.parts(), N=2, axis=-1)
    axis = w.const(np.array([-1]), tf.int32)
    w.end("EuclideanNorm", both, axis, Tidx=tf.int32, keep_dims=False)


def _product(w: Writing) -> None:
    (a, b), (c, d) = w.parts(0), w.parts(1)
    real = w.op("Sub", w.op("Mul", a, c), w.op("Mul", b, d))
    w.give(real, w.op("AddV2", w.op("Mul", a, d), w.op("Mul", b, c)))


def _quotient(w: Writing) -> None:
    (a, b), (c, d) = w.parts(0), w.parts(1)
    square = w.op("AddV2", w.op("Mul", c, c), w.op("Mul", d, d))
    real = w.op("AddV2", w.op("Mul", a, c), w.op("Mul", b, d))
    imaginary = w.op("Sub", w.op("Mul", b, c), w.op("Mul", a, d))
    w.give(w.op("RealDiv", real, square), w.op("RealDiv", imaginary, square))


def _square(w: Writing) -> None:
    a, b = w.parts()
    both = w.op("Mul", a, b)
    w.give(w.op("Sub", w.op("Mul", a, a), w.op("Mul", b, b)), w.op("AddV2", both, both))


def _exp(w: Writing) -> None:
    a, b = w.parts()
    size = w.op("Exp", a)
    w.give(w.op("Mul", size, w.op("Cos", b)), w.op("Mul", size, w.op("Sin", b)))


def _conjugate(w: Writing) -> None:
    a, b = w.parts()
    w.give(a, w.op("Neg", b))


def _multiply(w: Writing, left: str, right: str) -> str:
    return w.op("BatchMatMulV2", left, right, adj_x=False, adj_y=False)


def _matrix(w: Writing, points: int, transform: Callable[[np.ndarray], np.ndarray], size: int) -> np.ndarray:
    """What a transform makes of each unit vector; NumPy cuts and continues by zeros as TensorFlow does.

    Raises:
        ConversionError: It is too large.
    """
    if max(size, points) > _MOST_POINTS:
        raise w.refused(
            f"is a Fourier transform of {max(size, points)} points; supported: up to {_MOST_POINTS}"
        )
    return transform(np.eye(size))


def _whole_matrix(w: Writing, axis: int, length: int, inverse: bool) -> Parts:
    transform = np.fft.ifft if inverse else np.fft.fft
    found = _matrix(w, length, lambda units: transform(units, length), w.known_size(axis))
    found = found.T if axis == -2 else found
    return Parts(w.const(found.real), w.const(found.imag))


def _computed_matrix(w: Writing, axis: int, inverse: bool) -> Parts:
    """The matrix of a size that a run decides."""
    tf, places = dependencies.tensorflow(), w.operation.inputs[0].shape.rank
    if places is None:
        raise w.refused(f"transforms axis {axis} of a value of unknown rank; give the input its shape")
    kinds = {"Tparams": tf.int32, "Tindices": tf.int32, "Taxis": tf.int32}
    sizes = w.op("Shape", w.parts().real, out_type=tf.int32)
    zero, one, last = (w.const(np.array(n), tf.int32) for n in (0, 1, -1))
    size = w.op("GatherV2", sizes, w.const(np.array(places + axis), tf.int32), zero, **kinds)
    counted = w.op("Range", zero, size, one, Tidx=tf.int32)
    pair = (w.op("ExpandDims", counted, place, T=tf.int32, Tdim=tf.int32) for place in (zero, last))
    turns = w.op("FloorMod", w.op("Mul", *pair, T=tf.int32), size, T=tf.int32)
    turns, points = (w.op("Cast", n, SrcT=tf.int32, DstT=w.dtype, Truncate=False) for n in (turns, size))
    angles = w.op("Mul", turns, w.op("RealDiv", w.const(np.array(2 * np.pi)), points))
    real, imaginary = w.op("Cos", angles), w.op("Sin", angles)
    if inverse:
        return Parts(w.op("RealDiv", real, points), w.op("RealDiv", imaginary, points))
    return Parts(real, w.op("Neg", imaginary))


def _transformed(w: Writing, value: Parts, axis: int, m: Parts) -> Parts:
    """A complex value transformed along its last axis or the one before."""
    turned = axis == -2

    def product(part: str, factor: str) -> str:
        return _multiply(w, factor, part) if turned else _multiply(w, part, factor)

    real = w.op("Sub", product(value.real, m.real), product(value.imaginary, m.imaginary))
    imaginary = w.op("AddV2", product(value.real, m.imaginary), product(value.imaginary, m.real))
    return Parts(real, imaginary)


def _of_complex(axes: int, inverse: bool) -> Callable[[Writing], None]:
    """FFT, FFT2D and their inverses."""

    def write(w: Writing) -> None:
        value = w.parts()
        for axis in range(-1, -axes - 1, -1):
            size = w.size(axis)
            m = _whole_matrix(w, axis, size, inverse) if size else _computed_matrix(w, axis, inverse)
            value = _transformed(w, value, axis, m)
        w.give(*value)

    return write


def _of_real(axes: int) -> Callable[[Writing], None]:
    """RFFT and RFFT2D."""

    def write(w: Writing) -> None:
        lengths, size = w.lengths(), w.known_size(-1)
        m = _matrix(w, lengths[-1], lambda units: np.fft.rfft(units, lengths[-1]), size)
        value = Parts(*(_multiply(w, w.real(), w.const(part)) for part in (m.real, m.imag)))
        w.give(*(_transformed(w, value, -2, _whole_matrix(w, -2, lengths[0], False)) if axes == 2 else value))

    return write


def _to_real(axes: int) -> Callable[[Writing], None]:
    """IRFFT and IRFFT2D."""

    def write(w: Writing) -> None:
        lengths, size = w.lengths(), w.known_size(-1)
        value = (
            _transformed(w, w.parts(), -2, _whole_matrix(w, -2, lengths[0], True)) if axes == 2 else w.parts()
        )
        both = _matrix(w, lengths[-1], lambda units: np.fft.irfft([units, 1j * units], lengths[-1]), size)
        w.end("AddV2", *(_multiply(w, part, w.const(m)) for part, m in zip(value, both, strict=True)))

    return write


#: By operator.
WRITERS: Mapping[str, Callable[[Writing], None]] = {
    "Complex": _complex,
    "Cast": _cast,
    "Real": lambda w: w.end("Identity", w.parts().real),
    "Imag": lambda w: w.end("Identity", w.parts().imaginary),
    "ComplexAbs": _magnitude,
    "Angle": lambda w: w.end("Atan2", w.parts().imaginary, w.parts().real),
    "Conj": _conjugate,
    "Mul": _product,
    "RealDiv": _quotient,
    "Square": _square,
    "Exp": _exp,
    "FFT": _of_complex(1, False),
    "FFT2D": _of_complex(2, False),
    "IFFT": _of_complex(1, True),
    "IFFT2D": _of_complex(2, True),
    "RFFT": _of_real(1),
    "RFFT2D": _of_real(2),
    "IRFFT": _to_real(1),
    "IRFFT2D": _to_real(2),
}
