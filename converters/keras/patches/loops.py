"""Branches and scans of TensorFlow and Keras in forms that tf2onnx reads: conditions, and scans from a first state."""

from collections.abc import Callable, Sequence
from typing import Any

from ...common import dependencies

Function = Callable[..., Any]


def nested_conditions(branch_index: Any, branch_fns: Sequence[Function], *_: Any, **__: Any) -> Any:
    """`indexed_case` as conditions in each other; an index that no branch has takes the last."""
    tf = dependencies.tensorflow()
    first, *others = branch_fns
    if not others:
        return first()
    return tf.cond(tf.equal(branch_index, 0), first, lambda: nested_conditions(branch_index - 1, others))


def scan_forwards(scan: Function) -> Function:
    """TensorFlow's `scan` in the direction of time, with a first state, the first element, where none is given."""
    tf = dependencies.tensorflow()

    def scanned(
        fn: Function, elems: Any, initializer: Any = None, *args: Any, reverse: bool = False, **kwargs: Any
    ) -> Any:
        if len(args) > 4:  # the fifth is the direction, which only TensorFlow 1 takes by position
            return scan(fn, elems, initializer, *args, **kwargs)
        parts = tf.nest.map_structure(tf.convert_to_tensor, elems)
        if reverse:
            parts = _flipped(parts)
        if initializer is None:
            first = tf.nest.map_structure(lambda part: part[0], parts)
            rest = tf.nest.map_structure(lambda part: part[1:], parts)
            found = scan(fn, rest, first, *args, **kwargs)
            found = tf.nest.map_structure(lambda p, states: tf.concat([p[:1], states], 0), parts, found)
        else:
            found = scan(fn, parts, initializer, *args, **kwargs)
        return _flipped(found) if reverse else found

    return scanned


def _flipped(structure: Any) -> Any:
    tf = dependencies.tensorflow()
    return tf.nest.map_structure(lambda part: tf.reverse(part, [0]), structure)


def scan_of_keras(
    f: Function, init: Any, xs: Any = None, length: int | None = None, reverse: bool = False, unroll: Any = 1
) -> Any:
    """Keras' `scan` by that of TensorFlow, which writes each state down once."""
    tf = dependencies.tensorflow()
    carried = tf.nest.map_structure(tf.convert_to_tensor, init)
    steps = tf.range(length) if xs is None else tf.nest.map_structure(tf.convert_to_tensor, xs)
    if xs is not None and length is not None:
        steps = tf.nest.map_structure(lambda part: part[:length], steps)

    def step(state: Any, element: Any) -> Any:
        carry, given = f(state[0], None if xs is None else element)
        return carry, state[1] if given is None else given

    zeros = tf.nest.map_structure(tf.zeros_like, carried)
    carries, given = tf.scan(step, steps, (carried, zeros), reverse=reverse)
    return tf.nest.map_structure(lambda part: part[0 if reverse else -1], carries), given
