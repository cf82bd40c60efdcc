"""No Keras file and no SavedModel acts, hangs, fills the memory or raises another library's exception."""

import importlib.util
import json
import os
import random
import shutil
import zipfile

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from hostile import keras_archives, keras_configs, saved_models  # noqa: E402
from hostile.opened import fingerprint, open_each  # noqa: E402

IMPORTS = """
import os, sys, warnings
warnings.simplefilter("ignore")
if os.environ.get("HIDE_TF_KERAS"):
    sys.modules["tf_keras"] = None
import tensorflow, keras, h5py, onnxruntime
from onnxattr import cli
from onnxattr.converters import keras as _
from onnxattr.converters.keras import tf2onnx_driver
from onnxattr.converters.files import convert_file

@keras.saving.register_keras_serializable("hostile")
class Acting(keras.layers.Layer):
    def __init__(self, path, **more):
        super().__init__()
        open(path, "w").close()

@keras.saving.register_keras_serializable("hostile")
def acting(x):
    open("acted", "w").close()
    return x
"""
CONVERT = "convert_file(path, path + '.onnx')"
INSPECT = "cli.main(['inspect', path])\n"
VALID = ("a.keras", "a.h5", "a")
# Part of what is said of some files.
SAID = {
    "lambda_in_wrapper.keras": "'sequential/timedistributed/sequential/lambda'",
    "rmtree.h5": "'io.gfile.rmtree'",
    "write": "WriteFile",
    "config_bomb.keras": "unpacks to 1024 MiB",
    "config_twice.keras": "is in it twice",
    "slip.keras": "leads out of the archive",
    "external_link.keras": "leads to another file",
    "external_data.keras": "lie in another file",
    "config_nested_900.keras": "nested more than 200 levels",
    "huge_units.keras": "asks for a weight of shape (4, 2000000000)",
    "pipe.keras": "a device or a pipe",
    "heap_of_size_0.h5": "sizes in its heap at byte",
    "heap_of_size_0.keras": "sizes in its heap at byte",
    "heap_beyond_its_end.h5": "sizes in its heap at byte",
    "huge_repeat.keras": "--no-verify",
}
HAS_TF_KERAS = importlib.util.find_spec("tf_keras") is not None


@pytest.fixture
def canary(tmp_path):
    """A folder with something to lose, which is also the working directory; files lie beside it."""
    folder = tmp_path / "canary"
    (folder / keras_configs.VICTIM).mkdir(parents=True)
    (folder / keras_configs.VICTIM / "a").write_text("kept")
    return folder


def written(makers, tmp_path, *arguments):
    place = tmp_path / "files"
    place.mkdir(exist_ok=True)
    for name, write in makers.items():
        write(place / name, *arguments)
    return [place / name for name in makers]


def ends(paths, canary, action=CONVERT, **settings):
    """What became of each file, by name, after looking at the canary."""
    before = fingerprint(canary)
    outcomes = open_each(paths, action, imports=IMPORTS, folder=canary, **settings)
    assert fingerprint(canary) == before, "a file acted"
    assert [o for o in outcomes if not o.harmless] == []
    assert [o for o in outcomes if o.megabytes > 1000] == []
    return {os.path.basename(outcome.path): outcome for outcome in outcomes}


def check_refused(found, names):
    assert {name: found[name].kind for name in names} == dict.fromkeys(names, "refused")


def test_nothing_acts(canary, tmp_path):
    """Crafted files of every format; in one process that has imported TensorFlow, of which each gets a copy."""
    saved = written(saved_models.FOLDERS, tmp_path, canary)
    for path in canary.iterdir():  # what was written while the SavedModels were made
        if path.is_file():
            path.unlink()
    paths = [
        *written(keras_configs.FILES, tmp_path, canary),
        *written(keras_archives.FILES, tmp_path),
        *saved,
    ]
    found = ends([*paths, *valid(tmp_path)], canary, INSPECT + CONVERT)
    check_refused(found, [path.name for path in paths])
    assert {name: found[name].kind for name in VALID} == dict.fromkeys(VALID, "opened")
    acting = (*keras_configs.FILES, *saved_models.FOLDERS)
    assert [name for name in acting if "--trust" not in found[name].message] == []
    for name, said in SAID.items():
        assert said in found[name].message, found[name]


def test_nothing_acts_without_tf_keras(canary, tmp_path):
    paths = written(keras_configs.FILES, tmp_path, canary)
    found = ends(paths, canary, environment={"HIDE_TF_KERAS": "1"})
    check_refused(found, keras_configs.FILES)


def test_with_trust_they_act(canary, tmp_path):
    """The files are what they seem to be."""
    names = {"lambda.keras": "lambda"}
    if HAS_TF_KERAS:
        names |= {"write.h5": "written", "copy.h5": "copied", "makedirs.h5": "made", "rmtree.h5": ""}
    paths = written({name: keras_configs.FILES[name] for name in names}, tmp_path, canary)
    open_each(paths, "convert_file(path, path + '.onnx', trust=True)", imports=IMPORTS, folder=canary)
    kept = set() if HAS_TF_KERAS else {keras_configs.VICTIM}
    assert {path.name for path in canary.iterdir()} == {name for name in names.values() if name} | kept


def valid(tmp_path):
    """A model with most kinds of parts, in each format; returns their paths."""
    L = keras.layers
    model = keras.Sequential(name="whole")
    model.add(L.Input((6, 3)))
    model.add(L.Conv1D(4, 2, activation="relu", kernel_regularizer="l2"))
    model.add(L.BatchNormalization())
    model.add(L.Bidirectional(L.GRU(3)))
    model.add(L.Dense(2, activation="softmax", name="last"))
    for name in ("a.keras", "a.h5"):
        model.save(tmp_path / name)
    model.export(tmp_path / "a", verbose=False)
    return [tmp_path / name for name in VALID]


def mutated(source, count, tmp_path):
    """Copies of a file with bytes changed, cut off, doubled or overwritten; the same each time."""
    generator, paths = np.random.default_rng(len(source.name)), []
    content = source.read_bytes()
    for index in range(count):
        data = bytearray(content)
        kind = index % 5
        where, length = int(generator.integers(len(data))), int(generator.integers(1, 200))
        if kind == 0:
            del data[where:]
        elif kind == 1:
            data[where : where + length] = generator.bytes(length)
        elif kind == 2:
            del data[where : where + length]
        elif kind == 3:
            data[where:where] = data[:length]
        else:
            for place in generator.integers(len(data), size=8):
                data[place] ^= 1 << int(generator.integers(8))
        path = tmp_path / f"mutated{index}{source.suffix}"
        path.write_bytes(bytes(data))
        paths.append(path)
    return paths


def mutated_configurations(source, count, tmp_path):
    """`.keras` archives, whole, in whose configuration values are exchanged for others of any type."""
    with zipfile.ZipFile(source) as archive:
        config, weights = json.loads(archive.read("config.json")), archive.read("model.weights.h5")
    generator, paths = random.Random(0), []
    values = [
        None,
        True,
        -1,
        0,
        3,
        1e300,
        2**40,
        "",
        "relu",
        "Lambda",
        [],
        [None],
        {},
        {"class_name": "Dense"},
    ]
    for index in range(count):
        changed = json.loads(json.dumps(config))
        places = []
        pending = [changed]
        while pending:
            item = pending.pop()
            keys = item.keys() if isinstance(item, dict) else range(len(item))
            places.extend((item, key) for key in keys)
            pending.extend(item[key] for key in keys if isinstance(item[key], (dict, list)))
        for item, key in generator.sample(places, 2):
            item[key] = generator.choice(values)
        paths.append(keras_configs.write_zip(tmp_path / f"configured{index}.keras", changed, weights))
    return paths


def check_mutated(count, canary, tmp_path):
    archive, old, folder = valid(tmp_path)
    paths = [*mutated(archive, count, tmp_path), *mutated(old, count, tmp_path)]
    paths += mutated_configurations(archive, count, tmp_path)
    for place in ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"):
        for index, path in enumerate(mutated(folder / place, max(count // 3, 2), tmp_path)):
            copy = tmp_path / f"{place.replace('/', '_')}{index}"
            shutil.copytree(folder, copy)
            path.replace(copy / place)
            paths.append(copy)
    found = ends(paths, canary)
    assert len([o for o in found.values() if o.kind == "refused"]) > len(paths) / 3


def test_mutated_files(canary, tmp_path):
    check_mutated(4, canary, tmp_path)


@pytest.mark.slow
def test_many_mutated_files(canary, tmp_path):
    check_mutated(150, canary, tmp_path)
