"""Whether progress bars are shown."""

from __future__ import annotations

import sys


def hidden(progress: bool | None) -> bool | None:
    """Whether a bar is hidden, as tqdm takes it: None hides it unless a terminal shows it.

    Args:
        progress: Whether it was asked for; None to show it on a terminal. Where the program has no error output, as
            services have none, there is no bar.
    """
    if sys.stderr is None or sys.stderr.closed:
        return True
    return None if progress is None else not progress
