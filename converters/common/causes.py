"""What a library raised, as a part of a sentence."""

import re

#: What a terminal takes for colours and bold type; Keras puts them into its messages.
_STYLES = re.compile(r"\x1b\[[0-9;]*m")

#: What Keras 3 and tf_keras put around the text of an error that is raised inside a layer's call.
_WRAPPED = re.compile(
    r"Exception encountered when calling (?:\S+\.call\(\)\.\s+\x1b\[1m(?P<new>.*?)\x1b\[0m|"
    r"layer .*?\n\n(?P<old>.*?)\n\nCall arguments received)",
    re.S,
)


def cause(error: Exception) -> str:
    """The kind of an error and the first 1,000 characters of its text, in one line, without styles and a last stop."""
    text = " ".join(_STYLES.sub("", str(error)).split())
    return f"{type(error).__name__}: {text[:1000]}".rstrip(".: ")


def own_words(error: Exception) -> str:
    """The text of an error as it was raised, without what Keras puts around it and the arguments of the call."""
    found = _WRAPPED.search(str(error))
    return str(error) if found is None else (found["new"] or found["old"]).strip()
