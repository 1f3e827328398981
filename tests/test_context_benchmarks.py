"""The benchmarks of late chunking and of a pooled vector rank and weight as they say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.scripts import load_script

pytest.importorskip("ir_measures")

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
LATE = load_script(BENCHMARKS / "late_chunking.py", "late_chunking_benchmark")
POOLED = load_script(BENCHMARKS / "pooled.py", "pooled_benchmark")


def test_a_document_ranks_by_its_best_passage() -> None:
    scores, owners = np.array([5.0, 4.0, 3.0, 2.0], np.float32), np.array([1, 1, 0, 2])
    assert LATE.ranked(scores, owners, ["a", "b", "c"]) == {"b": 5.0, "a": 3.0, "c": 2.0}


def test_late_and_ordinary_passages_of_a_collection(tmp_path: Path) -> None:
    pytest.importorskip("serotine_mini")
    from serotine import Encoder

    texts = ["Bats hunt at night. " * 12, "Owls hunt at night. " * 12, ""]
    (tmp_path / "qrels").mkdir()
    records = [{"_id": str(i), "title": "T" * (i == 0), "text": text} for i, text in enumerate(texts)]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "bats"}\n')
    (tmp_path / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq\t0\t1\n")
    figures = LATE.measure("mini", Encoder(), [16], tmp_path, tmp_path)
    assert [row["system"] for row in figures["rows"]] == ["chunks", "titles", "late"]
    assert figures["rows"][2]["to_titles"] == {"difference": 0, "p": 1}
    assert all(row["nDCG@10"] == 1 for row in figures["rows"])
    # Read from the cache.
    assert LATE.measure("mini", Encoder(), [16], tmp_path, tmp_path) == figures


def test_the_weight_of_a_sum_is_fitted_on_other_queries() -> None:
    ids = ["a", "b", "c"]

    def split(late: list[float], pooled: list[float]) -> object:
        rows = (np.array([values], np.float32) for values in (late, pooled))
        return POOLED.Split({"q": {"a": 1}}, *rows)

    # On the first collection a weight of 1 helps, on the second it harms; each is tested with the other's.
    helped, harmed = split([0.5, 0.6, 0.1], [0.9, 0.1, 0.2]), split([0.6, 0.5, 0.1], [0.1, 0.9, 0.2])
    collections = [POOLED.Scored("helped", ids, {"test": helped}), POOLED.Scored("harmed", ids, {"test": harmed})]
    first, second = POOLED.compared(collections)
    assert (first["weight"], first["sum"], first["best_weight_on_test"]) == (0.0, first["late"], 0.15)
    assert (second["weight"], second["late"]) == (0.15, 1)
    assert second["sum"] < 1
    assert second["stage"] == 1
    # A collection's own training queries come first.
    (trained,) = POOLED.compared([POOLED.Scored("helped", ids, {"test": harmed, "train": harmed})])
    assert (trained["weight"], trained["fitted_on"], trained["difference"]) == (0.0, "train", 0)


def test_means_of_token_vectors_have_length_1() -> None:
    means = POOLED.unit_means([np.eye(2, dtype=np.float16), np.zeros((0, 2), np.float16)])
    np.testing.assert_allclose(means, [[0.5**0.5, 0.5**0.5], [0, 0]], atol=1e-6)
