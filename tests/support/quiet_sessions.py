"""Sessions of ONNX Runtime of one thread, whose idle threads sleep, where a test or the code sets nothing else.

By default there is a thread for each core, made anew for each session; idle ones wait for work in a loop, for
milliseconds after a session is made and after each run: longer than a small model takes. The tests have a process for
each core. Kernels stay as they are.
"""

import onnxruntime

_ENTRY = ("session.intra_op.allow_spinning", "0")


class SessionOptions(onnxruntime.SessionOptions):
    """The options of onnxruntime, with one thread and without spinning."""

    def __init__(self):
        super().__init__()
        self.intra_op_num_threads = 1
        self.add_session_config_entry(*_ENTRY)


class InferenceSession(onnxruntime.InferenceSession):
    """The session of onnxruntime, quiet where no options are given."""

    def __init__(self, model, sess_options=None, *arguments, **options):
        super().__init__(model, sess_options or SessionOptions(), *arguments, **options)


def use_quiet_sessions() -> None:
    """Lets everything in this process that makes a session make such a one."""
    onnxruntime.SessionOptions = SessionOptions
    onnxruntime.InferenceSession = InferenceSession
