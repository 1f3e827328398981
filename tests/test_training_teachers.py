from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("accelerate", "datasets", "datasketch", "sentence_transformers.multi_vector_encoder", "yaml"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from helpers.checkpoints import sentence_transformers  # noqa: E402
from helpers.training_cases import QUIET, losses, recipe  # noqa: E402

from serotine import Encoder, maxsim  # noqa: E402
from serotine.encoders import TokenPooling  # noqa: E402
from serotine.encoders.token_pooling import merge_tokens  # noqa: E402
from serotine.errors import TrainingError  # noqa: E402
from serotine.training import distillation, load_recipe, train  # noqa: E402
from serotine.training.batches import MixedSources  # noqa: E402
from serotine.training.checkpoints import load  # noqa: E402
from serotine.training.cleaning import clean  # noqa: E402
from serotine.training.distillation import InBatchDistillation  # noqa: E402
from serotine.training.examples import Example  # noqa: E402
from serotine.training.lexical import LexicalScorer  # noqa: E402
from serotine.training.losses import build_loss  # noqa: E402
from serotine.training.merged_documents import merged_documents  # noqa: E402
from serotine.training.recipe import Cleaning, Stage, TeacherShare  # noqa: E402
from serotine.training.teacher_vectors import TeacherVectors  # noqa: E402
from serotine.training.topics import assign_topics  # noqa: E402

pytestmark = QUIET

# The same texts in a language that the student reads and in one that the teacher reads.
TRANSLATED = [
    Example("wo ist die Eule", ("die Eule ist hier",), teacher=Example("where is the owl", ("the owl is here",))),
    Example("wo ist der Wal", ("der Wal ist dort",), teacher=Example("where is the whale", ("the whale is there",))),
    Example("wo ist der Hase", ("der Hase fehlt",), teacher=Example("where is the hare", ("the hare is missing",))),
]


def vectors(texts: list[str], seed: int, dim: int = 8) -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    return {text: rng.standard_normal((4, dim)).astype(np.float32) for text in texts}


def lookup(table: dict[str, np.ndarray[Any, Any]]) -> Any:
    return lambda texts: [table[text] for text in texts]


def teacher_of(examples: list[Example], seed: int, weight: float = 1.0, dim: int = 8) -> TeacherVectors:
    queries = vectors([example.read_by_teacher.query for example in examples], seed, dim)
    documents = vectors([text for example in examples for text in example.read_by_teacher.documents], seed + 1, dim)
    return TeacherVectors(lookup(queries), lookup(documents), weight)


def scaled(scores: Any) -> Any:
    low = scores.min(axis=-1, keepdims=True)
    return (scores - low) / (scores.max(axis=-1, keepdims=True) - low)


@pytest.fixture
def student(tiny: Path, workspace: Path) -> Any:
    short = [{"name": "pairs", "sources": ["animals"], "steps": 1, "batch_size": 8}]
    train(load_recipe(recipe(workspace, tiny, stages=short)))
    return load(workspace / "run/model")


def test_teachers_read_their_own_texts_and_are_averaged(student: Any) -> None:
    """Scores of teachers of other dimensions, each scaled to 0..1 per list, are weighted."""
    teachers = [teacher_of(TRANSLATED, 1, weight=3.0), teacher_of(TRANSLATED, 7, dim=5)]
    loss = InBatchDistillation(student, dict(enumerate(TRANSLATED)), teachers, 0.5)
    scores = loss._teacher_scores(torch.tensor([2, 0, 1]), 1).numpy()
    order = [TRANSLATED[i].read_by_teacher for i in (2, 0, 1)]
    expected = np.zeros((3, 3))
    for teacher in teachers:
        documents = teacher.documents([example.documents[0] for example in order])
        rows = [maxsim.score(query, documents) for query in teacher.queries([example.query for example in order])]
        expected += teacher.weight * scaled(np.array(rows))
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)


def test_bm25_has_its_share_in_the_sources_named(student: Any) -> None:
    """The teacher alone scores the other source."""
    labeled = {name: dict(enumerate(TRANSLATED)) for name in ("prose", "code")}
    share = TeacherShare(encoder="unused")
    stage = Stage("kd", ("prose", "code"), 1, "distillation", (share,), bm25_weight=0.4, bm25_sources=("prose",))
    losses_of = build_loss(stage, student, labeled, [teacher_of(TRANSLATED, 1)])
    prose, code = (losses_of[name]._teacher_scores(torch.tensor([2, 0, 1]), 1).numpy() for name in ("prose", "code"))
    np.testing.assert_allclose(code, scaled(code), atol=1e-6)
    texts = [TRANSLATED[i].read_by_teacher for i in (2, 0, 1)]
    words = LexicalScorer(example.documents[0] for example in texts)
    bm25 = np.array([words.scores(example.query, [other.documents[0] for other in texts]) for example in texts])
    np.testing.assert_allclose(prose, 0.6 * code + 0.4 * scaled(bm25), rtol=1e-4, atol=1e-5)


def test_the_loss_of_the_first_dimensions(student: Any) -> None:
    """It is the same divergence, of vectors cut and scaled to length 1 again."""
    examples, teachers = dict(enumerate(TRANSLATED)), [teacher_of(TRANSLATED, 1)]
    columns = [[row.query for row in TRANSLATED], [row.documents[0] for row in TRANSLATED]]
    features = [
        student.preprocess(texts, task=task) for texts, task in zip(columns, ("query", "document"), strict=True)
    ]
    labels = torch.tensor([0, 1, 2])
    student.eval()
    plain = InBatchDistillation(student, examples, teachers, 0.5)
    with torch.no_grad():
        whole = float(plain(features, labels))
        both = float(InBatchDistillation(student, examples, teachers, 0.5, 0.0, {4: 0.25})(features, labels))
    encoded = [student.encode_query(columns[0]), student.encode_document(columns[1])]
    cut = [[v[:, :4] / np.linalg.norm(v[:, :4], axis=1, keepdims=True) for v in side] for side in encoded]
    scores = np.array([maxsim.score(query, cut[1]) for query in cut[0]])
    student_log, teacher_log = (
        torch.log_softmax(torch.from_numpy(scaled(values).astype(np.float32)) / 0.5, -1)
        for values in (scores, plain._teacher_scores(labels, 1).numpy())
    )
    divergence = float((teacher_log.exp() * (teacher_log - student_log)).sum() / 3)
    assert divergence > 0
    assert both - whole == pytest.approx(0.25 * divergence, rel=1e-3)


def test_a_stage_of_two_teachers_and_two_sources(tiny: Path, workspace: Path) -> None:
    """The second teacher encodes the texts of its own source only; frozen embeddings stay as they are."""
    from safetensors.numpy import load_file

    sentence_transformers(workspace / "teacher")
    records = [json.loads(line) for line in (workspace / "pairs.jsonl").read_text().splitlines()]
    for record in records:
        record["teacher"] = {"query": record["query"], "positive": record["positive"]}
        record["query"] = record["query"].replace("where is the", "wo ist das Tier")
    (workspace / "translated.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    stage = {"name": "kd", "sources": ["animals", "translated"], "objective": "distillation", "steps": 40}
    stage |= {"batch_size": 16, "learning_rate": 5e-3, "temperature": 0.2, "bm25_weight": 0.2, "topics": 4}
    stage["teachers"] = [
        {"encoder": "teacher", "weight": 0.5},
        {"encoder": str(tiny), "weight": 0.3, "sources": ["translated"]},
    ]
    stage |= {"matryoshka_dims": [8], "pool_factors": [2, 3]}
    sources = [{"name": "animals", "path": "pairs.jsonl"}, {"name": "translated", "path": "translated.jsonl"}]
    changes = {"sources": sources, "stages": [stage], "freeze_embeddings": True}
    train(load_recipe(recipe(workspace, tiny, **changes)))
    values = [loss for _, loss in losses(workspace / "run")]
    assert np.mean(values[-8:]) < 0.9 * np.mean(values[:8])
    before, after = (load_file(workspace / f"run/{name}/model.safetensors") for name in ("initial", "model"))
    words = "embeddings.word_embeddings.weight"
    assert np.array_equal(before[words], after[words])
    assert not np.array_equal(before["embeddings.LayerNorm.weight"], after["embeddings.LayerNorm.weight"])
    assert Encoder(workspace / "run/model").dim == 16
    stage["matryoshka_dims"] = [8, 16]
    with pytest.raises(TrainingError, match=r"stage 'kd': matryoshka_dims: must be between 1 and 15, .* got 16"):
        train(load_recipe(recipe(workspace, tiny, **{**changes, "output": "second"})))


def test_teachers_encode_what_batches_draw(tiny: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps of eight examples need at most sixteen of the 160 queries, however many a stage could draw."""
    sentence_transformers(workspace / "teacher")
    encoded: list[str] = []
    encode_queries = Encoder.encode_queries

    def count(self: Encoder, texts: Any, **options: Any) -> Any:
        encoded.extend(texts)
        return encode_queries(self, texts, **options)

    monkeypatch.setattr(Encoder, "encode_queries", count)
    stage = {"name": "kd", "sources": ["animals"], "objective": "distillation", "topics": 4, "steps": 2}
    stage |= {"batch_size": 8, "teachers": [{"encoder": "teacher"}]}
    train(load_recipe(recipe(workspace, tiny, stages=[stage])))
    assert 8 <= len(encoded) <= 16
    assert len(set(encoded)) == len(encoded)


@pytest.mark.parametrize("documents", [1, 2])
def test_documents_in_parts_of_similar_length(documents: int, student: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The vectors, and the order of the documents, are those of one padded batch."""
    texts = ["an owl", "a whale is there, far away from the others", "a bat", "one two three four", "x", "the hare"]
    columns = [texts[start::documents] for start in range(documents)]
    features = [student.preprocess(column, task="document") for column in columns]
    student.eval()
    results = []
    for parts in (1, 3):
        monkeypatch.setattr(distillation, "_LENGTH_PARTS", parts)
        loss = InBatchDistillation(student, {}, [], 0.5)
        with torch.no_grad():
            results.append(loss._document_vectors([dict(column) for column in features]))
    (whole, whole_mask), (split, split_mask) = results
    assert whole.shape == split.shape == (len(texts) // documents, documents, whole.shape[2], 16)
    assert torch.equal(whole_mask, split_mask)
    kept = whole_mask.unsqueeze(-1)
    torch.testing.assert_close(whole * kept, split * kept, rtol=1e-4, atol=1e-5)
    encoded = student.encode_document(texts)
    for number, text in enumerate(texts):
        row, column = divmod(number, documents)
        vectors = split[row, column][split_mask[row, column]].numpy()
        np.testing.assert_allclose(vectors, encoded[number], rtol=1e-4, atol=1e-5, err_msg=text)


def test_topics_are_what_texts_share() -> None:
    """Frequent words say nothing about a text's topic; an example's topic is that of the text its teacher reads."""
    words = ["the", "is", "owl", "bat", "bird", "disk", "file", "byte"]
    subjects = ["owl bat bird", "bird owl", "bat bird owl bat", "disk file byte", "byte disk", "file byte disk"]
    examples = [Example("q", (f"the is the {subject}",)) for subject in subjects]
    examples += [Example("q", ("das ist",), teacher=example) for example in reversed(examples)]

    def tokenize(texts: list[str], **_: Any) -> dict[str, list[list[int]]]:
        return {"input_ids": [[words.index(word) for word in text.split()] for text in texts]}

    embeddings = np.random.default_rng(2).standard_normal((len(words), 16)).astype(np.float32)
    topics = assign_topics(examples, tokenize, embeddings, 2, seed=0)
    animals, files = topics[0], topics[3]
    assert animals != files
    assert topics.tolist() == [animals] * 3 + [files] * 6 + [animals] * 3


def test_texts_of_teachers_are_cleaned_too(tmp_path: Path) -> None:
    folder = tmp_path / "judged"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(json.dumps({"_id": "d", "text": "the whale is there with all the others"}))
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "where is the owl"}))
    (folder / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\n")
    whale = Example("wo", ("a b c", "d e f"), teacher=Example("w", ("x y z", "the whale is there with all the others")))
    rules = Cleaning((folder,), duplicate_threshold=1)
    kept, reports = clean({"s": [*TRANSLATED, whale]}, rules, lambda count: None)
    assert [example.query for example in kept["s"]] == ["wo ist der Wal", "wo ist der Hase", "wo"]
    # The negative goes on both sides.
    assert kept["s"][-1] == Example("wo", ("a b c",), teacher=Example("w", ("x y z",)))
    assert reports["s"].dropped == {
        "query overlaps an evaluation collection": 1,
        "negative only: overlaps an evaluation collection": 1,
    }


def test_sources_are_sampled_by_size_and_weight() -> None:
    class Sources:
        datasets = (range(100), range(400), range(400))

    class Sampler:
        dataset = range(1)
        batch_size, drop_last = 1, True

        def set_epoch(self, epoch: int) -> None:
            pass

        def __iter__(self) -> Any:
            return iter([[0]])

    samplers: list[Any] = [Sampler(), Sampler(), Sampler()]
    batches = MixedSources(Sources(), samplers, None, 3, steps=4000, exponent=0.5, weights=[1, 1, 2.5])
    counts = np.bincount([{0: 0, 100: 1, 500: 2}[batch[0]] for batch in batches])
    np.testing.assert_allclose(counts / 4000, [0.125, 0.25, 0.625], atol=0.03)


@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float32, 1e-6), (torch.bfloat16, 0.03), (torch.float16, 3e-3)])
def test_documents_are_merged_in_training_as_token_pooling_merges_them(dtype: Any, rounding: float) -> None:
    """Of every length, one without tokens; gradients reach the tokens of the documents alone."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((2, 3, 9, 4)).astype(np.float32)
    values /= np.linalg.norm(values, axis=-1, keepdims=True)
    mask = np.arange(9) < np.array([[9, 5, 1], [0, 2, 8]])[..., None]
    # Skipped tokens are within a text.
    mask[0, 0, 4] = False
    documents = torch.tensor(values, dtype=dtype, requires_grad=True)
    values = documents.detach().float().numpy()
    merged, merged_mask = merged_documents(documents, torch.from_numpy(mask), 2)
    for query, document in np.ndindex(2, 3):
        rows = values[query, document][mask[query, document]]
        expected = merge_tokens(rows, TokenPooling(2)) if len(rows) else rows
        returned = merged[query, document][merged_mask[query, document]].detach().float().numpy()
        np.testing.assert_allclose(returned, expected, atol=rounding)
    assert merged.dtype == dtype
    merged[merged_mask].sum().backward()
    assert documents.grad is not None
    reached = documents.grad.float().abs().sum(dim=-1).numpy() > 0
    assert (reached == mask).all()
