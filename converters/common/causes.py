"""What a library raised, as a part of a sentence."""

import re

#: What a terminal takes for colours and bold type; Keras puts them into its messages.
_STYLES = re.compile(r"\x1b\[[0-9;]*m")


def cause(error: Exception, most: int = 1000) -> str:
    """The kind of an error and its text in one line of up to so many characters, without styles and the last stop."""
    text = " ".join(_STYLES.sub("", str(error)).split())
    return f"{type(error).__name__}: {text[:most]}".rstrip(".: ")
