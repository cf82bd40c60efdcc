"""Keeps Keras from making weights that a file does not hold: a layer of 2e9 units is a line of text in it."""

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from typing import Any

from onnxattr.errors import ConversionError

from ...common.patching import applied, first_refusal
from ...common.trust import untrusted
from ..patches.table import group

# What a model may make on top of what is stored: weights that are shared, packed or not saved.
_SLACK = 2**22


@contextlib.contextmanager
def weights_within(stored: int, path: str | os.PathLike[str]) -> Iterator[None]:
    """Within the block layers may add weights of twice as many elements as are stored, and a few more.

    Args:
        stored: Number of elements in the file.
        path: The file, for the message.

    Raises:
        ConversionError: A layer asks for more, before it gets them; also if Keras makes another error of it.
    """
    allowed, refused = 2 * stored + _SLACK, list[ConversionError]()

    def check(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        nonlocal allowed
        allowed -= _size(args, kwargs)
        if allowed < 0:
            refused.append(
                untrusted(
                    path,
                    f"layer {getattr(layer, 'name', '?')!r} asks for a weight of shape {_shape(args, kwargs)}, the "
                    f"file holds {stored} numbers for all weights",
                )
            )
            raise refused[0]

    def counted(add_weight: Callable[..., Any]) -> Callable[..., Any]:
        def add(layer: Any, *args: Any, **kwargs: Any) -> Any:
            check(layer, args, kwargs)
            return add_weight(layer, *args, **kwargs)

        return add

    with applied(group("weights"), counted), first_refusal(refused):
        yield


def _shape(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """The shape that is asked for: Keras 3 takes it first, tf_keras second."""
    for value in (kwargs.get("shape"), *args[:2]):
        if value is not None and not isinstance(value, str):
            return (value,) if isinstance(value, (int, float)) else tuple(value)
    return ()


def _size(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    return math.prod(int(size) for size in _shape(args, kwargs) if size is not None)
