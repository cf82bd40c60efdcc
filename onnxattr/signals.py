"""What has been begun is tidied up, or finished, before a signal ends the process."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any


def _handlers(*names: str) -> dict[signal.Signals, Any]:
    """The handlers of those signals that the system has; none in a thread that may not change them."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    kinds = [getattr(signal, name) for name in names if hasattr(signal, name)]
    return {kind: signal.getsignal(kind) for kind in kinds}


class _Stopped(BaseException):
    """The process was told to end, by the signal that is the argument."""


@contextlib.contextmanager
def stopped_tidily() -> Iterator[None]:
    """Lets SIGTERM and SIGHUP end the process only after what is open has been tidied up."""
    mine = [kind for kind, handler in _handlers("SIGTERM", "SIGHUP").items() if handler is signal.SIG_DFL]

    def stop(number: int, _: Any) -> None:
        raise _Stopped(number)

    for kind in mine:
        signal.signal(kind, stop)
    stopped = None
    try:
        yield
    except _Stopped as error:
        if not mine:
            raise
        stopped = error.args[0]
    finally:
        for kind in mine:
            signal.signal(kind, signal.SIG_DFL)
        if stopped is not None:
            os.kill(os.getpid(), stopped)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Lets Ctrl-C, SIGTERM and SIGHUP wait until what takes a moment, such as giving names to files, is done."""
    came: list[tuple[int, FrameType | None]] = []
    found = _handlers("SIGINT", "SIGTERM", "SIGHUP")
    handlers = {kind: handler for kind, handler in found.items() if handler not in (None, signal.SIG_IGN)}
    try:
        for kind in handlers:
            signal.signal(kind, lambda number, frame: came.append((number, frame)))
        yield
    finally:
        for kind, handler in handlers.items():
            signal.signal(kind, handler)
        with contextlib.ExitStack() as each:
            for number, frame in reversed(came):
                each.callback(_handle, handlers[signal.Signals(number)], number, frame)


def _handle(handler: Any, number: int, frame: FrameType | None) -> None:
    """Handles a signal that came before.

    A handler is called: an event loop, which knows of the signal already, would take a second one for another.
    """
    if callable(handler):
        handler(number, frame)
    else:
        signal.raise_signal(number)
