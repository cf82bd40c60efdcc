"""The table of what the Keras converter replaces in other packages: all of it exists, and all of it is restored."""

import contextlib
import sys

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tf_keras")
pytest.importorskip("tf2onnx")
from onnxattr.converters.common.patching import Patch, applied  # noqa: E402
from onnxattr.converters.keras.patches.table import PATCHES, group  # noqa: E402
from onnxattr.converters.keras.recurrence.layers import RecurrentLayers  # noqa: E402
from onnxattr.converters.keras.tf2onnx_taps import Taps  # noqa: E402
from onnxattr.converters.keras.tracing.trace import LayerRecorder  # noqa: E402

from onnxattr.errors import ConversionError  # noqa: E402

#: What the replacements of each group work with.
CONTEXTS = {
    "tf2onnx": lambda: Taps([]),
    "padding": lambda: None,
    "calls": lambda: LayerRecorder(None),
    "recurrent": RecurrentLayers,
    "weights": lambda: lambda original: lambda *args, **kwargs: original(*args, **kwargs),
    "steps": lambda: lambda original: lambda *args, **kwargs: original(*args, **kwargs),
}
ROWS = [pytest.param(patch, id=f"{patch.owner}.{patch.attribute}") for patch in PATCHES]


def own_attributes(patches):
    """What the owners themselves hold under the names: what they inherit is not theirs."""
    return [vars(patch.found_owner()).get(patch.attribute, "nothing") for patch in patches]


@pytest.mark.parametrize("patch", ROWS)
def test_owner_and_attribute_exist(patch):
    assert hasattr(patch.found_owner(), patch.attribute) is not patch.added
    assert patch.why.endswith(".")
    assert patch.version.split()[-1][0].isdigit()


@pytest.mark.parametrize("failing", [False, True])
@pytest.mark.parametrize("name", CONTEXTS)
def test_all_is_restored(name, failing):
    patches = group(name)
    before = own_attributes(patches)
    with contextlib.suppress(ZeroDivisionError), applied(patches, CONTEXTS[name]()):
        inside = own_attributes(patches)
        assert not any(a is b for a, b in zip(before, inside, strict=True))
        if failing:
            _ = 1 / 0
    after = own_attributes(patches)
    assert patches
    assert all(a is b for a, b in zip(before, after, strict=True))


def test_every_group_is_tested():
    assert {patch.group for patch in PATCHES} == set(CONTEXTS)


def test_all_is_restored_where_a_later_patch_fails():
    """A row that the installed version lacks is refused, and those before it are undone."""
    good = Patch("test", "numpy", "prod", lambda *_: None, "It is there.", "NumPy 2.4")
    gone = Patch("test", "numpy.linalg:LinAlgError", "not_there", lambda *_: None, "It is not.", "NumPy 0.9")
    before = np.prod
    message = r"numpy has no numpy.linalg.LinAlgError.not_there.*NumPy 0.9"
    with pytest.raises(ConversionError, match=message), applied([good, gone]):
        pass
    assert np.prod is before


def test_packages_that_are_not_imported_are_left_alone():
    absent = Patch("test", "wsgiref.handlers", "not_there", lambda *_: None, "It is not.", "Python 3.11")
    assert "wsgiref" not in sys.modules
    with applied([absent]):
        assert "wsgiref" not in sys.modules


def test_optional_patches_may_lack_their_attribute():
    absent = Patch("test", "numpy", "not_there", lambda *_: 1, "It is not.", "NumPy 0.9", optional=True)
    with applied([absent]):
        assert not hasattr(np, "not_there")
