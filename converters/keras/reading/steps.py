"""Bounds the steps of recurrent layers: their number is a line of text in a file."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from onnxattr.errors import ConversionError

from ...common import dependencies
from ...common.patching import applied, first_refusal
from ..patches.table import group

#: Most steps that are written out one by one, and most that are run, in TensorFlow's own loop, to check a model.
_UNROLLED, _RUN = 2_000, 100_000


@contextlib.contextmanager
def steps_within(run: bool = False) -> Iterator[None]:
    """Within the block recurrent layers of Keras take so many steps and no more.

    Args:
        run: Whether models that are traced in the block are run as well.

    Raises:
        ConversionError: A layer would take more, before it does.
    """
    refused: list[ConversionError] = []
    with applied(group("steps"), lambda rnn: _counted(rnn, refused, run)), first_refusal(refused):
        yield


def _counted(rnn: Callable[..., Any], refused: list[ConversionError], run: bool) -> Callable[..., Any]:
    tf = dependencies.tensorflow()

    def counted(step: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        # The arguments of both packages: initial_states, go_backwards, mask, constants, unroll, ...
        unrolled = kwargs.get("unroll", args[4] if len(args) > 4 else False)
        steps = tf.nest.flatten(inputs)[0].shape[0 if kwargs.get("time_major") else 1]
        reason = ""
        if steps is not None and unrolled and steps > _UNROLLED:
            reason = (
                f"Recurrent layer{_name(step)} has unroll=True and {steps} steps; supported: up to {_UNROLLED}. Set "
                "unroll=False, which computes the same."
            )
        elif steps is not None and (run or tf.executing_eagerly()) and steps > _RUN:
            reason = (
                f"To check the model, recurrent layer{_name(step)} would take {steps} steps, of at most {_RUN}; "
                "convert without the check: verify=False (--no-verify)."
            )
        if reason:
            refused.append(ConversionError(reason))
            raise refused[-1]
        return rnn(step, inputs, *args, **kwargs)

    return counted


def _name(step: Any) -> str:
    """The layer whose step a function is, as far as it holds it."""
    held = [cell.cell_contents for cell in getattr(step, "__closure__", None) or ()]
    layers = [
        found for found in held for p in dependencies.keras_packages() if isinstance(found, p.layers.RNN)
    ]
    return f" {layers[0].name!r}" if layers else ""
