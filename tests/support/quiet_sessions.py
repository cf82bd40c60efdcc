"""Sessions of ONNX Runtime whose idle threads sleep.

By default they wait for work in a loop, for milliseconds after a session is made and after each run: longer than a
small model takes. Numbers, threads and kernels stay as they are.
"""

import onnxruntime

_ENTRY = ("session.intra_op.allow_spinning", "0")


class SessionOptions(onnxruntime.SessionOptions):
    """The options of onnxruntime, without spinning."""

    def __init__(self):
        super().__init__()
        self.add_session_config_entry(*_ENTRY)


class InferenceSession(onnxruntime.InferenceSession):
    """The session of onnxruntime, without spinning where no options are given."""

    def __init__(self, model, sess_options=None, *arguments, **options):
        super().__init__(model, sess_options or SessionOptions(), *arguments, **options)


def use_quiet_sessions() -> None:
    """Lets everything in this process that makes a session make such a one."""
    onnxruntime.SessionOptions = SessionOptions
    onnxruntime.InferenceSession = InferenceSession
