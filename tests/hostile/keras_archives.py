"""Keras files that are damaged, larger than they look, or reach out of themselves; `FILES` as in `keras_configs`."""

import io
import json
import os
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np

from hostile.keras_configs import layer, no_weights, operation, sequential, write_h5, write_zip

MIB = 2**20


def dense(units: int = 2, **more) -> dict:
    return layer("Dense", {"units": units, **more}, build_config={"input_shape": [None, 4]})


def bomb(path: Path, member: str, size: int = 256) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in (
            ("config.json", json.dumps(sequential(dense()))),
            ("model.weights.h5", no_weights()),
        ):
            if name != member:
                archive.writestr(name, content)
        with archive.open(member, "w", force_zip64=True) as file:
            for _ in range(size):
                file.write(b" " * MIB)
    return path


def many_bombs(path: Path) -> Path:
    """Each member is modest, all together fill the disk that they are unpacked to."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("config.json", json.dumps(sequential(dense())))
        archive.writestr("model.weights.h5", no_weights())
        for index in range(64):
            archive.writestr(f"assets/{index}", b"\0" * (4 * MIB))
    return path


def twice(path: Path) -> Path:
    write_zip(path, sequential(dense()))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("config.json", json.dumps(sequential(layer("Flatten", {}))))
    return path


def linked(path: Path) -> Path:
    write_zip(path, sequential(dense()))
    member = zipfile.ZipInfo("assets/link")
    member.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(member, "/etc/passwd")
    return path


def unknown_method(path: Path) -> Path:
    write_zip(path, sequential(dense()))
    return (
        path.write_bytes(
            path.read_bytes().replace(
                b"PK\x01\x02\x14\x03\x14\0\0\0\0\0", b"PK\x01\x02\x14\x03\x14\0\0\0\x63\0"
            )
        )
        and path
    )


def encrypted(path: Path) -> Path:
    write_zip(path, sequential(dense()))
    data = bytearray(path.read_bytes())
    for start in range(len(data) - 4):
        if data[start : start + 4] == b"PK\x01\x02":
            data[start + 8] |= 1
    path.write_bytes(bytes(data))
    return path


def weights(fill) -> bytes:
    held = io.BytesIO()
    with h5py.File(held, "w") as file:
        fill(file.create_group("layers/dense/vars"))
    return held.getvalue()


def external_link(path: Path) -> Path:
    return write_zip(
        path, sequential(dense()), weights(lambda g: g.__setitem__("0", h5py.ExternalLink("/etc/hosts", "/")))
    )


def external_data(path: Path) -> Path:
    def fill(group):
        group.create_dataset("0", (4, 2), "f4", external=[("/etc/passwd", 0, 32)])
        group.create_dataset("1", (2,), "f4")

    return write_zip(path, sequential(dense()), weights(fill))


def virtual_data(path: Path) -> Path:
    def fill(group):
        layout = h5py.VirtualLayout((4, 2), "f4")
        layout[:] = h5py.VirtualSource("/etc/other.h5", "x", (4, 2), "f4")
        group.create_virtual_dataset("0", layout)
        group.create_dataset("1", (2,), "f4")

    return write_zip(path, sequential(dense()), weights(fill))


def sparse_data(path: Path) -> Path:
    """A weight of 64 GiB that takes no place: none of its chunks is written."""

    def fill(group):
        group.create_dataset("0", (2**17, 2**17), "f4", chunks=(1024, 1024))
        group.create_dataset("1", (2**17,), "f4")

    return write_zip(path, sequential(dense(2**17)), weights(fill))


def fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def numbers_attribute(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = np.zeros(10)
    return path


def heap_that_stays(path: Path, size: int) -> Path:
    """A file in whose heap of texts the first object has another number or size.

    Args:
        path: The file.
        size: 0: what is left of the heap, of size 0, so that no step leads on; else the object's size.
    """
    whole = write_h5(path.with_suffix(".whole"), sequential(dense()))
    data = bytearray(whole.read_bytes())
    whole.unlink()
    first = data.index(b"GCOL") + 16
    data[first : first + 16] = struct.pack("<HHIQ", bool(size), 0, 0, size)
    if path.suffix == ".keras":
        return write_zip(path, sequential(dense()), bytes(data))
    path.write_bytes(data)
    return path


def long_attribute(path: Path) -> Path:
    with h5py.File(path, "w", libver="latest") as file:
        file.attrs["model_config"] = "[" * (64 * MIB)
    return path


def nested(depth: int) -> str:
    return '{"class_name": "Sequential", "config": ' + '{"a":' * depth + "1" + "}" * depth + "}"


def huge_input(path: Path) -> Path:
    first = layer("InputLayer", {"batch_shape": [None, 10**10], "dtype": "float32"})
    return write_zip(path, layer("Sequential", {"layers": [first, layer("ReLU", {})]}, "keras"))


FILES = {
    "config_bomb.keras": lambda path: bomb(path, "config.json", 1024),
    "weights_bomb.keras": lambda path: bomb(path, "model.weights.h5"),
    "asset_bomb.keras": lambda path: bomb(path, "assets/a"),
    "many_bombs.keras": many_bombs,
    "config_twice.keras": twice,
    "link_member.keras": linked,
    "unknown_method.keras": unknown_method,
    "encrypted.keras": encrypted,
    "slip.keras": lambda path: write_zip(path, sequential(dense()), **{"../slipped": b"ran"}),
    "slip_inside.keras": lambda path: write_zip(
        path, sequential(dense()), **{"assets/../../slipped": b"ran"}
    ),
    "slip_absolute.keras": lambda path: write_zip(path, sequential(dense()), **{"/tmp/slipped": b"ran"}),
    "slip_windows.keras": lambda path: write_zip(
        path, sequential(dense()), **{"assets\\..\\..\\slipped": b"ran"}
    ),
    "many_members.keras": lambda path: write_zip(
        path, sequential(dense()), **{f"a/{i}": b"" for i in range(20_000)}
    ),
    "external_link.keras": external_link,
    "external_data.keras": external_data,
    "virtual_data.keras": virtual_data,
    "sparse_data.keras": sparse_data,
    "no_weights.keras": lambda path: write_zip(path, sequential(dense())),
    "weights_are_text.keras": lambda path: write_zip(path, sequential(dense()), b"hello"),
    "config_is_a_list.keras": lambda path: write_zip(path, "[1, 2]"),
    "config_is_a_number.keras": lambda path: write_zip(path, "1e400"),
    "config_is_empty.keras": lambda path: write_zip(path, ""),
    "config_is_no_utf8.keras": lambda path: write_zip(path, b'{"class_name": "\xff\xfe"}'),
    "config_nested_100000.keras": lambda path: write_zip(path, nested(100_000)),
    "config_nested_900.keras": lambda path: write_zip(path, nested(900)),
    "config_nested_100000.h5": lambda path: write_h5(path, nested(10_000)),
    "class_is_a_list.keras": lambda path: write_zip(path, {"class_name": ["Dense"], "config": {}}),
    "config_is_null.keras": lambda path: write_zip(path, {"class_name": "Sequential", "config": None}),
    "layers_are_text.keras": lambda path: write_zip(
        path, {"class_name": "Sequential", "config": {"layers": "abc"}}
    ),
    "huge_units.keras": lambda path: write_zip(path, sequential(dense(2_000_000_000))),
    "huge_embedding.keras": lambda path: write_zip(
        path, sequential(layer("Embedding", {"input_dim": 10**12, "output_dim": 10**6}))
    ),
    "huge_kernel.h5": lambda path: write_h5(
        path,
        {
            "class_name": "Sequential",
            "config": {
                "name": "s",
                "layers": [
                    {"class_name": "Dense", "config": {"batch_input_shape": [None, 10**6], "units": 10**6}}
                ],
            },
        },
    ),
    "huge_repeat.keras": lambda path: write_zip(path, sequential(layer("RepeatVector", {"n": 10**10}))),
    "huge_input.keras": huge_input,
    "negative_units.keras": lambda path: write_zip(path, sequential(dense(-3))),
    "unknown_tf_function.h5": lambda path: write_h5(path, operation("math.abs", ["i", 0, 0, {}])),
    "number_as_configuration.h5": numbers_attribute,
    "long_configuration.h5": long_attribute,
    "heap_of_size_0.h5": lambda path: heap_that_stays(path, 0),
    "heap_of_size_0.keras": lambda path: heap_that_stays(path, 0),
    "heap_beyond_its_end.h5": lambda path: heap_that_stays(path, 2**64 - 16),
    "pipe.keras": fifo,
    "pipe.h5": fifo,
    "empty.keras": lambda path: path.write_bytes(b"") and path,
    "only_magic.h5": lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n") and path,
    "only_magic.keras": lambda path: path.write_bytes(b"PK\x05\x06" + b"\0" * 18) and path,
}
