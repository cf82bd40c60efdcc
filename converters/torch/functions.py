"""Functions of PyTorch whose exported form has no gradient, or that look at numbers, written in other functions."""

from collections.abc import Callable
from typing import Any

from ..common.patching import Patch

_VERSION = "torch 2.13.0"


def _bags(original: Callable[..., Any], torch: Any) -> Callable[..., Any]:
    """Rows of a table, times their weights, and their sum, mean or largest in each bag."""

    def embedding_bag(
        input: Any,
        weight: Any,
        offsets: Any = None,
        max_norm: float | None = None,
        norm_type: float = 2,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        per_sample_weights: Any = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> Any:
        if max_norm is not None or (per_sample_weights is not None and mode != "sum"):
            return original(
                input, weight, offsets, max_norm, norm_type, scale_grad_by_freq, mode, sparse,
                per_sample_weights, include_last_offset, padding_idx,
            )  # fmt: skip
        rows = torch.nn.functional.embedding(input, weight)
        if per_sample_weights is not None:
            rows = rows * per_sample_weights.unsqueeze(-1)
        skipped = None if padding_idx is None else input == padding_idx % weight.shape[0]
        if input.ndim == 2:
            return _reduced(torch, rows, skipped, mode)
        ends = offsets[1:] if include_last_offset else offsets
        bags = ends.shape[0]
        starts = offsets[:-1] if include_last_offset else offsets
        place = torch.arange(input.shape[0], device=input.device)
        # The last of the bags that start there: the others are empty.
        member = (starts <= place.unsqueeze(1)).sum(1) - 1
        return _scattered(torch, rows, member, skipped, mode, bags)

    return embedding_bag


def _reduced(torch: Any, rows: Any, skipped: Any, mode: str) -> Any:
    """Bags of one length: (bags, length, width)."""
    if skipped is not None:
        least = float("-inf") if mode == "max" else 0.0
        rows = rows.masked_fill(skipped.unsqueeze(-1), least)
    if mode == "max":
        found = rows.max(1).values
        return found if skipped is None else found.masked_fill(skipped.all(1, keepdim=True), 0.0)
    total = rows.sum(1)
    if mode == "sum":
        return total
    length = rows.shape[1]
    return total / (length if skipped is None else (~skipped).sum(1, keepdim=True).clamp(min=1))


def _scattered(torch: Any, rows: Any, member: Any, skipped: Any, mode: str, bags: Any) -> Any:
    """Bags one after the other: (elements of all of them, width)."""
    kept = torch.ones_like(rows[:, :1]) if skipped is None else (~skipped).unsqueeze(1).to(rows)
    index = member.unsqueeze(1)
    count = torch.zeros(bags, 1, dtype=rows.dtype, device=rows.device).scatter_add(0, index, kept)
    start = torch.zeros(bags, rows.shape[1], dtype=rows.dtype, device=rows.device)
    index = index.expand(-1, rows.shape[1])
    if mode == "max":
        lowest = rows.masked_fill(kept == 0, float("-inf"))
        found = (start - float("inf")).scatter_reduce(0, index, lowest, "amax")
        return found.masked_fill(count == 0, 0.0)
    total = start.scatter_add(0, index, rows.masked_fill(kept == 0, 0.0))
    return total if mode == "sum" else total / count.clamp(min=1)


def _covariance(original: Callable[..., Any], torch: Any) -> Callable[..., Any]:
    def cov(input: Any, *, correction: int = 1, fweights: Any = None, aweights: Any = None) -> Any:
        x = input.reshape(1, -1) if input.ndim < 2 else input
        weights = fweights if aweights is None else aweights if fweights is None else fweights * aweights
        if weights is None:
            sizes: Any = x.shape[1] - correction
            centred = x - x.mean(1, keepdim=True)
            weighted = centred
        else:
            total = weights.sum()
            sizes = total - correction * ((weights * aweights).sum() / total if aweights is not None else 1)
            centred = x - (x * weights).sum(1, keepdim=True) / total
            weighted = centred * weights
        sizes = max(sizes, 0) if weights is None else sizes.clamp(min=0)
        return (weighted @ centred.mT.conj() / sizes).squeeze()

    return cov


def _correlation(original: Callable[..., Any], torch: Any) -> Callable[..., Any]:
    def corrcoef(input: Any) -> Any:
        if input.is_complex():
            return original(input)
        found = torch.cov(input)
        if not found.ndim:
            return found / found
        deviation = found.diagonal().sqrt()
        return (found / deviation.unsqueeze(1) / deviation).clamp(-1, 1)

    return corrcoef


def _patch(owner: str, attribute: str, replacement: Callable[[Any, Any], Any], why: str) -> Patch:
    return Patch("functions", owner, attribute, replacement, why, _VERSION, optional=True)


_SEQUENCES = "The exporter writes it as a loop over a sequence, through which no gradient goes."
_NUMBERS = "It reads numbers of a tensor, which torch.export does not take."

#: For every export.
WRITTEN = (
    _patch("torch.nn.functional", "embedding_bag", _bags, _SEQUENCES),
    _patch("torch", "cov", _covariance, _NUMBERS),
    _patch("torch:Tensor", "cov", _covariance, _NUMBERS),
    _patch("torch", "corrcoef", _correlation, _NUMBERS),
    _patch("torch:Tensor", "corrcoef", _correlation, _NUMBERS),
)
