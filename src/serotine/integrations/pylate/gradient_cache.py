"""Gradient caching (Gao, Zhang, Han and Callan 2021, "Scaling deep contrastive learning batch size").

Texts are encoded in small parts without a graph; the loss is taken over all their vectors, whose gradients are kept;
then each part is encoded again, with the same random numbers and a graph, and its gradients are sent through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import get_device_states, set_device_states

from serotine.progress import progress_bar

Losses = Callable[[Sequence[Tensor]], Iterable[Tensor]]


class _Randomness:
    """The random state of the CPU and of the devices of some tensors, to be gone back to."""

    def __init__(self, *tensors: Tensor) -> None:
        self._cpu = torch.get_rng_state()
        self._devices, self._states = get_device_states(*tensors)

    def restored(self) -> AbstractContextManager[Any]:
        """A context in which random numbers come as they came then; afterwards as if nothing had been drawn."""
        fork = torch.random.fork_rng(devices=self._devices, enabled=True)
        cpu, devices, states = self._cpu, self._devices, self._states

        class Restored(AbstractContextManager[None]):
            def __enter__(self) -> None:
                fork.__enter__()
                torch.set_rng_state(cpu)
                set_device_states(devices, states)

            def __exit__(self, *error: Any) -> None:
                fork.__exit__(*error)

        return Restored()


class CachedEmbeddings:
    """The normalised vectors of every column of a batch, encoded in small parts.

    Args:
        model: features in, "token_embeddings" out.
        features: what each column was tokenised to.
        size: texts encoded at once.
        show_progress: draw a bar on standard error.
    """

    def __init__(
        self, model: Any, features: Sequence[dict[str, Tensor]], size: int, *, show_progress: bool = False
    ) -> None:
        self._model = model
        self._show_progress = show_progress
        self._parts = [
            [{key: value[start : start + size] for key, value in column.items()} for start in range(0, rows, size)]
            for column in features
            for rows in [len(column["input_ids"])]
        ]
        self._random: list[list[_Randomness]] = [[] for _ in features]
        self._embeddings = self._encode_all()

    def loss(self, losses: Losses) -> Tensor:
        """The sum of what `losses` gives of all columns' vectors, one part after the other.

        A backward pass through it reaches the model: each part's graph is freed before the next is scored.
        """
        if not torch.is_grad_enabled():
            return torch.stack(list(losses(self._embeddings))).sum()
        leaves = [column.detach().requires_grad_() for column in self._embeddings]
        total = torch.zeros((), device=leaves[0].device)
        for part in losses(leaves):
            part.backward(retain_graph=False)
            total = total + part.detach()
        gradients = [leaf.grad for leaf in leaves]
        total.requires_grad_()
        total.register_hook(lambda scale: self._send(gradients, scale))
        return total

    def _encode_all(self) -> list[Tensor]:
        columns = []
        with self._bar("Encoding") as advance, torch.no_grad():
            for column, parts in enumerate(self._parts):
                rows = []
                for part in parts:
                    self._random[column].append(_Randomness(*part.values()))
                    rows.append(self._encode(part))
                    advance(len(rows[-1]))
                columns.append(torch.cat(rows))
        return columns

    def _send(self, gradients: Sequence[Tensor | None], scale: Tensor) -> None:
        with self._bar("Sending gradients") as advance, torch.enable_grad():
            for parts, states, gradient in zip(self._parts, self._random, gradients, strict=True):
                start = 0
                for part, state in zip(parts, states, strict=True):
                    with state.restored():
                        rows = self._encode(part)
                    if gradient is not None:
                        rows.backward(gradient[start : start + len(rows)] * scale)
                    start += len(rows)
                    advance(len(rows))

    def _encode(self, part: dict[str, Tensor]) -> Tensor:
        return functional.normalize(self._model(part)["token_embeddings"], dim=-1)

    def _bar(self, what: str) -> Any:
        if not self._show_progress:
            return nullcontext(lambda rows: None)
        total = sum(len(part["input_ids"]) for parts in self._parts for part in parts)
        return progress_bar(total, what, enabled=True)
