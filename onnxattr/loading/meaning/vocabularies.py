"""The words of a model's token ids: read from what a caller has, stored once in the model's metadata.

The metadata entry ``onnxattr.vocabulary`` is a JSON object: by the name of an integer input the words of its ids, in
their order.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

from onnxattr.errors import ParameterError
from onnxattr.loading.meaning.entries import read_entry, texts_by_name
from onnxattr.loading.meaning.text_files import read_texts

KEY = "onnxattr.vocabulary"
_LARGEST = 2**26
#: The ids up to which few may have a word: those of the largest tokenizers are a quarter of it.
_MOST_UNUSED = 2**20
_EXPECTED = (
    "a list of words, a dict of ids by word, a Keras layer or a tokenizer, a .txt file with one word on each line, or "
    "a .json file: tokenizer.json, vocab.json or a list"
)


def read_vocabularies(metadata: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The words of each input that has some; none without the metadata entry.

    Raises:
        ModelError: If the entry is damaged.
    """
    return read_entry(metadata, KEY, texts_by_name, {})


def note_vocabulary(metadata: MutableMapping[str, str], name: str, words: Sequence[str]) -> None:
    """Writes the words of an input into a model's metadata."""
    known = read_vocabularies(metadata) | {name: tuple(words)}
    metadata[KEY] = json.dumps({name: list(words) for name, words in known.items()}, ensure_ascii=False)


def vocabulary_of(given: Any) -> tuple[str, ...]:
    """The words by their ids, from 0 on; ids between that stand for no word get the name "[unused7]".

    Args:
        given: A list of words; a dict of ids by word; an object with ``get_vocabulary()`` (Keras' ``TextVectorization``
            and ``StringLookup``) or ``get_vocab()`` (Hugging Face's tokenizers); or the path of a ``.txt`` file, one
            word on each line, or of a ``.json`` file: Hugging Face's ``tokenizer.json``, a ``vocab.json`` of ids by
            word, or a list of words.

    Raises:
        ParameterError: If there are none.
    """
    if isinstance(given, (str, os.PathLike)):
        return _listed(
            read_texts(given, "vocabulary", _EXPECTED, _LARGEST, _lines, _of_tokenizer),
            f"vocabulary: {given}",
        )
    for call in ("get_vocabulary", "get_vocab"):
        if callable(getattr(given, call, None)):
            return _listed(getattr(given, call)(), "vocabulary")
    return _listed(given, "vocabulary")


def _lines(text: str) -> list[str]:
    return [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]


def _of_tokenizer(found: Any) -> Any:
    """The vocabulary in a ``tokenizer.json``, with the tokens that were added; other values as they are."""
    if not isinstance(found, dict) or not isinstance(found.get("model"), dict):
        return found
    words = found["model"].get("vocab")
    if isinstance(words, list):  # Unigram: pairs of a piece and its score
        pieces = [pair[0] if isinstance(pair, list) and pair else pair for pair in words]
        if odd := [piece for piece in pieces if not isinstance(piece, str)]:
            raise ValueError(f"its vocab holds {odd[0]!r:.80}, which is no word")
        words = {piece: index for index, piece in enumerate(pieces)}
    if not isinstance(words, dict):
        raise ValueError("its model has no vocab")
    added = found.get("added_tokens") or []
    if not isinstance(added, list):
        raise ValueError(f"its added_tokens are {type(added).__name__}")
    tokens = [token for token in added if isinstance(token, dict) and "id" in token]
    if odd := [token for token in tokens if not isinstance(token.get("content"), str)]:
        raise ValueError(f"the token {odd[0]['id']!r:.80} has no text")
    return words | {token["content"]: token["id"] for token in tokens}


def _listed(found: Any, what: str) -> tuple[str, ...]:
    if isinstance(found, Mapping):
        ids = list(found.values())
        if not all(
            isinstance(index, int) and not isinstance(index, bool) and 0 <= index < _LARGEST for index in ids
        ):
            raise ParameterError(
                f"{what}: the dict holds {ids[:3]}; expected ids by word. Expected {_EXPECTED}."
            )
        most = max(ids, default=-1)
        if most >= max(_MOST_UNUSED, 2 * len(ids)):
            raise ParameterError(
                f"{what}: the largest id is {most}, of {len(ids)} in all; expected ids below {_MOST_UNUSED}, or a word "
                "for at least half of those up to it."
            )
        words = [f"[unused{index}]" for index in range(most + 1)]
        for word, index in found.items():
            words[index] = word
        found = words
    found = found.tolist() if hasattr(found, "tolist") else found
    if not isinstance(found, Sequence) or isinstance(found, (str, bytes)) or not found:
        raise ParameterError(f"{what} holds no words; expected {_EXPECTED}.")
    if odd := [word for word in found if not isinstance(word, str)]:
        raise ParameterError(f"{what} holds {odd[0]!r}, which is no word; expected {_EXPECTED}.")
    # Keras pads texts with a word that is empty.
    return tuple(word or "[PAD]" for word in found)
