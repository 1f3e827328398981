"""A projection head fitted to its backbone's own MaxSim, on token states that are computed once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from serotine.evaluation import VectorStore
from serotine.maxsim import colbert_scores
from serotine.pca import principal_directions
from serotine.progress import Advance
from serotine.training.distillation import min_max_scaled
from serotine.training.examples import Example
from serotine.training.teacher_vectors import TeacherVectors, Vectors

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder

_TOKENS = "token_embeddings"
# Texts that are encoded and stored together: what a killed run encodes again.
_CHUNK = 256
# Queries of a batch, each scored with the positives of all of them.
_BATCH_SIZE = 64
_TEMPERATURE = 0.1
_LEARNING_RATE = 1e-3


def token_states(backbone: MultiVectorEncoder, folder: Path, key: str, *, bfloat16: bool) -> TeacherVectors:
    """Return the token states of a model without a head: not normalized, without the tokens that it masks.

    Args:
        backbone: the model.
        folder: where states are stored; those already there are read instead of computed.
        key: identifies everything but the texts that decides the states.
        bfloat16: whether its products are computed in bfloat16.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"

    def stored(*, query: bool) -> Vectors:
        encode_side = backbone.encode_query if query else backbone.encode_document

        def encode(texts: Sequence[str]) -> list[NDArray[np.float32]]:
            with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
                states: Any = encode_side(list(texts), convert_to_numpy=True, show_progress_bar=False)
            return list(states)

        side = f"{'queries' if query else 'documents'}{' bfloat16' if bfloat16 else ''}"
        return VectorStore(folder, encode, f"states {key} {side}").vectors

    return TeacherVectors(stored(query=True), stored(query=False))


def encode_all(states: TeacherVectors, examples: Sequence[Example], advance: Advance) -> None:
    """Compute and store the states of every example's query and positive."""
    for side, texts in (
        (states.queries, [example.query for example in examples]),
        (states.documents, [example.documents[0] for example in examples]),
    ):
        for start in range(0, len(texts), _CHUNK):
            chunk = texts[start : start + _CHUNK]
            side(chunk)
            advance(len(chunk))


def fit_to_scores(
    layers: Sequence[Any],
    states: TeacherVectors,
    examples: Mapping[str, Sequence[Example]],
    steps: int,
    seed: int,
    advance: Advance,
) -> None:
    """Fit a head's layers so that MaxSim of its vectors orders documents as MaxSim of the states themselves does.

    The last layer starts as the principal directions of the states. Every step draws a batch from one source, by its
    number of examples. Each query has a list of all positives in the batch; the loss is the KL divergence between the
    two lists of scores, scaled as in distillation. In the end the vectors are rotated, which changes no score, so that
    their first dimensions are the principal ones.

    Args:
        layers: modules of sentence-transformers from the states to the vectors; the last one is linear, those before it
            are the identity.
        states: token states, not normalized.
        examples: by source.
        steps: number of batches.
        seed: of the batches.
        advance: called with 1 after every step.

    Raises:
        ValueError: the states have fewer dimensions, or are fewer, than the vectors have dimensions.
    """
    weight = layers[-1].linear.weight
    with torch.no_grad():
        weight.copy_(_directions(layers[:-1], states, examples, len(weight)))
    parameters = [parameter for layer in layers for parameter in layer.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=_LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    for batch in _batches(examples, steps, seed):
        queries, documents = (
            [torch.from_numpy(rows) for rows in arrays]
            for arrays in (
                states.queries([example.query for example in batch]),
                states.documents([example.documents[0] for example in batch]),
            )
        )
        with torch.no_grad():
            scores = colbert_scores(_normalized(queries), _normalized(documents))
            target = torch.log_softmax(min_max_scaled(scores) / _TEMPERATURE, dim=-1)
        scores = colbert_scores(_projected(layers, queries), _projected(layers, documents))
        fitted = torch.log_softmax(min_max_scaled(scores) / _TEMPERATURE, dim=-1)
        loss = nn.functional.kl_div(fitted, target, reduction="batchmean", log_target=True)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        advance(1)
    with torch.no_grad():
        weight.copy_(_directions(layers, states, examples, len(weight)) @ weight)


def _batches(examples: Mapping[str, Sequence[Example]], steps: int, seed: int) -> Iterator[list[Example]]:
    rng = np.random.default_rng(seed)
    sources = list(examples.values())
    sizes = np.array(list(map(len, sources)), dtype=np.float64)
    for source in rng.choice(len(sources), size=steps, p=sizes / sizes.sum()):
        chosen = sources[source]
        numbers = rng.choice(len(chosen), size=min(_BATCH_SIZE, len(chosen)), replace=False)
        yield [chosen[number] for number in numbers]


def _projected(layers: Sequence[Any], states: Sequence[Tensor]) -> list[Tensor]:
    """Return the vectors that a head computes of every text's states, of length 1."""
    features = {_TOKENS: torch.cat(list(states))}
    for layer in layers:
        features = layer(features)
    vectors = nn.functional.normalize(features[_TOKENS], dim=-1)
    return list(vectors.split([len(rows) for rows in states]))


def _normalized(states: Sequence[Tensor]) -> list[Tensor]:
    return [nn.functional.normalize(rows, dim=-1) for rows in states]


def _directions(
    layers: Sequence[Any], states: TeacherVectors, examples: Mapping[str, Sequence[Example]], dim: int
) -> Tensor:
    """Return the principal directions of the vectors that layers compute of the positives' states."""

    def vectors() -> Iterator[NDArray[np.float32]]:
        for example in chain.from_iterable(examples.values()):
            (rows,) = states.documents(example.documents[:1])
            yield _projected(layers, [torch.from_numpy(rows)])[0].numpy()

    return torch.from_numpy(principal_directions(vectors(), dim))
