"""What holds sessions of ONNX Runtime: copies share them, and other processes make their own."""

from __future__ import annotations

from typing import Any, NoReturn, Self


class HoldsSessions:
    """Copies share the sessions, which any number of threads may run; there is no pickle of one."""

    def __copy__(self) -> Self:
        copied = object.__new__(type(self))
        vars(copied).update(vars(self))
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.__copy__()

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} holds sessions of ONNX Runtime, which cannot be pickled. Make it anew in each "
            "process; or export() a method once, and onnxattr.load() its file there."
        )
