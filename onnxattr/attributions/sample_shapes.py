"""The channel axis of what is explained."""

from __future__ import annotations

from onnxattr.attributions.definition import Definition
from onnxattr.channels import find_channel_axis
from onnxattr.errors import ModelError
from onnxattr.model import Prepared
from onnxattr.values import dims_of


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
