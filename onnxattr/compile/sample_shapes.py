"""The channel axis of what is explained."""

from __future__ import annotations

from onnxattr.autodiff.paths import inputs_of, needed_nodes
from onnxattr.compile.method import Method
from onnxattr.errors import ModelError, ParameterError
from onnxattr.graph.values import dims_of
from onnxattr.loading.channels import channel_axis_of_layer, find_channel_axis
from onnxattr.loading.prepared import Prepared


def check_apart(prepared: Prepared, method: Method) -> None:
    """Refuses points of a value that is computed from another explained value, which has points of its own.

    At the values themselves, each gradient is that of the value alone, the others being computed from it.

    Raises:
        ParameterError: Names two such values.
    """
    if method.single or len(prepared.wrt) < 2:
        return
    names = dict(zip(prepared.wrt, prepared.asked, strict=True))
    for below in prepared.wrt:
        before = {v.name for node in needed_nodes([prepared.value(below)]) for v in inputs_of(node)}
        above = next((name for name in names if name != below and name in before), None)
        if above is not None:
            raise ParameterError(
                f"wrt {names[below]!r} is computed from wrt {names[above]!r}: a path or noise cannot "
                "set both at once. Explain one at a time."
            )


def channel_axes(
    prepared: Prepared, method: Method, given: int | None, asked: bool = False
) -> tuple[int | None, ...]:
    """The channel axis of the map of each explained value, over which it may be reduced; None where it is not.

    Those of images have one. So have those of other ranks where a reducer was asked for: what a layer gives, such as
    tokens (N, T, E), and inputs whose channel axis is said. Where all rows are one sample, it is that of the value with
    an axis of samples before the rows.

    Args:
        prepared: The model.
        method: The method.
        given: The channel axis, where the caller said it.
        asked: Whether the caller asked for the reducer.

    Raises:
        ModelError: If the map is one at a layer, and all rows are one sample.
    """
    at_layer = method.placement or (method.factor and method.factor.placement)
    if at_layer and prepared.rows.mixed:
        raise ModelError(
            f"A map at a layer needs one image for each row, but {prepared.rows.why}: all rows are one sample. Use "
            "Saliency or IntegratedGradients for this model."
        )
    if (placement := method.placement) is not None:
        return (placement.channel_there if len(placement.image_space) == 2 else None,)
    axes: list[int | None] = []
    for value in map(prepared.value, prepared.wrt):
        rank, inner, axis = len(dims_of(value) or []), value.producer() is not None, None
        if rank == 4 or (rank > 2 and asked and (inner or given is not None)):
            found = channel_axis_of_layer(value) if inner or rank != 4 else find_channel_axis(value)
            axis = (found if given is None else given % rank) + prepared.rows.mixed
        axes.append(axis)
    return tuple(axes)
