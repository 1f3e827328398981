"""Gradient caching (Gao, Zhang, Han and Callan 2021, "Scaling deep contrastive learning batch size").

Texts are encoded in mini-batches without a graph. The loss over all their vectors gives each vector a gradient, which
is cached. Then each mini-batch is encoded again, with the same random numbers and a graph, to backpropagate its
gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import get_device_states, set_device_states

from serotine.progress import Advance, progress_bar

LossFunction = Callable[[Sequence[Tensor]], Iterable[Tensor]]


class _RandomState:
    """The random state of the CPU and of the devices of some tensors."""

    def __init__(self, *tensors: Tensor) -> None:
        self._cpu = torch.get_rng_state()
        self._devices, self._states = get_device_states(*tensors)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Repeat in this block the random numbers drawn since; leaving it restores the state before the block."""
        with torch.random.fork_rng(devices=self._devices, enabled=True):
            torch.set_rng_state(self._cpu)
            set_device_states(self._devices, self._states)
            yield


class CachedEmbeddings:
    """The normalized vectors of every column of a batch, encoded in mini-batches.

    Args:
        model: maps features to "token_embeddings".
        features: the tokenized columns.
        size: texts encoded at once.
        show_progress: draw a bar on standard error.
    """

    def __init__(
        self, model: Any, features: Sequence[dict[str, Tensor]], size: int, *, show_progress: bool = False
    ) -> None:
        self._model = model
        self._show_progress = show_progress
        self._mini_batches = [
            [{key: value[start : start + size] for key, value in column.items()} for start in range(0, rows, size)]
            for column in features
            for rows in [len(column["input_ids"])]
        ]
        self._random_states: list[list[_RandomState]] = [[] for _ in features]
        self._embeddings = self._encode_all()

    def loss(self, losses: LossFunction) -> Tensor:
        """Return the sum of the losses over all columns' vectors; its backward pass reaches the model.

        Args:
            losses: yields losses one after the other; each one's graph is freed before the next is computed.
        """
        if not torch.is_grad_enabled():
            return torch.stack(list(losses(self._embeddings))).sum()
        leaves = [column.detach().requires_grad_() for column in self._embeddings]
        total = torch.zeros((), device=leaves[0].device)
        for loss in losses(leaves):
            loss.backward(retain_graph=False)
            total = total + loss.detach()
        gradients = [leaf.grad for leaf in leaves]
        total.requires_grad_()
        total.register_hook(lambda scale: self._backpropagate(gradients, scale))
        return total

    def _encode_all(self) -> list[Tensor]:
        columns = []
        with self._bar("Encoding") as advance, torch.no_grad():
            for column, mini_batches in enumerate(self._mini_batches):
                rows = []
                for mini_batch in mini_batches:
                    self._random_states[column].append(_RandomState(*mini_batch.values()))
                    rows.append(self._encode(mini_batch))
                    advance(len(rows[-1]))
                columns.append(torch.cat(rows))
        return columns

    def _backpropagate(self, gradients: Sequence[Tensor | None], scale: Tensor) -> None:
        with self._bar("Backpropagating") as advance, torch.enable_grad():
            for mini_batches, states, gradient in zip(self._mini_batches, self._random_states, gradients, strict=True):
                start = 0
                for mini_batch, state in zip(mini_batches, states, strict=True):
                    with state.restored():
                        rows = self._encode(mini_batch)
                    if gradient is not None:
                        rows.backward(gradient[start : start + len(rows)] * scale)
                    start += len(rows)
                    advance(len(rows))

    def _encode(self, mini_batch: dict[str, Tensor]) -> Tensor:
        return functional.normalize(self._model(mini_batch)["token_embeddings"], dim=-1)

    def _bar(self, description: str) -> AbstractContextManager[Advance]:
        total = sum(len(batch["input_ids"]) for batches in self._mini_batches for batch in batches)
        return progress_bar(total, description, enabled=self._show_progress)
