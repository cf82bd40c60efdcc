"""Whether a model of Keras, PyTorch or scikit-learn has changed since something was made of it."""

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

#: How many weights of a model are looked at, and numbers of each: training changes all that it can, or the last ones.
_WEIGHTS, _AVERAGES, _NUMBERS = 24, 4, 8
#: How many members of a list are looked at, and how deep.
_MEMBERS, _DEPTH = 32, 10


def watch(model: Any, framework: str) -> Callable[[], bool] | None:
    """A function that tells whether a model has other numbers than now, judged by some of them.

    It does not keep the model alive, and takes well below a millisecond for each ten weights.

    Args:
        model: A Keras model, a PyTorch module or exported program, or a scikit-learn estimator.
        framework: "keras", "torch" or "sklearn".

    Returns:
        The function; None where the model's numbers cannot be looked at.
    """
    numbers = {"keras": _of_keras, "torch": _of_torch, "sklearn": _of_estimator}[framework]
    try:
        alive, then = weakref.ref(model), numbers(model)
    except Exception:  # looking at the parts of any object runs its code, which may fail in any way
        return None

    def changed() -> bool:
        now = alive()
        try:
            return now is not None and numbers(now) != then
        except Exception:
            return False

    return changed


def _of_keras(model: Any) -> list[bytes]:
    found = []
    for weight in _spread(list(model.weights), _WEIGHTS):
        # One row out of the middle, instead of a copy of all.
        middle = tuple(size // 2 for size in weight.shape[:-1])
        found.append(_some(np.asarray(weight[middle] if middle else weight)))
    return found


def _of_torch(model: Any) -> list[bytes]:
    found = []
    averages = [b for name, b in model.named_buffers() if name.endswith(("running_mean", "running_var"))]
    # Other buffers may hold what a module has seen, which each call changes.
    for weight in [*_spread(list(model.parameters()), _WEIGHTS), *_spread(averages, _AVERAGES)]:
        flat = weight.detach().reshape(-1)
        found.append(_some(flat[:: max(1, len(flat) // _NUMBERS)].float().cpu().numpy()))
    return found


def _of_estimator(model: Any) -> list[Any]:
    return list(_leaves(model, _DEPTH, set()))


def _leaves(part: Any, depth: int, seen: set[int]) -> Iterator[Any]:
    """What an estimator holds, its parts' parts included: texts, numbers, and some numbers of each array."""
    if isinstance(part, (str, bytes, int, float, complex, np.generic, type(None))):
        yield part if part == part else "NaN"
        return
    yield type(part).__name__
    if depth == 0 or id(part) in seen:
        return
    seen.add(id(part))
    if isinstance(part, np.ndarray) and part.dtype != object:
        yield part.shape
        yield _some(part.ravel() if part.flags.c_contiguous else part.ravel("K"))
        return
    for member in _members(part):
        yield from _leaves(member, depth - 1, seen)


def _members(part: Any) -> Sequence[Any]:
    if isinstance(part, (list, tuple, np.ndarray)):
        return [len(part), *_spread(list(part), _MEMBERS)]
    if isinstance(part, Mapping):
        return [len(part), *_spread(list(part.items()), _MEMBERS)]
    if hasattr(part, "__dict__") and not callable(part):
        return [item for item in sorted(vars(part).items()) if not item[0].startswith("__")]
    # Trees of scikit-learn and matrices of SciPy.
    return [getattr(part, name) for name in ("threshold", "value", "data", "indices") if hasattr(part, name)]


def _spread(members: list[Any], most: int) -> list[Any]:
    """Evenly spaced members, the last ones among them."""
    last = most // 2
    if len(members) <= most:
        return members
    rest = members[:-last]
    return [*rest[:: -(-len(rest) // (most - last))], *members[-last:]]


def _some(array: np.ndarray) -> bytes:
    return array[:: max(1, array.size // _NUMBERS)].tobytes() if array.ndim else array.tobytes()
