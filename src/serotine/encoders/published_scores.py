"""Published scores of real checkpoints, and a check that this machine reproduces them.

Sources: the model card of perplexity-ai/pplx-embed-v1-late-0.6b, and the parity scores published with
sentence-transformers 6's MultiVectorEncoder; both with markers first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serotine import maxsim
from serotine.encoders.encoder import Encoder
from serotine.errors import EncoderError

_PLANET = "Which planet is known as the Red Planet?"
_PLANETS = (
    "Venus is often called Earth's twin because of its similar size and proximity.",
    "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
    "Jupiter, the largest planet in our solar system, has a prominent red spot.",
    "Saturn, famous for its rings, is sometimes mistaken for the Red Planet.",
)
_DISCOVERY = "What motivates scientific discovery?"
_DISCOVERIES = (
    "Scientists explore the universe driven by curiosity.",
    "Children learn through curious exploration.",
    "Historical discoveries began with curious questions.",
)
# Published in float32 with five decimals, computed on another machine.
TOLERANCE = 2e-3


@dataclass(frozen=True, slots=True)
class PublishedScores:
    """A query, its documents, and their published scores.

    Attributes:
        query, documents: the texts.
        scores: MaxSim of the query with each document.
        ids: the token ids of the query, if they were published.
    """

    query: str
    documents: tuple[str, ...]
    scores: tuple[float, ...]
    ids: tuple[int, ...] = ()


_PPLX_IDS = (151669, 3838, 12242, 973, 12344, 18335, 30) + (151642,) * 25
# By the model's name without its owner.
PUBLISHED: dict[str, tuple[PublishedScores, ...]] = {
    "pplx-embed-v1-late-0.6b": (
        PublishedScores(_DISCOVERY, _DISCOVERIES, (31.484119, 31.246202, 31.404053), _PPLX_IDS),
        PublishedScores(_PLANET, _PLANETS, (31.56128, 31.80504, 31.67393, 31.74072)),
    ),
    "colbertv2.0": (PublishedScores(_PLANET, _PLANETS, (12.79703, 27.19449, 23.8495, 24.56564)),),
    "answerai-colbert-small-v1": (PublishedScores(_PLANET, _PLANETS, (30.56916, 31.48954, 31.30291, 31.30716)),),
    "GTE-ModernColBERT-v1": (PublishedScores(_PLANET, _PLANETS, (11.25772, 11.51133, 11.34575, 11.4518)),),
    "LateOn": (PublishedScores(_PLANET, _PLANETS, (10.79417, 11.11042, 10.97427, 11.08107)),),
    "ColBERT-Zero": (PublishedScores(_PLANET, _PLANETS, (11.48635, 12.89087, 12.20023, 12.56686)),),
    "mxbai-edge-colbert-v0-17m": (PublishedScores(_PLANET, _PLANETS, (11.56932, 11.75844, 11.70989, 11.72288)),),
}


@dataclass(frozen=True, slots=True)
class Check:
    """A published value and the value computed here."""

    label: str
    published: str
    computed: str
    passed: bool


def published_for(name: str) -> tuple[PublishedScores, ...]:
    """Return the published scores of a model.

    Args:
        name: hub id, folder, or the model's name without its owner.

    Raises:
        EncoderError: none are known.
    """
    bare = name.partition("@")[0].rstrip("/").rsplit("/", 1)[-1]
    for model, scores in PUBLISHED.items():
        if model.lower() == bare.lower():
            return scores
    raise EncoderError(f"{bare!r}: no published scores; available for {', '.join(PUBLISHED)}")


def check_published(encoder: Encoder, published: tuple[PublishedScores, ...]) -> list[Check]:
    """Compare an encoder, whose markers must come first, with published scores."""
    checks = []
    for example in published:
        if example.ids:
            ids = encoder.token_ids(example.query, query=True)
            checks.append(Check(f"token ids of {example.query!r}", _ids(example.ids), _ids(ids), ids == example.ids))
        (query,) = encoder.encode_queries([example.query])
        scores = maxsim.score(query, encoder.encode_documents(list(example.documents)))
        for text, expected, score in zip(example.documents, example.scores, scores.tolist(), strict=True):
            close = bool(np.isclose(score, expected, rtol=0, atol=TOLERANCE))
            checks.append(Check(f"{example.query!r} x {text!r}", f"{expected:.5f}", f"{score:.5f}", close))
    return checks


def _ids(ids: tuple[int, ...]) -> str:
    return " ".join(map(str, ids))
