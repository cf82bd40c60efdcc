"""Lets a result be used where an array was: indexing, arithmetic, NumPy's functions, the methods of arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin


class ArrayLike(NDArrayOperatorsMixin):
    """Behaves as the attributions of the only explained value, or as a sequence and mapping of those of several.

    Arithmetic, NumPy's functions and the methods of arrays give plain arrays. Of several explained values they raise a
    ``TypeError`` that says how to take one.
    """

    attributions: dict[str, np.ndarray]
    as_dict: bool

    def numpy(self) -> Any:
        """The attributions as a NumPy array; of several explained values a dict of them by name."""
        return self._alone() if len(self.attributions) == 1 else dict(self.attributions)

    def keys(self) -> Any:
        """The names of the explained values."""
        return self.attributions.keys()

    def values(self) -> Any:
        """The attributions of each explained value."""
        return self.attributions.values()

    def items(self) -> Any:
        """The names of the explained values with their attributions."""
        return self.attributions.items()

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str) and key in self.attributions:
            return self.attributions[key]
        if isinstance(key, str):
            raise KeyError(f"{key!r}: the explained values are {list(self.attributions)}")
        if len(self.attributions) > 1 and isinstance(key, (int, slice)):
            return list(self.attributions.values())[key]
        return self._alone()[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._alone()[key] = value

    def __len__(self) -> int:
        return len(self._alone()) if len(self.attributions) == 1 else len(self.attributions)

    def __iter__(self) -> Iterator[Any]:
        if len(self.attributions) == 1:
            return iter(self._alone())
        return iter(self.attributions if self.as_dict else self.attributions.values())

    def __contains__(self, item: Any) -> bool:
        return item in self.attributions if isinstance(item, str) else item in self._alone()

    def __bool__(self) -> bool:
        return bool(self._alone()) if len(self.attributions) == 1 else True

    def __float__(self) -> float:
        return float(self._alone())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._alone(), dtype, copy=copy)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.get("out")
        if out is not None:
            kwargs["out"] = tuple(_plain(array) for array in out)
        result = getattr(ufunc, method)(*map(_plain, inputs), **kwargs)
        return out[0] if out is not None and len(out) == 1 else result

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self._alone().__dlpack__(**kwargs)

    def __dlpack_device__(self) -> Any:
        return self._alone().__dlpack_device__()

    def __getattr__(self, name: str) -> Any:
        """What arrays have: ``shape``, ``dtype``, ``max()``, ``astype()`` and the others."""
        own = name.startswith("__") and name != "__array_interface__"
        if own or "attributions" not in self.__dict__ or not hasattr(np.ndarray, name):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self._alone(), name)

    def _alone(self) -> np.ndarray:
        """The attributions of the only explained value.

        Raises:
            TypeError: If there are several.
        """
        if len(self.attributions) != 1:
            names = list(self.attributions)
            raise TypeError(
                f"The explanation holds {len(names)} arrays, of {names}, and cannot be used as one. Select one by name "
                f"or position: explanation[{names[0]!r}] or explanation[0]."
            )
        return next(iter(self.attributions.values()))


def _plain(value: Any) -> Any:
    return value._alone() if isinstance(value, ArrayLike) else value
