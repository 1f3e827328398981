"""Texts of megabytes: tokenized in pieces with the result of the whole, and refused where no document is that long."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.fakes import WordEncoder
from hypothesis import given
from hypothesis import strategies as st

from serotine import Encoder, Index
from serotine.encoders import long_texts, tokenization
from serotine.encoders.long_texts import pieces

pytest.importorskip("serotine_mini")
WORDS = ["bats", "Fledermäuse", "don't", "蝙蝠是", "ค้างคาว", "🦇", "12.5", "(echo)", "étude", "x" * 120]


@given(st.text(" \nab", max_size=40_000))
def test_pieces_leave_out_white_space_only(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_texts, "PIECE", 16)
        cut = list(pieces(text))
    assert all(len(piece) <= 16 for _, piece in cut)
    assert all(text[start : start + len(piece)] == piece for start, piece in cut)
    ends = [0, *(start + len(piece) for start, piece in cut)]
    between = [text[end:start] for end, (start, _) in zip(ends, cut, strict=False)]
    assert set(between) <= {"", " ", "\n"}
    assert ends[-1] == len(text)


@pytest.mark.filterwarnings("ignore::serotine.errors.TruncatedTextWarning")
@pytest.mark.filterwarnings("ignore::serotine.errors.UnknownTextWarning")
@pytest.mark.parametrize("seed", range(4))
def test_long_texts_have_the_vectors_and_counts_of_the_whole(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder()
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(WORDS, int(length))) for length in rng.integers(1, 2000, 6)] + ["a" * 5000, " " * 3000]
    expected = encoder.encode_documents(texts), encoder.coverage(texts)
    for module in (long_texts, tokenization):
        monkeypatch.setattr(module, "PIECE", 400)
    vectors, coverages = encoder.encode_documents(texts), encoder.coverage(texts)
    for one, other in zip(vectors, expected[0], strict=True):
        np.testing.assert_array_equal(one, other)
    assert [coverage.tokens for coverage in coverages[:-2]] == [coverage.tokens for coverage in expected[1][:-2]]
    assert [coverage.unknown for coverage in coverages[:-2]] == [coverage.unknown for coverage in expected[1][:-2]]
    assert coverages[-1].tokens == 0


def test_a_text_of_megabytes_takes_the_memory_of_a_piece() -> None:
    program = """
import resource, warnings
import serotine
warnings.simplefilter("ignore")
encoder = serotine.Encoder()
encoder.encode_documents(["bats"])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
encoder.encode_documents(["bats hunt at dusk " * (8 << 20 >> 5)])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    completed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200, check=True)
    # Kilobytes. Tokenized whole, four megabytes take about 700,000.
    assert int(completed.stdout) < 100_000


def test_a_text_beyond_any_document_is_refused(tmp_path: Path) -> None:
    longer = "a" * ((8 << 20) + 1)
    expected = r"^texts\[1\]: must be at most 8,388,608 characters, got 8,388,609; split it into documents$"
    with Index.create(tmp_path / "index", encoder=WordEncoder()) as index:
        with pytest.raises(ValueError, match=expected):
            index.add(["a", "b"], texts=["bats", longer])
        with pytest.raises(ValueError, match=expected):
            index.add(["a", "b"], texts=["bats", longer], upsert=True)
        with pytest.raises(ValueError, match=expected):
            index.add_batches([{"ids": ["a", "b"], "texts": ["bats", longer]}])
        assert len(index) == 0


def test_the_schemas_have_the_limits() -> None:
    pytest.importorskip("pydantic", reason="needs the extra: pip install 'serotine[serve]'")
    from serotine.serving.http.schemas.indexes import NewDocument
    from serotine.serving.http.schemas.models import RerankRequest
    from serotine.serving.mcp.schemas import SearchArguments

    document = NewDocument.model_json_schema()["properties"]["text"]["anyOf"][0]
    assert document["maxLength"] == 8 << 20
    assert RerankRequest.model_json_schema()["properties"]["query"]["maxLength"] == 1 << 16
    assert SearchArguments.model_json_schema()["properties"]["query"]["maxLength"] == 1 << 16
