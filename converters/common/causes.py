"""What a library raised, as a part of a sentence."""

import re

#: What a terminal takes for colours and bold type; Keras puts them into its messages.
_STYLES = re.compile(r"\x1b\[[0-9;]*m")


def cause(error: Exception) -> str:
    """The kind of an error and the first 1,000 characters of its text, in one line, without styles and a last stop."""
    text = " ".join(_STYLES.sub("", str(error)).split())
    return f"{type(error).__name__}: {text[:1000]}".rstrip(".: ")
