"""Decodes photos: upright, in the colours of the model, or an error that says what is wrong with the file."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxattr.errors import RuntimeMissingError, ShapeError
from onnxattr.home import at_home

if TYPE_CHECKING:
    from PIL.Image import Image

#: The names of files that are read as photos.
SUFFIXES = (
    ".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".avif", ".mpo"
)  # fmt: skip
#: The decoders of Pillow that are used: none that starts another program, as that of PostScript does.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "AVIF")
#: Most pixels of a photo: beyond it Pillow warns of files that are made to fill the memory.
_MOST_PIXELS = 89_478_485
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
#: The largest value of pictures of 16 bits, as that of 8 bits.
_SIXTEEN = 257
#: What greys of 2 and 4 bits are multiplied by, so that the largest is that of 8 bits.
_GREYS = {"'L;2'": 85, "'L;4'": 17}


def is_picture(value: Any) -> bool:
    """Whether something is an image of Pillow."""
    return type(value).__module__.partition(".")[0] == "PIL" and hasattr(value, "convert")


def read_photo(photo: Any, channels: int = 3) -> np.ndarray:
    """The pixels of a photo, upright as its EXIF entry says.

    Transparent pixels are laid on white, as viewers show them; with four channels they are kept. Pictures of 16 bits
    are scaled to 8.

    Args:
        photo: A path, an image of Pillow, or a file that is open for reading and has a name.
        channels: 1 for grey (0.299 R + 0.587 G + 0.114 B), 3 for red, green and blue, 4 with opacity.

    Returns:
        uint8 (H, W, channels).

    Raises:
        ShapeError: If the file is no photo, damaged, too large, or holds several pictures.
        RuntimeMissingError: If Pillow is not installed.
    """
    with _opened(photo) as image:
        from PIL import ImageOps

        pixels = np.asarray(_in_colours(ImageOps.exif_transpose(image), channels))
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _named(photo: Any) -> str:
    """What a photo is called in messages."""
    if is_picture(photo):
        return getattr(photo, "filename", "") or "The image"
    return str(photo.name) if hasattr(photo, "read") else os.fspath(photo)


@contextmanager
def _opened(photo: Any) -> Iterator[Image]:
    """A decoded image of Pillow."""
    name = _named(photo)
    try:
        from PIL import Image
    except ImportError as error:
        raise RuntimeMissingError(
            f"{name} is a photo, and Pillow, which decodes it, is not installed: pip install onnxattr[photo] "
            "(or pip install pillow)."
        ) from error
    if is_picture(photo):
        with _told(name):
            _check(photo, name)
            yield photo
        return
    photo = at_home(photo)
    if not hasattr(photo, "read") and not os.path.isfile(photo):
        raise ShapeError(f"{name}: there is no such file.")
    with _told(name), warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # _check refuses those
        Image.init()
        image = Image.open(photo, formats=[name for name in _FORMATS if name in Image.OPEN])
    with _told(name), image:
        _check(image, name)
        stored = str(image.tile)
        image.load()
        key = image.info.get("transparency")
        # Pillow has made 8 bits of the colours, but not of the one that is transparent.
        if ";16" in stored and isinstance(key, tuple):
            image.info["transparency"] = tuple(part >> 8 for part in key)
        elif isinstance(key, int):
            image.info["transparency"] = key * next((f for raw, f in _GREYS.items() if raw in stored), 1)
        yield image


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Says what a decoder failed on; what decoders raise on damaged files is no closed list."""
    try:
        yield
    except (ShapeError, RuntimeMissingError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        if "cannot identify image file" in reason:
            reason = f"it is no picture that can be read ({', '.join(_FORMATS)})"
        if type(error).__name__ == "DecompressionBombError":
            reason = f"it has more than {_MOST_PIXELS:,} pixels, which would fill the memory; make it smaller"
        raise ShapeError(f"{name} cannot be read as a photo: {reason}.") from error


def _check(image: Image, name: str) -> None:
    """Refuses what is no single photo, or too large to be decoded.

    Raises:
        ShapeError: If it is.
    """
    if image.width * image.height > _MOST_PIXELS:
        raise ShapeError(
            f"{name} has {image.width} x {image.height} pixels; at most {_MOST_PIXELS:,} are read, so that a small "
            "file cannot fill the memory. Make it smaller first."
        )
    wide = image.mode == "I" and image.format not in ("PNG", "PPM")  # those hold at most 16 bits
    if image.mode == "F" or wide:
        raise ShapeError(
            f"{name} holds numbers of mode {image.mode!r} and no colours; save them with numpy.save."
        )
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # a photo of a phone, with others beside it
        raise ShapeError(f"{name} holds {frames} pictures, as animations do; save the one that is meant.")


def _in_colours(image: Image, channels: int) -> Image:
    """The image in one, three or four channels of 8 bits."""
    from PIL import Image as Images

    if image.mode.startswith("I"):
        values, key = np.asarray(image), image.info.get("transparency")
        image = Images.fromarray(np.rint(values / _SIXTEEN).astype(np.uint8))
        if isinstance(key, int):
            image.putalpha(Images.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
    see_through = image.mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in image.info
    if see_through and channels != 4:
        image = image.convert("RGBA")
        image = Images.alpha_composite(Images.new("RGBA", image.size, "white"), image)
    return image.convert("RGB").convert(_MODES[channels]) if channels != 4 else image.convert("RGBA")
