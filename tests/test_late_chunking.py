"""``serotine index --late-chunking`` from files to hits, and uploads to an index that was created so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from helpers.packages import packaged
from test_ingest_late import LateEncoder, words

from serotine import Encoder, Index
from serotine.cli import main
from serotine.ingest import Chunking, update

if TYPE_CHECKING:
    from collections.abc import Sequence

pytest.importorskip("serotine_mini")
MULTI = packaged("serotine_multi", "model")
TEXT = "\n\n".join(
    f"{name} is a bat of the family Vesperbats. It is about {size} cm long. It emerges {time} and hunts beetles along "
    f"hedges and the edges of woods. In summer it roosts in {place}."
    for name, size, time, place in (
        ("The serotine", 8, "late in the evening", "roofs"),
        ("The noctule", 7, "at dusk", "hollow trees"),
        ("The pipistrelle", 4, "after sunset", "cracks of walls"),
        ("The barbastelle", 5, "at nightfall", "loose bark"),
    )
)


def run(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 0) -> str:
    assert main(list(map(str, arguments))) == status
    captured = capsys.readouterr()
    return captured.out if status == 0 else captured.err


def stored(path: Path) -> tuple[list[tuple[int, int]], list[Any], set[str]]:
    """Return the spans of all passages, their vectors, and how files were split."""
    with Index.open(path, read_only=True) as index:
        ids = [id_ for id_ in index.ids() if "bats" in id_]
        spans = [(hit.metadata["start"], hit.metadata["end"]) for hit in index.get(ids)]
        splittings = {record.splitting for record in index.sources.all().values()}
        return spans, [index.vectors(id_) for id_ in ids], splittings


def agree(vectors: Sequence[Any], expected: Sequence[Any]) -> bool:
    return all(
        one.shape == other.shape and np.allclose(one, other, atol=2e-3)
        for one, other in zip(vectors, expected, strict=True)
    )


def test_from_files_to_hits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, path = tmp_path / "bats.txt", tmp_path / "i"
    file.write_text(TEXT)
    index = ("index", file, "-o", path)
    run(capsys, *index, "--chunk-tokens", 32, "--late-chunking")
    spans, vectors, splittings = stored(path)
    encoder = Encoder()
    assert len(spans) > 4
    assert splittings == {"32/0/late"}
    assert agree(vectors, encoder.encode_passages(TEXT, spans))
    assert not agree(vectors, encoder.encode_documents([TEXT[start:end] for start, end in spans]))
    hits = json.loads(run(capsys, "search", path, "in hollow trees", "-k", "1", "--json", "-"))
    assert "hollow trees" in json.dumps(hits)
    with Index.open(path, read_only=True) as opened:
        best = opened.search("hollow trees", k=1)[0]
        explanation = opened.explain("hollow trees", best.id)
        assert explanation.score == pytest.approx(best.score, abs=1e-3)
        assert "hollow" in [explanation.text[start:end] for start, end, _ in explanation.spans()]
    # As before where no option is given, in `add` too; one option changes nothing else.
    assert "files: 1 unchanged" in run(capsys, *index)
    (tmp_path / "more-bats.txt").write_text(TEXT)
    run(capsys, "add", path, tmp_path / "more-bats.txt")
    assert stored(path)[2] == {"32/0/late"}
    (tmp_path / "more-bats.txt").unlink()
    run(capsys, "delete", path, tmp_path / "more-bats.txt")
    assert f"{len(spans)} of them replaced" in run(
        capsys, *index, "--chunk-tokens", 32, "--overlap", 0, "--no-late-chunking"
    )
    assert agree(stored(path)[1], encoder.encode_documents([TEXT[start:end] for start, end in spans]))
    assert f"{len(spans)} of them replaced" in run(capsys, *index, "--late-chunking")
    assert agree(stored(path)[1], vectors)
    # A dry run plans as the run does.
    assert "would encode 0 passages" in run(capsys, *index, "--dry-run")
    assert f"would encode {len(spans)} passages" in run(
        capsys, *index, "--dry-run", "--no-late-chunking", "--overlap", 0
    )
    run(capsys, "verify", path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--no-chunk"], "--no-chunk excludes --chunk-tokens, --overlap and --late-chunking; choose one"),
        (["--overlap", "5"], "--overlap: must be 0 with late chunking, got 5; omit it, or add --no-late-chunking"),
        (["--chunk-tokens", "999"], "--chunk-tokens: must be at most 510"),
    ],
)
def test_options_that_exclude_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    (tmp_path / "bats.txt").write_text(TEXT)
    command = ("index", tmp_path / "bats.txt", "-o", tmp_path / "i", "--late-chunking", *options)
    assert message in run(capsys, *command, status=2)
    assert not (tmp_path / "i").exists()


@pytest.mark.skipif(MULTI is None, reason="serotine-multi is not installed")
def test_passages_of_scripts_without_spaces_are_explained(tmp_path: Path) -> None:
    # Alone, a passage begins with SentencePiece's mark of a space, which it has not within the text.
    text = "".join(f"東京は日本の首都です。人口は約{number}万人。蝙蝠は夜に飛びます。" for number in range(900, 924))
    (tmp_path / "bats.txt").write_text(text)
    with Index.create(tmp_path / "i", encoder="multilingual") as index:
        update(index, [tmp_path / "bats.txt"], chunking=Chunking(64, late=True))
        ids = index.ids()
        assert len(ids) > 4
        for id_ in ids:
            explanation = index.explain("首都", id_)
            assert len(explanation.matches) > 2
        assert "首都" in [explanation.text[start:end] for start, end, _ in explanation.spans()]


def test_uploads_are_cut_as_the_files_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("starlette")
    from helpers.serving_cases import application
    from test_serving_files import upload

    encoder = LateEncoder()
    monkeypatch.setattr("serotine.encoders.load_recorded", lambda _name, *_: encoder)
    (tmp_path / "a.txt").write_text(words(60))
    with Index.create(tmp_path / "wiki", encoder=encoder) as index:
        update(index, [tmp_path / "a.txt"], chunking=Chunking(16, late=True))
    encoder.reset()
    with application(tmp_path / "state", tmp_path / "wiki") as client:
        assert upload(client, ("b.txt", words(60, "okapi").encode()))["added"] == 4
    assert len(encoder.passages) == 4
    with Index.open(tmp_path / "wiki", read_only=True) as index:
        assert {record.splitting for record in index.sources.all().values()} == {"16/0/late"}
