from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from helpers.fakes import WordEncoder

from serotine.cli import main
from serotine.errors import TrainingError
from serotine.maxsim import reference
from serotine.training.examples import Example, read_examples
from serotine.training.mining import MiningOptions, mine
from serotine.training.teachers import LateInteractionTeacher

# Ten words in every passage; passage i shares 10 - i of them with the query.
WORDS = [f"w{i}" for i in range(10)]
QUERY = " ".join(WORDS)


def passage(shared: int, other: str) -> str:
    return " ".join([*WORDS[:shared], *(f"{other}{i}" for i in range(10 - shared))])


PASSAGES = [passage(shared, f"p{shared}x") for shared in range(9, 0, -1)]
# The positive shares 8 words; some passages share more, or nearly as many.
EXAMPLES = [
    Example(QUERY, (PASSAGES[1],)),
    *(Example(f"q{number}x", (text,)) for number, text in enumerate(PASSAGES) if number != 1),
]


class CountingTeacher:
    """A teacher that scores a passage by the number of the query's words in it."""

    def score(self, queries: Sequence[str], documents: Sequence[Sequence[str]]) -> list[list[float]]:
        return [
            [float(len(set(query.split()) & set(text.split()))) for text in texts]
            for query, texts in zip(queries, documents, strict=True)
        ]


def mined(tmp_path: Path, options: MiningOptions, teacher: CountingTeacher | None = None) -> dict[str, Example]:
    file = tmp_path / "mined.jsonl"
    mine(EXAMPLES, file, encoder=WordEncoder(64), teacher=teacher, options=options)
    return {example.query: example for example in read_examples(file)}


def shared_words(text: str) -> int:
    return len(set(text.split()) & set(WORDS))


@pytest.mark.parametrize(("ratio", "hardest"), [(0.95, 7), (0.9, 7), (0.8, 6), (0.5, 3)])
def test_passages_that_score_like_the_positive_are_dropped(tmp_path: Path, ratio: float, hardest: int) -> None:
    """With a teacher that counts shared words, the bound is exact: 8 words x ratio."""
    example = mined(tmp_path, MiningOptions(negatives=2, depth=9, ratio=ratio), CountingTeacher())[QUERY]
    assert [shared_words(text) for text in example.documents] == [8, hardest, hardest - 1]
    assert example.scores == (8.0, hardest, hardest - 1)


def test_without_a_teacher_the_encoder_scores(tmp_path: Path) -> None:
    example = mined(tmp_path, MiningOptions(negatives=2, depth=9, ratio=0.95))[QUERY]
    assert example.scores is None
    encoder = WordEncoder(64)
    (query,) = encoder.encode_queries([QUERY])
    positive, *others = [reference.score(query, encoder.encode_documents([text])[0]) for text in example.documents]
    assert all(score < 0.95 * positive for score in others)
    assert shared_words(example.documents[1]) == 7
    scored = mined(tmp_path, MiningOptions(negatives=2, depth=9, ratio=0.95, scored=True))[QUERY]
    assert scored.documents == example.documents
    np.testing.assert_allclose(scored.scores, [positive, *others], rtol=1e-3)  # the index stores float16
    late = LateInteractionTeacher(encoder).score([QUERY], [example.documents])
    np.testing.assert_allclose(late[0], [positive, *others], rtol=1e-5)


def test_answers_to_the_same_query_are_dropped(tmp_path: Path) -> None:
    examples = [*EXAMPLES, Example(QUERY.upper(), (PASSAGES[3],))]
    report = mine(
        examples,
        tmp_path / "a.jsonl",
        encoder=WordEncoder(64),
        teacher=CountingTeacher(),
        options=MiningOptions(2, 9, 0.95),
    )
    example = {row.query: row for row in read_examples(tmp_path / "a.jsonl")}[QUERY]
    assert [shared_words(text) for text in example.documents] == [8, 7, 5]  # the passage with 6 is an answer too
    assert report.dropped["passage: an answer to the same query"] >= 2
    assert (report.examples, report.passages) == (10, 9)
    assert report.written + report.dropped["example: too few negatives"] == 10


def test_bm25_has_a_share_in_the_scores(tmp_path: Path) -> None:
    class ConstantTeacher(CountingTeacher):
        def score(self, queries: Sequence[str], documents: Sequence[Sequence[str]]) -> list[list[float]]:
            return [[1.0, *([0.0] * (len(texts) - 1))] for texts in documents]

    example = mined(tmp_path, MiningOptions(negatives=3, depth=9, bm25_weight=0.25), ConstantTeacher())[QUERY]
    assert example.scores is not None
    # BM25 orders the passages that the teacher scores equally: 9, 7 and 6 shared words.
    assert shared_words(example.documents[1]) == 9
    assert example.scores[1] == pytest.approx(0.25)
    assert example.scores[1] > example.scores[2] > example.scores[3] == pytest.approx(0)
    assert 0.75 < example.scores[0] < 1


def test_the_bound_of_negative_scores(tmp_path: Path) -> None:
    class NegativeTeacher(CountingTeacher):
        def score(self, queries: Sequence[str], documents: Sequence[Sequence[str]]) -> list[list[float]]:
            return [[value - 20 for value in values] for values in super().score(queries, documents)]

    # The positive scores -12: the bound is -13.2, 6 words and fewer.
    example = mined(tmp_path, MiningOptions(negatives=2, depth=9, ratio=0.9), NegativeTeacher())[QUERY]
    assert [shared_words(text) for text in example.documents] == [8, 6, 5]


def test_an_index_is_reused(tmp_path: Path) -> None:
    class CountingEncoder(WordEncoder):
        encoded = 0

        def encode_documents(self, texts: Sequence[str]) -> list[np.ndarray]:
            CountingEncoder.encoded += len(texts)
            return super().encode_documents(texts)

    options = {"encoder": CountingEncoder(64), "teacher": CountingTeacher(), "index_folder": tmp_path / "index"}
    first = mine(EXAMPLES, tmp_path / "first.jsonl", options=MiningOptions(2, 9), **options)
    assert CountingEncoder.encoded == 9
    second = mine(EXAMPLES, tmp_path / "second.jsonl", options=MiningOptions(2, 9), **options)
    assert CountingEncoder.encoded == 9
    assert first == second
    assert (tmp_path / "first.jsonl").read_text() == (tmp_path / "second.jsonl").read_text()
    with pytest.raises(TrainingError, match="holds an index of other passages"):
        mine([*EXAMPLES[1:], Example("q", ("another",))], tmp_path / "three.jsonl", **options)


def test_nothing_is_written_without_negatives(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no example has 50 negatives"):
        mine(EXAMPLES, tmp_path / "a.jsonl", encoder=WordEncoder(64), options=MiningOptions(50))
    assert not list(tmp_path.iterdir())


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    from serotine import training

    monkeypatch.setattr(training, "load_encoder", lambda name: WordEncoder(64))
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps({"query": e.query, "positive": e.documents[0]}) + "\n" for e in EXAMPLES))
    out = tmp_path / "mined.jsonl"
    assert main(["train", "mine", str(file), "-o", str(out), "--negatives", "2", "--depth", "9", "--teacher", "t"]) == 0
    assert "9 examples from 9 passages" in capfd.readouterr().out
    assert next(iter(read_examples(out))).scores is not None
    for arguments, message in (
        (["-o", "out.csv"], "--output: must be a .jsonl file"),
        (["-o", "o.jsonl", "--depth", "3"], "--depth: 3 passages cannot give 7 negatives"),
        (["-o", "o.jsonl", "--teacher", "a", "--cross-encoder", "b"], "mutually exclusive"),
        (["-o", "o.jsonl", "--ratio", "0"], "--ratio"),
        (["-o", "o.jsonl", "--bm25-weight", "0.5"], "--bm25-weight: needs scores to mix with"),
    ):
        assert main(["train", "mine", str(file), *arguments]) == 2
        assert message in capfd.readouterr().err
    assert main(["train", "none.yaml"]) == 2
    assert "none.yaml" in capfd.readouterr().err
