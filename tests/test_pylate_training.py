"""PyLate's losses, collator and evaluators: against plain torch, and under sentence-transformers' trainer."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from helpers import checkpoints  # noqa: E402
from torch.nn import functional  # noqa: E402

from serotine.encoders import Location  # noqa: E402
from serotine.errors import InputFileError  # noqa: E402
from serotine.integrations.pylate import (  # noqa: E402
    IgnoredParameterWarning,
    checkpoint,
    evaluation,
    losses,
    models,
    utils,
)

QUERIES = ["which bat emerges late?", "what hunts mice?", "who spins webs?"]
POSITIVES = ["The serotine is a late bat.", "Owls hunt mice, voles and shrews.", "Spiders spin webs."]
NEGATIVES = ["Bread is baked.", "Ships sail!", "The moon is far away, and cold."]


@pytest.fixture
def model(tmp_path: Path) -> models.ColBERT:
    return models.ColBERT(checkpoints.pylate(tmp_path / "model", layers=2), device="cpu").eval()


def batch(model: models.ColBERT, *columns: list[str], pad: bool = True) -> list[dict[str, Any]]:
    return [model.tokenize(texts, is_query=i == 0, pad=pad) for i, texts in enumerate(columns)]


def in_batch_loss(model: models.ColBERT, features: list[dict[str, Any]]) -> Any:
    """Compute in-batch cross-entropy pair by pair, every query with every document."""
    vectors = [functional.normalize(model(column)["token_embeddings"], dim=-1) for column in features]
    masks = losses.extract_skiplist_mask(features, model.skiplist)
    rows = []
    for i, query in enumerate(vectors[0]):
        query = query if model.do_query_expansion else query[masks[0][i]]
        row = [
            (query @ vectors[column][j][masks[column][j]].T).max(dim=1).values.sum()
            for j in range(len(vectors[0]))
            for column in range(1, len(features))
        ]
        rows.append(torch.stack(row))
    positives = torch.arange(len(rows)) * (len(features) - 1)
    return functional.cross_entropy(torch.stack(rows), positives)


def gradients(model: models.ColBERT, loss: Any) -> list[Any]:
    model.zero_grad()
    loss.backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("pad", [True, False])
@pytest.mark.parametrize("expansion", [True, False])
def test_contrastive_losses_and_their_gradients(tmp_path: Path, pad: bool, expansion: bool) -> None:
    folder = checkpoints.pylate(tmp_path / "model", do_query_expansion=expansion)
    model = models.ColBERT(folder, device="cpu").eval()
    features = batch(model, QUERIES, POSITIVES, NEGATIVES, pad=pad)
    expected = in_batch_loss(model, features)
    expected_gradients = gradients(model, expected)
    for loss in (
        losses.Contrastive(model),
        losses.Contrastive(model, score_mini_batch_size=2),
        losses.CachedContrastive(model, mini_batch_size=1),
        losses.CachedContrastive(model, mini_batch_size=2, score_mini_batch_size=1),
    ):
        value = loss(features)
        assert value.item() == pytest.approx(expected.item(), abs=1e-4)
        for gradient, reference in zip(gradients(model, value), expected_gradients, strict=True):
            torch.testing.assert_close(gradient, reference, atol=1e-4, rtol=1e-3)
    summed = losses.Contrastive(model, size_average=False, temperature=1.0)(features)
    assert summed.item() == pytest.approx(3 * expected.item(), abs=1e-3)
    with torch.no_grad():
        assert losses.CachedContrastive(model, mini_batch_size=2)(features).item() == pytest.approx(
            expected.item(), abs=1e-4
        )


def test_cached_gradients_scale_and_repeat_dropout(model: models.ColBERT) -> None:
    features = batch(model, QUERIES, POSITIVES)
    loss = losses.CachedContrastive(model, mini_batch_size=2)
    once, twice = gradients(model, loss(features)), gradients(model, 2 * loss(features))
    for gradient, doubled in zip(once, twice, strict=True):
        torch.testing.assert_close(2 * gradient, doubled, atol=1e-5, rtol=1e-4)
    # With dropout, the second encoding must repeat the random numbers of the first: else gradients are of another loss.
    model.train()
    torch.manual_seed(5)
    cached = gradients(model, losses.CachedContrastive(model, mini_batch_size=3)(features))
    torch.manual_seed(5)
    for gradient, reference in zip(cached, gradients(model, losses.Contrastive(model)(features)), strict=True):
        torch.testing.assert_close(gradient, reference, atol=1e-4, rtol=1e-3)


def _run_process(rank: int, folder: str, cached: bool) -> None:
    """Compute the gradients of one of two processes: its half of the batch, the documents of both."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    model = models.ColBERT(f"{folder}/model", device="cpu").eval()
    half = slice(2 * rank, 2 * rank + 2)
    features = batch(model, (QUERIES + POSITIVES)[half], (POSITIVES + NEGATIVES)[half])
    kind: Any = losses.CachedContrastive if cached else losses.Contrastive
    options = {"mini_batch_size": 1} if cached else {}
    result = gradients(model, kind(model, gather_across_devices=True, **options)(features))
    torch.save(result, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch is built without distributed training")
@pytest.mark.parametrize("cached", [False, True])
def test_gathering_documents_across_processes(tmp_path: Path, cached: bool) -> None:
    model = models.ColBERT(checkpoints.pylate(tmp_path / "model"), device="cpu").eval()
    full_batch = batch(model, (QUERIES + POSITIVES)[:4], (POSITIVES + NEGATIVES)[:4])
    expected = gradients(model, losses.Contrastive(model)(full_batch))
    torch.multiprocessing.spawn(_run_process, (str(tmp_path), cached), nprocs=2)
    halves = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for first, second, reference in zip(*halves, expected, strict=True):
        torch.testing.assert_close((first + second) / 2, reference, atol=1e-4, rtol=1e-3)


def test_distillation(model: models.ColBERT) -> None:
    # Three per query: two scores scaled to 0..1 are always 0 and 1.
    documents = [text for texts in zip(POSITIVES, NEGATIVES, QUERIES, strict=True) for text in texts]
    features = batch(model, QUERIES, documents)
    labels = torch.tensor([[0.9, 0.1, 0.5], [0.8, 0.3, 0.1], [0.7, 0.7, 0.0]])
    vectors = [functional.normalize(model(column)["token_embeddings"], dim=-1) for column in features]
    masks = losses.extract_skiplist_mask(features, model.skiplist)[1]
    scores = torch.stack(
        [(vectors[0][i // 3] @ vectors[1][i][masks[i]].T).max(dim=1).values.sum() for i in range(9)]
    ).reshape(3, 3)
    low, high = scores.min(dim=1, keepdim=True).values, scores.max(dim=1, keepdim=True).values
    student = ((scores - low) / (high - low + 1e-8)).log_softmax(dim=1)
    teacher = labels.log_softmax(dim=1)
    expected = (teacher.exp() * (teacher - student)).sum() / 3
    loss = losses.Distillation(model)(features, labels)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    expected_gradients = gradients(model, expected)
    assert max(float(gradient.abs().max()) for gradient in expected_gradients) > 1e-3
    computed = gradients(model, losses.Distillation(model)(features, labels))
    for gradient, reference in zip(computed, expected_gradients, strict=True):
        torch.testing.assert_close(gradient, reference, atol=1e-4, rtol=1e-3)
    summed = losses.Distillation(model, normalize_scores=False, size_average=False)(features, labels)
    student = scores.log_softmax(dim=1)
    assert summed.item() == pytest.approx((teacher.exp() * (teacher - student)).sum().item(), rel=1e-3)


def test_training_changes_what_is_saved(model: models.ColBERT, tmp_path: Path) -> None:
    before = model.encode(POSITIVES, is_query=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    loss = losses.Contrastive(model, temperature=10.0)
    features = batch(model, QUERIES, POSITIVES, NEGATIVES)
    first = loss(features).item()
    for _ in range(3):
        optimizer.zero_grad()
        loss(features).backward()
        optimizer.step()
    assert loss(features).item() < first
    after = model.encode(POSITIVES, is_query=False)
    assert not np.allclose(before[0], after[0], atol=1e-3), "encode must use the trained weights"
    model.save_pretrained(tmp_path / "saved")
    model.save_pretrained(tmp_path / "saved")
    for vectors, expected in zip(
        models.ColBERT(tmp_path / "saved", device="cpu").encode(POSITIVES, is_query=False), after, strict=True
    ):
        np.testing.assert_allclose(vectors, expected, atol=1e-5)
    config = json.loads((tmp_path / "saved/config_sentence_transformers.json").read_text())
    assert (config["model_type"], config["query_prefix"], config["document_length"]) == ("ColBERT", "[unused0]", 48)
    assert len(list((tmp_path / "saved").glob("*_Dense"))) == 2


def test_collator(model: models.ColBERT) -> None:
    collator = utils.ColBERTCollator(model.tokenize)
    rows = [
        {"query_id": 4, "query": "a bat", "documents": ["one", "two"], "scores": [0.1, 0.9]},
        {"query_id": 5, "query": "an owl", "documents": ["three", "four"], "scores": [0.3, 0.7]},
    ]
    columns = collator(rows)
    assert columns["query_input_ids"].shape == (2, 32)
    assert columns["documents_input_ids"].shape == (4, 48)
    assert columns["documents_input_ids"][0, 1] == model.document_prefix_id
    torch.testing.assert_close(columns["label"], torch.tensor([[0.1, 0.9], [0.3, 0.7]]))
    assert not any(key.startswith("query_id") for key in columns)
    for prompts in ("x ", {"anchor": "x "}, {"d": {"anchor": "x "}}):
        prompted = utils.ColBERTCollator(model.tokenize, prompts=prompts)([{"anchor": "a", "dataset_name": "d"}])
        torch.testing.assert_close(prompted["anchor_input_ids"], model.tokenize(["x a"], pad=True)["input_ids"])
        assert prompted["dataset_name"] == "d"
    other = utils.ColBERTCollator(model.tokenize, prompts={"d": {"anchor": "x "}})
    torch.testing.assert_close(
        other([{"anchor": "a", "dataset_name": "e"}])["anchor_input_ids"], model.tokenize(["a"])["input_ids"]
    )
    with pytest.raises(ValueError, match="prompts: given by dataset"):
        other([{"anchor": "a"}])
    with pytest.warns(IgnoredParameterWarning, match="router_mapping"):
        utils.ColBERTCollator(model.tokenize, router_mapping={"a": "b"})


def test_kd_processing() -> None:
    datasets = pytest.importorskip("datasets")
    queries = datasets.Dataset.from_dict({"query_id": ["q1", "q2"], "text": ["bats?", "owls?"]})
    documents = datasets.DatasetDict(
        train=datasets.Dataset.from_dict({"document_id": [1, 2, 3], "text": ["a bat", "an owl", "a moth"]})
    )
    rows = {"query_id": ["q2", "q1"], "document_ids": ["[2, 1, 3]", "[1, 3, 2]"], "scores": ["[3.0, 2.0, 1.0]"] * 2}
    train = datasets.Dataset.from_dict(rows)
    processing = utils.KDProcessing(queries, documents, n_ways=2)
    mapped = train.map(processing.map)
    train.set_transform(processing.transform)
    for dataset in (mapped, train):
        assert dataset[0]["query"] == "owls?"
        assert dataset[0]["documents"] == ["an owl", "a bat"]
        assert dataset[1]["documents"] == ["a bat", "a moth"]
        assert dataset[0]["scores"] == [3.0, 2.0]
    with pytest.raises(KeyError, match="document 9: not in its dataset"):
        processing.map({"query_id": "q1", "document_ids": [9], "scores": [1.0]})


def test_helpers() -> None:
    assert list(utils.iter_batch("abcde", 2, tqdm_bar=False)) == ["ab", "cd", "e"]
    assert utils.convert_to_tensor([[1, 2]]).dtype == torch.float32
    assert utils.convert_to_tensor([np.ones(2), np.ones(2)]).shape == (2, 2)
    assert utils.convert_to_tensor([torch.ones(2)]).shape == (1, 2)
    assert utils.convert_to_tensor([]).shape == (0,)
    assert utils.convert_to_tensor(np.arange(3)).dtype == torch.int64


def beir_folder(folder: Path) -> Path:
    (folder / "qrels").mkdir(parents=True)
    corpus = [{"_id": f"d{i}", "title": f"T{i}", "text": text} for i, text in enumerate(POSITIVES)]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, corpus)))
    queries = [{"_id": f"q{i}", "text": text} for i, text in enumerate(QUERIES)]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    (folder / "qrels/test.tsv").write_text(
        "query-id\tcorpus-id\tscore\n" + "".join(f"q{i}\td{i}\t1\n" for i in range(3))
    )
    return folder


def test_collections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = beir_folder(tmp_path / "source/bats")
    documents, queries, qrels = evaluation.load_custom_dataset(folder)
    assert documents[1] == {"id": "d1", "text": "T1 Owls hunt mice, voles and shrews."}
    assert queries == {f"q{i}": text for i, text in enumerate(QUERIES)}
    assert qrels["q2"] == {"d2": 1}
    with zipfile.ZipFile(tmp_path / "bats.zip", "w") as archive:
        for file in folder.rglob("*.*"):
            archive.write(file, Path("bats") / file.relative_to(folder))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluation, "BEIR_URL", tmp_path.as_uri())
    assert evaluation.load_beir("bats") == (documents, queries, qrels)
    (tmp_path / "bats.zip").unlink()
    assert evaluation.load_beir("bats") == (documents, queries, qrels), "not downloaded twice"
    with pytest.raises(InputFileError):
        evaluation.load_beir("bats", split="dev")
    triples = evaluation.get_beir_triples(documents, list(queries.values()), qrels)
    assert [triple[:2] for triple in triples] == [(q, d["text"]) for q, d in zip(QUERIES, documents, strict=True)]


def test_evaluate() -> None:
    pytest.importorskip("ir_measures")
    qrels = {"q1": {"a": 2, "b": 1, "c": 0}, "q2": {"d": True}}
    results = [
        [{"id": "b", "score": 3.0}, {"id": "x", "score": 2.0}, {"id": "a", "score": 1.0}],
        [{"id": "y", "score": 9}],
    ]
    metrics = ["ndcg@10", "map", "mrr@10", "recall@2", "precision@3", "hits@3", "hit_rate@1"]
    means = evaluation.evaluate(results, qrels, ["q1", "q2"], metrics)
    ideal = 2 + 1 / np.log2(3)
    expected = {
        "ndcg@10": (1 + 2 / np.log2(4)) / ideal / 2,
        "map": (1 + 2 / 3) / 2 / 2,
        "mrr@10": 0.5,
        "recall@2": 0.25,
        "precision@3": 1 / 3,
        "hits@3": 1.0,
        "hit_rate@1": 0.5,
    }
    assert means == pytest.approx(expected, abs=1e-6)
    assert list(evaluation.evaluate(results, qrels, ["q1", "q2"])) == [
        "ndcg@10",
        *(f"hits@{k}" for k in (1, 2, 3, 4, 5, 10)),
    ]
    with pytest.raises(ValueError, match="metrics: must be one of 'ndcg@k'"):
        evaluation.evaluate(results, qrels, ["q1", "q2"], ["rbp.95"])
    with pytest.raises(ValueError, match=r"scores: must be one list per query \(2\), got 1"):
        evaluation.evaluate(results[:1], qrels, ["q1", "q2"])


@pytest.mark.filterwarnings("ignore")
def test_evaluators(model: models.ColBERT, tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    triplets = evaluation.ColBERTTripletEvaluator(QUERIES, POSITIVES, NEGATIVES)
    queries = model.encode(QUERIES)
    scores = [
        [
            float((query @ rows.T).max(axis=1).sum())
            for query, rows in zip(queries, model.encode(texts, is_query=False), strict=True)
        ]
        for texts in (POSITIVES, NEGATIVES)
    ]
    expected = np.mean([positive > negative for positive, negative in zip(*scores, strict=True)])
    assert triplets(model, str(tmp_path), epoch=1, steps=2) == {"accuracy": pytest.approx(expected)}
    triplets(model, str(tmp_path))
    with (tmp_path / "triplet_evaluation_results.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["epoch", "steps", "accuracy"]
    assert [row[:2] for row in rows[1:]] == [["1", "2"], ["-1", "-1"]]
    kd = evaluation.ColBERTDistillationEvaluator(
        QUERIES, list(zip(POSITIVES, NEGATIVES, strict=True)), [[1.0, 0.0]] * 3, normalize_scores=False
    )
    teacher = torch.tensor([1.0, 0.0]).log_softmax(dim=0)
    student = torch.tensor(scores).T.log_softmax(dim=1)
    divergence = (teacher.exp() * (teacher - student)).sum() / 3
    assert kd(model)["kl_divergence"] == pytest.approx(divergence.item(), rel=1e-3)
    retrieval = evaluation.PyLateInformationRetrievalEvaluator(
        queries={f"q{i}": text for i, text in enumerate(QUERIES)},
        corpus={f"d{i}": text for i, text in enumerate(POSITIVES + NEGATIVES)},
        relevant_docs={f"q{i}": {f"d{i}"} for i in range(3)},
        name="bats",
    )
    metrics = retrieval(model)
    documents = model.encode(POSITIVES + NEGATIVES, is_query=False)
    ranks = []
    for i, query in enumerate(model.encode(QUERIES)):
        row = np.array([(query @ rows.T).max(axis=1).sum() for rows in documents])
        ranks.append(1 + int((row > row[i]).sum()))
    assert metrics["bats_MaxSim_mrr@10"] == pytest.approx(np.mean([1 / rank for rank in ranks]))
    assert evaluation.NanoBEIREvaluator.information_retrieval_class is evaluation.PyLateInformationRetrievalEvaluator


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["contrastive", "cached", "distillation"])
def test_sentence_transformers_trainer(model: models.ColBERT, tmp_path: Path, kind: str) -> None:
    datasets = pytest.importorskip("datasets")
    pytest.importorskip("accelerate")
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments

    columns: dict[str, Any] = {"query": QUERIES, "positive": POSITIVES, "negative": NEGATIVES}
    loss: Any = losses.Contrastive(model)
    if kind == "cached":
        loss = losses.CachedContrastive(model, mini_batch_size=1)
    if kind == "distillation":
        documents = [list(texts) for texts in zip(POSITIVES, NEGATIVES, POSITIVES[::-1], strict=True)]
        columns = {"query": QUERIES, "documents": documents, "scores": [[0.9, 0.1, 0.4]] * 3}
        loss = losses.Distillation(model)
    before = model.encode(QUERIES)[0]
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            output_dir=str(tmp_path / "out"),
            num_train_epochs=1,
            per_device_train_batch_size=3,
            learning_rate=0.01,
            save_strategy="epoch",
            eval_strategy="epoch" if kind == "contrastive" else "no",
            report_to=[],
            use_cpu=True,
        ),
        train_dataset=datasets.Dataset.from_dict(columns),
        eval_dataset=datasets.Dataset.from_dict(columns) if kind == "contrastive" else None,
        evaluator=evaluation.ColBERTTripletEvaluator(QUERIES, POSITIVES, NEGATIVES) if kind == "contrastive" else None,
        loss=loss,
        data_collator=utils.ColBERTCollator(tokenize_fn=model.tokenize),
    )
    trainer.train()
    after = model.encode(QUERIES)[0]
    assert not np.allclose(before, after, atol=1e-4)
    (saved,) = (tmp_path / "out").glob("checkpoint-*")
    np.testing.assert_allclose(models.ColBERT(saved, device="cpu").encode(QUERIES)[0], after, atol=1e-4)


def test_the_notes_name_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = checkpoints.pylate(tmp_path / "model", layers=1)
    card = models.ColBERT(folder, device="cpu").model_card_data
    assert (card.library_name, card.base_model_revision) == ("PyLate", None)
    monkeypatch.setattr(checkpoint, "locate", lambda *_args, **_options: Location("owner/model@abc123", folder))
    card = models.ColBERT("owner/model", revision="abc123", device="cpu").model_card_data
    assert (card.base_model, card.base_model_revision) == ("owner/model", "abc123")
