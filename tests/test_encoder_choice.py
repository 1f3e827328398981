"""`serotine index` without --encoder chooses one by the languages of a sample of the texts."""
# ruff: noqa: RUF001

from __future__ import annotations

import gzip
import json
import shutil
import sys
from pathlib import Path

import pytest
from helpers.packages import packaged

from serotine import Encoder, Index
from serotine.cli import main
from serotine.cli.encoder_choice import unfamiliar
from serotine.encoders import locate
from serotine.errors import EncoderError
from serotine.ingest import sample_texts
from serotine.model_packages import MULTI, find_package

pytest.importorskip("serotine_mini")
TEXTS = {
    "English": "Serotine bats leave their roost at dusk and hunt for beetles over the meadows.",
    "German": "Die Fledermaus verlässt ihr Quartier in der Dämmerung und jagt Käfer über den Wiesen.",
    "Chinese": "蝙蝠是唯一能够真正飞行的哺乳动物，多数种类在夜间捕食昆虫。",
    "Thai": "ค้างคาวบินออกหากินตอนกลางคืน และกินแมลงเป็นอาหาร",
    "Russian": "Летучие мыши вылетают в сумерках и ловят насекомых над лугами.",
    "Yoruba": "Àwọn àdán máa ń fò ní alẹ́ láti wá oúnjẹ wọn jẹ, wọ́n sì ń sùn ní ọ̀sán.",
    "code": "def area(r: float) -> float:\n    return 3.14 * r**2\n\nfor x in range(10):\n    print(area(x))",
    "emoji": "🦇🦉🐝",
    "numbers": "12, 3.5, 2024-01-31",
    "name": "Eptesicus serotinus",
    "empty": "",
}


@pytest.fixture(scope="module")
def mini() -> Encoder:
    return Encoder()


@pytest.fixture
def multi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install the files of serotine-mini as serotine-multi: only the choice is of interest."""
    package = tmp_path / "packages" / MULTI.package
    shutil.copytree(locate(None).folder, package / "model")
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(package.parent)
    return package


@pytest.fixture
def no_multi(monkeypatch: pytest.MonkeyPatch) -> None:
    if packaged(MULTI.package, "model") is not None:
        folder = type(MULTI).folder
        monkeypatch.setattr(type(MULTI), "folder", lambda package: None if package is MULTI else folder(package))


def write(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"{name}.txt").write_text(TEXTS[name], encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("name", "counted"),
    [
        ("English", {}),
        ("code", {}),
        ("numbers", {}),
        ("name", {}),
        ("empty", {}),
        ("German", {"German": 1}),
        ("Chinese", {"Chinese": 1}),
        ("Thai", {"Thai": 1}),
        ("Russian", {"Russian": 1}),
        ("Yoruba", {"Yoruba": 1}),
        ("emoji", {}),
    ],
)
def test_texts_the_default_does_not_know(mini: Encoder, name: str, counted: dict[str, int]) -> None:
    assert unfamiliar([TEXTS[name]], mini) == counted


def test_tiny_inputs_are_counted_by_script(mini: Encoder) -> None:
    assert unfamiliar(["я", "蝙", "hi", ".", "🦇"], mini) == {"Cyrillic": 1, "Chinese": 1}
    assert unfamiliar([], mini) == {}


def test_the_multilingual_encoder_is_chosen_and_named(
    tmp_path: Path, multi: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = write(tmp_path / "notes", "English", "German", "Chinese", "code")
    output = tmp_path / "notes.serotine"
    assert main(["index", str(notes), "-o", str(output)]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == (
        "The encoder is serotine-multi: sampled texts in languages that serotine-mini does not know: 2 of 4 "
        "(Chinese 1, German 1); --encoder chooses another."
    )
    with Index.open(output, read_only=True) as index:
        assert index.stats().encoder == "serotine-multi"
    # The index keeps its encoder, whatever is added, and with settings of it too.
    shutil.rmtree(notes)
    write(notes, "English")
    assert main(["index", str(notes), "-o", str(output)]) == 0
    assert "The encoder is" not in capsys.readouterr().err
    with Index.open(output, read_only=True) as index:
        assert (len(index), index.stats().encoder) == (1, "serotine-multi")


def test_an_index_keeps_its_encoder_when_settings_are_given_again(tmp_path: Path, multi: Path) -> None:
    notes = write(tmp_path / "notes", "Chinese")
    command = ["index", str(notes), "-o", str(tmp_path / "i"), "--query-length", "16"]
    assert main(command) == 0
    write(notes, "English", "code", "numbers", "name", "German")
    assert main(command) == 0
    with Index.open(tmp_path / "i", read_only=True) as index:
        assert index.stats().encoder == "serotine-multi"


def test_the_option_always_wins(tmp_path: Path, multi: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notes = write(tmp_path / "notes", "Thai")
    assert main(["index", str(notes), "-o", str(tmp_path / "mini"), "--encoder", "mini"]) == 0
    assert "The encoder is" not in capsys.readouterr().err
    write(notes, "English")
    assert main(["index", str(notes), "-o", str(tmp_path / "multi"), "--encoder", "multilingual"]) == 0
    assert "The encoder is" not in capsys.readouterr().err
    for name in ("mini", "multi"):
        with Index.open(tmp_path / name, read_only=True) as index:
            assert index.stats().encoder == f"serotine-{name}"


@pytest.mark.usefixtures("no_multi")
def test_where_it_is_missing_the_warning_says_how_to_install_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = write(tmp_path / "notes", "Russian")
    assert main(["index", str(notes), "-o", str(tmp_path / "i")]) == 0
    warning = capsys.readouterr().err.splitlines()[0]
    assert warning == (
        "warning: encoder: sampled texts in languages that serotine-mini does not know: 1 of 1 (Russian 1); "
        "index with --encoder multilingual (not installed; in a clone of Serotine: pip install ./models/serotine-multi)"
    )
    with Index.open(tmp_path / "i", read_only=True) as index:
        assert index.stats().encoder == "serotine-mini"
    with pytest.raises(EncoderError, match="'serotine-multi': not installed; in a clone of Serotine run: pip install"):
        Encoder("multi")


def test_english_and_code_keep_the_default(tmp_path: Path, multi: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notes = write(tmp_path / "notes", "English", "code", "numbers", "name")
    assert main(["index", str(notes), "-o", str(tmp_path / "i"), "--dry-run"]) == 0
    assert "The encoder is" not in capsys.readouterr().err


def test_the_sample_is_spread_over_files_and_rows(tmp_path: Path) -> None:
    rows = [{"_id": str(i), "text": f"row {i}" if i < 900 else "Zeile"} for i in range(1000)]
    with gzip.open(tmp_path / "corpus.jsonl.gz", "wt") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)
    texts = sample_texts([tmp_path / "corpus.jsonl.gz"])
    assert len(texts) == 200
    assert texts.count("Zeile") == 20
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(300):
        (folder / f"{i:03}.txt").write_text("x" * i * 20 + "y", encoding="utf-8")
    (folder / "broken.jsonl").write_text("{", encoding="utf-8")
    texts = sample_texts([folder])
    assert len(texts) in (63, 64)
    assert max(map(len, texts)) == 1000
    assert "y" not in texts[-1]


def test_loading_a_language_model_needs_a_text_that_is_not_english(mini: Encoder) -> None:
    from serotine import languages

    languages._identifier.cache_clear()
    sys.modules.pop("py3langid", None)
    assert unfamiliar([TEXTS["English"], TEXTS["Thai"], TEXTS["numbers"]], mini) == {"Thai": 1}
    assert "py3langid" not in sys.modules


@pytest.mark.parametrize("name", ["Default", "MINI", "Serotine-mini"])
def test_names_of_encoders_may_be_of_any_case(name: str) -> None:
    package = find_package(name)
    assert package is not None
    assert package.name == "serotine-mini"
