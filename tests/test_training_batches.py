"""Batch samplers: length, repeated texts, sources, topics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("accelerate", "datasets", "datasketch", "sentence_transformers.multi_vector_encoder", "yaml"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from datasets import Dataset  # noqa: E402
from helpers.checkpoints import sentence_transformers  # noqa: E402
from helpers.training_cases import QUIET, recipe  # noqa: E402
from torch.utils.data import ConcatDataset  # noqa: E402

from serotine.errors import TrainingError  # noqa: E402
from serotine.training import load_recipe, train  # noqa: E402
from serotine.training.batches import LengthGroupedBatches, MixedSources  # noqa: E402
from serotine.training.examples import Example  # noqa: E402
from serotine.training.topics import assign_topics  # noqa: E402

pytestmark = QUIET


def test_batches_have_similar_lengths() -> None:
    rng = np.random.default_rng(2)
    lengths = rng.integers(1, 400, 640)
    dataset = Dataset.from_dict({"query": ["q"] * 640, "positive": ["x" * length for length in lengths]})
    batches = list(LengthGroupedBatches(dataset, 16, True, seed=1, unique_texts=False))
    assert sorted(i for batch in batches for i in batch) == list(range(640))
    assert np.mean([np.ptp(lengths[batch]) for batch in batches]) < 40
    # The batches are shuffled: neither short nor long ones come first.
    assert abs(np.corrcoef(np.arange(40), [lengths[batch].mean() for batch in batches])[0, 1]) < 0.5


@pytest.mark.parametrize("unique", [True, False])
def test_no_text_twice_in_a_batch(unique: bool) -> None:
    """Where other examples' documents are negatives, a repeated text would be its own negative."""
    dataset = Dataset.from_dict(
        {"query": [f"q {i}" for i in range(60)], "positive": [f"p {i // 3}" for i in range(60)]}
    )
    batches = list(LengthGroupedBatches(dataset, 6, True, seed=1, unique_texts=unique))
    repeating = [batch for batch in batches if len({i // 3 for i in batch}) < 6]
    assert bool(repeating) != unique
    assert len(batches) >= 9


@pytest.mark.parametrize(("exponent", "share"), [(0, 1 / 2), (0.5, 1 / 4), (1, 1 / 10)])
def test_sources_are_mixed_by_size_to_a_power(exponent: float, share: float) -> None:
    sources = [
        Dataset.from_dict({"query": [f"{name} {i}" for i in range(size)]}) for name, size in (("a", 40), ("b", 360))
    ]
    samplers = [LengthGroupedBatches(source, 4, True, seed=1) for source in sources]
    mixed = MixedSources(ConcatDataset(sources), samplers, seed=3, steps=2000, exponent=exponent)
    batches = list(mixed)
    assert len(batches) == len(mixed) == 2000
    assert all(len({i < 40 for i in batch}) == 1 for batch in batches)
    assert np.mean([batch[0] < 40 for batch in batches]) == pytest.approx(share, abs=0.04)


def test_batches_of_one_topic() -> None:
    """Each batch is of one topic, leftovers are mixed; each epoch differs, and no example occurs twice."""
    rng = np.random.default_rng(5)
    # Thirty words, ten of each topic, whose embeddings are near those of the others of their topic.
    embeddings = (np.repeat(rng.standard_normal((3, 8)), 10, axis=0) + rng.standard_normal((30, 8)) / 9).astype(
        np.float32
    )
    words = rng.integers(0, 10, (70, 6)) + 10 * (np.arange(70) % 3)[:, None]
    texts = [" ".join(map(str, row[: 2 + number % 5])) for number, row in enumerate(words)]
    examples = [Example(f"q {number}", (text, "another")) for number, text in enumerate(texts)]

    def tokenizer(texts: list[str], **_: object) -> dict[str, list[list[int]]]:
        return {"input_ids": [[int(word) for word in text.split()] for text in texts]}

    topics = assign_topics(examples, tokenizer, embeddings, 3, seed=0)
    assert [set(topics[start::3]) for start in range(3)] == [{topics[start]} for start in range(3)]
    assert len(set(topics)) == 3
    dataset = Dataset.from_dict({"query": [example.query for example in examples], "label": range(70)})
    sampler = LengthGroupedBatches(dataset, 8, True, ["label"], seed=1, topics=topics)
    epochs = []
    for number in (0, 1, 0):
        sampler.set_epoch(number)
        epochs.append(list(sampler))
    assert epochs[0] == epochs[2]
    assert {frozenset(batch) for batch in epochs[0]} != {frozenset(batch) for batch in epochs[1]}
    for batches in epochs:
        # 24, 23 and 23 examples: seven batches of one topic, and one of the remaining 14.
        assert len(batches) == len(sampler) == 8
        assert sorted(len({topics[i] for i in batch}) for batch in batches)[:7] == [1] * 7
        assert len({i for batch in batches for i in batch}) == 64


def test_a_stage_of_topics(tiny: Path, workspace: Path) -> None:
    sentence_transformers(workspace / "teacher")
    stage = {"name": "kd", "sources": ["animals"], "objective": "distillation", "teachers": [{"encoder": "teacher"}]}
    stage |= {"steps": 4, "batch_size": 8, "topics": 4, "learning_rate": 2e-3}
    train(load_recipe(recipe(workspace, tiny, stages=[stage])))
    stage["topics"] = 1000
    file = recipe(workspace, tiny, stages=[stage], output="second")
    with pytest.raises(
        TrainingError, match=r"stage 'kd': topics: 160 examples are too few for 1,000 topics with a batch of 8"
    ):
        train(load_recipe(file))
