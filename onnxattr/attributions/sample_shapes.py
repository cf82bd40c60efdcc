"""How a method's parameters fit the shape of a sample: the baseline, and the channel axis of images."""

from __future__ import annotations

from onnxattr.attributions.definition import Definition
from onnxattr.channels import find_channel_axis
from onnxattr.errors import ModelError, ParameterError
from onnxattr.model import Prepared
from onnxattr.values import dims_of


def check_baseline(prepared: Prepared, definition: Definition) -> None:
    """Checks a baseline's shape.

    Raises:
        ParameterError: If it is neither a number nor one sample of each explained value.
    """
    if definition.baseline is None or definition.baseline.ndim == 0:
        return
    for name in prepared.wrt:
        dims = (dims_of(prepared.value(name)) or [])[1:]
        shape = definition.baseline.shape
        if len(shape) != len(dims) or any(
            isinstance(d, int) and d != n for d, n in zip(dims, shape, strict=True)
        ):
            raise ParameterError(
                f"baseline_value has shape {shape}; expected a number or one sample of {name!r}: {tuple(dims)}."
            )


def channel_axes(prepared: Prepared, definition: Definition, given: int | None) -> tuple[int | None, ...]:
    """The channel axis of the map of each explained value; None for those that are no images.

    Where all rows are one sample, that is of the value with an axis of samples before the rows.

    Raises:
        ModelError: If the map is one at a layer, and all rows are one sample.
    """
    at_layer = definition.placement or (definition.factor and definition.factor.placement)
    if at_layer and prepared.rows.mixed:
        raise ModelError(
            f"{prepared.rows.why}, so that all rows are one sample; a map at a layer needs rows that are apart, one "
            "image each. Saliency and IntegratedGradients explain such a model."
        )
    if (placement := definition.placement) is not None:
        return (placement.channel_there if len(placement.image_space) == 2 else None,)
    axes: list[int | None] = []
    for value in map(prepared.value, prepared.wrt):
        axis = None
        if len(dims_of(value) or []) == 4:
            axis = (find_channel_axis(value) if given is None else given % 4) + prepared.rows.mixed
        axes.append(axis)
    return tuple(axes)
