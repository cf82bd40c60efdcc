"""Handlers of signals that a program has are called while files are written, each once."""

import asyncio
import os
import signal
import sys

import pytest

from onnxattr import files, signals

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")


def test_a_handler_of_the_program_is_kept(tmp_path):
    calls = []
    old = signal.signal(signal.SIGTERM, lambda *_: calls.append(1))
    try:
        with files.whole_file(tmp_path / "e") as file:
            os.kill(os.getpid(), signal.SIGTERM)
            file.write(b"whole")
    finally:
        signal.signal(signal.SIGTERM, old)
    assert calls == [1]
    assert (tmp_path / "e").read_bytes() == b"whole"


def test_signals_held_back_reach_each_handler_once():
    """Those of an event loop, which sees them when they come, and one behind another that raises."""
    calls = []

    def both():
        with signals.undisturbed():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)

    async def held():
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, calls.append, number)
        both()
        await asyncio.sleep(0.05)

    asyncio.run(held())
    assert calls == [signal.SIGINT, signal.SIGTERM]
    old = signal.signal(signal.SIGTERM, lambda *_: calls.append("after"))
    try:
        with pytest.raises(KeyboardInterrupt):
            both()
    finally:
        signal.signal(signal.SIGTERM, old)
    assert calls[2:] == ["after"]
