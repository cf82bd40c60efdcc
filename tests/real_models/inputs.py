"""Inputs of the kind that a deployed model takes, each made from a seeded generator."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

Inputs = Mapping[str, np.ndarray]
DEEPCUT = "StatefulPartitionedCall/model/embedding/embedding_lookup:0"
ONE_HOT = "jax2tf_get_logits_/pjit_get_logits_/pjit__one_hot_/Cast_1:0"


def normal(scale: float = 1.0, **shapes: tuple[int, ...]) -> Callable[[np.random.Generator], Inputs]:
    """Inputs of normal noise."""
    return lambda rng: {
        name: rng.normal(0, scale, shape).astype(np.float32) for name, shape in shapes.items()
    }


def voice(name: str, samples: int, extra: Mapping[str, np.ndarray] | None = None):
    """Some voiced sound: harmonics of 220 Hz at 16 kHz, with noise."""

    def make(rng: np.random.Generator) -> Inputs:
        time = np.arange(samples) / 16_000
        sound = sum(np.sin(2 * np.pi * 220 * k * time) / k for k in range(1, 6)) + rng.normal(
            0, 0.05, samples
        )
        return {name: 0.2 * sound[None].astype(np.float32)} | dict(extra or {})

    return make


def sounds(rng: np.random.Generator) -> Inputs:
    """Two recordings, one of which ends early."""
    rows = [voice("x", 4_000)(rng)["x"][0] for _ in range(2)]
    return {"waveforms": np.stack(rows), "waveforms_lens": np.array([4_000, 3_000])}


def vad(rng: np.random.Generator) -> Inputs:
    sound = voice("input", 576)(rng)["input"]
    return {
        "input": sound,
        "state": rng.normal(0, 0.1, (2, 1, 128)).astype(np.float32),
        "sr": np.array(16_000),
    }


def vad_16k(rng: np.random.Generator) -> Inputs:
    return {name: value for name, value in vad(rng).items() if name != "sr"}


def hidden(shape: tuple[int, ...], name: str, **others: np.ndarray):
    """Normal noise for a value inside the model, with other inputs beside it."""
    return lambda rng: {name: rng.normal(0, 1, shape).astype(np.float32)} | others


def one_hot_bytes(rng: np.random.Generator) -> Inputs:
    """The first bytes of a PNG file between padding, as magika sees them, softened so that slopes exist."""
    data = np.full(2048, 256)
    signature = np.frombuffer(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", np.uint8)
    data[: len(signature)] = signature
    table = np.eye(257, dtype=np.float32)[data][None] + rng.normal(0, 0.01, (1, 2048, 257)).astype(np.float32)
    return {ONE_HOT: table, "bytes": data[None].astype(np.int32)}


def molecule(rng: np.random.Generator) -> Inputs:
    """A graph of 20 atoms and 60 edges in 3 residues, all its features of the size that the network was trained on."""
    atoms, edges, residues = 20, 60, 3

    def kinds(count: int, *shape: int) -> np.ndarray:
        return rng.integers(0, count, shape)

    def features(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    return {
        "element": kinds(4, atoms),
        "amino_acid": kinds(20, atoms),
        "atom_role": kinds(4, atoms),
        "bfactor": abs(features(atoms)),
        "edge_index": kinds(atoms, 2, edges),
        "edge_dist": 1 + abs(features(edges)),
        "seq_sep": kinds(4, edges),
        "same_residue": kinds(2, edges).astype(np.float32),
        "target_indices": kinds(atoms, residues, 6),
        "target_mask": np.ones((residues, 6), bool),
        "residue_types": kinds(20, residues),
        "residue_geometry": features(residues, 52),
        "target_environment": features(residues, 6, 15),
        "temperature_feature": features(residues, 1),
        "target_atom_rsasa": abs(features(residues, 6)),
        "pos": 3 * features(atoms, 3),
        "node_normal": features(atoms, 3),
        "is_hbond": kinds(2, edges).astype(np.float32),
        "hb_cos": features(edges),
    }


def tokens() -> Inputs:
    """Twelve tokens, the last two of them padding."""
    return {
        "input_ids": np.arange(1000, 1012)[None],
        "attention_mask": np.array([[1] * 10 + [0] * 2]),
        "token_type_ids": np.zeros((1, 12), np.int64),
    }


def atoms(rng: np.random.Generator) -> Inputs:
    """A molecule of eight atoms and eight directed bonds, features of any kind."""
    return normal(
        0.5,
        feat=(8, 85),
        edge_feat=(8, 13),
        laplacian_eigvec=(8, 8),
        laplacian_eigval=(8, 8),
        rw_return_probs=(8, 16),
        graph_slots=(1,),
    )(rng) | {"edge_index": rng.integers(0, 8, (2, 8)), "batch": np.zeros(8, np.int64)}


def letters(rng: np.random.Generator) -> Inputs:
    """Three letters that were written, and six that are read."""
    return normal(0.5, memory=(1, 6, 256), hidden=(1, 2, 256))(rng) | {
        "prefix": np.array([[1, 5, 9]]),
        "src_mask": np.ones((1, 6), bool),
    }
