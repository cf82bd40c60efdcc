"""Why torch.onnx.export could not convert a module, in words."""

import os
import re
import traceback

_CALL = re.compile(
    r'The following call raised this error:.*?File "([^"]+)", line (\d+), in [^\n]*\n\s*([^\n]+)', re.S
)

_PACKED = (
    "it packs sequences (pack_padded_sequence), whose sizes follow from the numbers of the lengths, and torch.export "
    "has no sizes for that. Give the recurrent layer the padded sequences and take its outputs at lengths - 1, which "
    "are the same numbers where it runs forwards alone. Or let the older exporter write a file to explain, "
    "torch.onnx.export(module, inputs, path, dynamo=False): with enforce_sorted=True, which in the file allows any "
    "order, as it otherwise sorts the batch and mixes samples; and with padding_value=0, as it ignores another."
)
_FAKE = (
    "torch.ao.quantization's fake quantisation asks its flags in Python{place}, which torch.export does not take. The "
    "older exporter writes it as QuantizeLinear and DequantizeLinear, into a file to explain: "
    "torch.onnx.export(module, inputs, path, dynamo=False)."
)


def why_not(error: BaseException, name: str, dynamic_batch: bool) -> str:
    """What to say to whoever wanted to convert a module.

    Args:
        error: What the exporter raised.
        name: The class of the module.
        dynamic_batch: Whether a batch of any size was asked for.
    """
    reason, start = _reason(error), f"torch.onnx.export could not convert {name}: "
    if _packs(reason):
        return f"{start}{_PACKED}"
    if "data-dependent expression" in str(reason):
        return start + _decided(reason)  # the older exporter writes the way of the examples for all inputs
    advice = (
        " If a batch of any size is what fails, convert with dynamic_batch=False; if it is an operator, the older"
        if dynamic_batch
        else " The older"
    )
    return (
        f"{start}{_in_words(reason)}.{advice} exporter may have it: "
        "torch.onnx.export(module, inputs, path, dynamo=False) writes a file to explain."
    )


def _reason(error: BaseException) -> BaseException:
    """What the exporter raised of its own, or what a translation can't write."""
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    return root if isinstance(root, NotImplementedError) else error.__cause__ or error


def _in_words(error: BaseException) -> str:
    """What an error says; of one without words, such as a bare assertion, its kind and the line it comes from."""
    words = " ".join(str(error).split())[:600]
    frames = traceback.extract_tb(error.__traceback__)
    if words or not frames:
        return words or type(error).__name__
    return f"{type(error).__name__} in {os.path.basename(frames[-1].filename)}, line {frames[-1].lineno}"


def _decided(error: BaseException) -> str:
    """Of a module that decides in Python by the numbers of a tensor, the line and the way out."""
    place = _place(error)
    if _inside(error, "torch", "distributions"):
        return (
            f"torch.distributions checks the numbers of a tensor in Python{place}, which a graph cannot. "
            "Make the distribution with validate_args=False."
        )
    if _inside(error, "torch", "ao", "quantization"):
        return _FAKE.format(place=place)
    return (
        f"it decides in Python by the numbers of a tensor{place}, and a graph goes one way for all inputs. "
        "Choose between values with torch.where, and make a size, an index or a number of rounds one that is fixed or "
        "comes from the shapes of the inputs."
    )


def _place(error: BaseException) -> str:
    """Where a module decides: the line that the exporter names, or the last line of a forward() if it names none."""
    call = _CALL.search(str(error))
    if call and not call[1].startswith("<"):
        return f" at {os.path.basename(call[1])}, line {call[2]} (`{call[3].strip()}`)"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.name == "forward"]
    if not frames:
        return ""
    return f" at {os.path.basename(frames[-1].filename)}, line {frames[-1].lineno} (`{frames[-1].line}`)"


def _inside(error: BaseException, *folders: str) -> bool:
    """Whether an error comes out of code in a folder."""
    part = os.path.join(*folders) + os.sep
    return any(part in frame.filename for frame in traceback.extract_tb(error.__traceback__))


def _packs(error: BaseException) -> bool:
    """Whether an error comes from packed sequences: an operator that packs, or a call that holds such a sequence."""
    if "_pack_padded_sequence" in str(error):
        return True
    calls = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return any(
        type(value).__name__ == "PackedSequence" for frame in calls for value in frame.f_locals.values()
    )
