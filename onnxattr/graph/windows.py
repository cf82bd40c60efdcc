"""How the windows of convolutions and pools lie over their spatial axes: the arithmetic of sizes, counts and pads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Layout:
    """What a node says of its windows.

    Window ``o`` covers the positions ``o * stride - begin + i * dilation`` for ``i < kernel`` along each axis.

    Attributes:
        kernel: The size of a window along each axis.
        strides: The distance from one window to the next.
        dilations: The distance from one position of a window to the next.
        pads: The padding before each axis, then behind each, as far as it is stated; zeros where ``auto_pad`` decides.
        auto_pad: "NOTSET", "VALID", "SAME_UPPER" or "SAME_LOWER".
        ceil_mode: Whether a last window may reach past the padding.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    auto_pad: str
    ceil_mode: bool

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.kernel)

    @property
    def extents(self) -> list[int]:
        """The span of one window along each axis, dilation included."""
        return [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]

    @property
    def begins(self) -> list[int]:
        """The stated padding before each axis."""
        return list(self.pads[: self.rank])

    @property
    def ends(self) -> list[int]:
        """The stated padding behind each axis."""
        return list(self.pads[self.rank :])

    def positions(self, axis: int) -> list[int]:
        """Where the positions of the first window lie along an axis, those in the stated padding before it below 0."""
        return [i * self.dilations[axis] - self.pads[axis] for i in range(self.kernel[axis])]

    def room(self, axis: int, size: int) -> int:
        """How far the first window can move to the end of an axis with the stated padding."""
        return size + self.pads[axis] + self.pads[self.rank + axis] - self.extents[axis]

    def padding(self, axis: int, size: int, count: int, rest: int = 0) -> int:
        """All padding with which so many windows end at the end of an axis, or ``rest`` elements before it."""
        return (count - 1) * self.strides[axis] + self.extents[axis] + rest - size

    def same_padding(self, axis: int, size: int | None) -> int | None:
        """All padding of one window for each stride; None where it depends on an unknown size."""
        stride = self.strides[axis]
        if stride == 1:
            return self.extents[axis] - 1
        return None if size is None else max(self.padding(axis, size, -(-size // stride)), 0)

    def same_pads(self, sizes: Sequence[int | None]) -> list[int] | None:
        """The pads that SAME stands for, before each axis, then behind; None where they depend on unknown sizes."""
        totals = [self.same_padding(axis, size) for axis, size in enumerate(sizes)]
        known = [total for total in totals if total is not None]
        return self.halved(known) if len(known) == len(totals) else None

    def undilated(self) -> Layout:
        """Windows of the same size whose positions lie side by side: ONNX Runtime pads pools as if they were these."""
        return replace(self, dilations=(1,) * self.rank)

    def halves(self, small: T, large: T) -> tuple[T, T]:
        """The two halves of an odd padding, in their order before and behind an axis."""
        return (small, large) if self.auto_pad == "SAME_UPPER" else (large, small)

    def halved(self, totals: Sequence[int]) -> list[int]:
        """Padding before each axis, then behind each, of so much in all."""
        begins, ends = self.halves([total // 2 for total in totals], [total - total // 2 for total in totals])
        return begins + ends


def layout_of(attributes: Mapping[str, Any], kernel: Sequence[int] = ()) -> Layout:
    """The layout that attributes of a node, as plain values, state.

    Args:
        attributes: They may leave anything out.
        kernel: The size of a window, if no attribute says it.
    """
    kernel = tuple(attributes.get("kernel_shape") or kernel)
    rank, auto_pad = len(kernel), attributes.get("auto_pad") or "NOTSET"
    stated = attributes.get("pads") if auto_pad == "NOTSET" else None
    return Layout(
        kernel,
        tuple(attributes.get("strides") or [1] * rank),
        tuple(attributes.get("dilations") or [1] * rank),
        tuple(stated or [0] * (2 * rank)),
        auto_pad,
        bool(attributes.get("ceil_mode", 0)),
    )
