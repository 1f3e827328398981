"""The programs under examples/ run, are short, and are listed; tests/test_rag.py runs those of the frameworks."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.scripts import load_script

from serotine import Encoder, Index

EXAMPLES = Path(__file__).parents[1] / "examples"
PROGRAMS = sorted(EXAMPLES.rglob("*.py"))
# The programs of `make demo` and `make demo-multilingual`.
DEMOS = {"cranfield_demo.py", "languages_demo.py"}


def run(program: str, *arguments: object, folder: Path | None = None) -> str:
    """Run a program and return what it prints; warnings are those of its data."""
    process = subprocess.run(
        [sys.executable, "-W", "ignore", EXAMPLES / program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=250,
        cwd=folder,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.relative_to(EXAMPLES).as_posix())
def test_programs_are_short_and_listed(program: Path) -> None:
    name = program.relative_to(EXAMPLES).as_posix()
    assert f"]({name})" in (EXAMPLES / "README.md").read_text("utf-8")
    if name not in DEMOS:
        assert len(program.read_text("utf-8").splitlines()) < 60


def test_a_folder_of_pdf_files_is_cited_by_page(tmp_path: Path) -> None:
    fpdf = pytest.importorskip("fpdf")
    pytest.importorskip("pypdfium2", reason="needs the extra: pip install 'serotine[ingest]'")
    (tmp_path / "manuals").mkdir()
    pages = {
        "pump": ["The pump is delivered in a wooden box, with its filter and two hoses. " * 3,
                 "Before the pump is started, it is primed: fill its casing with water until it overflows. " * 2],
        "lamp": ["Turn the lamp off before its bulb is replaced, and let it cool for some minutes. " * 3],
    }  # fmt: skip
    for name, texts in pages.items():
        pdf = fpdf.FPDF()
        pdf.set_font("helvetica", size=12)
        for text in texts:
            pdf.add_page()
            pdf.multi_cell(0, text=text)
        pdf.output(str(tmp_path / "manuals" / f"{name}.pdf"))
    (tmp_path / "manuals" / "cut.pdf").write_bytes(b"%PDF-1.7")
    (tmp_path / "manuals" / "notes.txt").write_text("How is the pump primed?")
    for _ in range(2):
        lines = run("pdf_folder.py", "manuals", "how is the pump primed?", folder=tmp_path).splitlines()
        assert lines[0] == "not read: manuals/cut.pdf: damaged, or not a PDF; write it again"
        assert lines[1] == "manuals/pump.pdf, page 2"
        assert "*primed*" in lines[2]
        assert {line for line in lines if "page" in line} >= {"manuals/pump.pdf, page 1", "manuals/lamp.pdf, page 1"}
    with Index.open(tmp_path / "manuals.serotine", read_only=True) as index:
        assert len(index) == 3


def test_a_program_without_its_arguments_says_what_they_are() -> None:
    process = subprocess.run([sys.executable, EXAMPLES / "pdf_folder.py"], capture_output=True, text=True, timeout=60)
    assert process.returncode == 1
    assert process.stderr.startswith("usage: python examples/pdf_folder.py FOLDER")


def test_the_help_desk_answers_in_the_language_of_the_question() -> None:
    if importlib.util.find_spec("serotine_multi") is None:
        pytest.skip("needs the package serotine-multi")
    answers = re.findall(r"^    (\w+:\w+): ", run("help_desk.py"), re.MULTILINE)
    # French and Chinese have no translation of the article: they get the English one.
    assert answers == ["refund:en", "password:de", "delivery:es", "delivery:en", "password:en"]


def test_bm25_is_reranked() -> None:
    pytest.importorskip("bm25s", reason="needs the extra: pip install 'serotine[eval]'")
    pytest.importorskip("ir_measures", reason="needs the extra: pip install 'serotine[eval]'")
    lines = run("bm25_rerank.py", 3, 8).splitlines()
    assert re.fullmatch(r"3 queries, 8 candidates each; \d+ documents encoded", lines[0])
    before, after = (float(line.rsplit(" ", 1)[1]) for line in lines[1:])
    assert 0 < before < 100
    assert 0 < after < 100
    assert before != after


def test_the_patches_of_a_page_are_found() -> None:
    lines = run("visual_documents.py").splitlines()
    assert lines[0].startswith("1.pdf, page 2: 0.")
    assert lines[1:] == ["token 0: row 3, column 10", "token 1: row 20, column 5"]


def test_a_web_application_asks_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fastapi", reason="needs the extra: pip install 'serotine[serve]'")
    from helpers.serving_cases import serving
    from starlette.testclient import TestClient

    with Index.create(tmp_path / "bats.serotine", encoder=Encoder()) as index:
        index.add(["bat", "owl"], ["The serotine is a bat that emerges late.", "Owls hunt at night."])
    with serving(tmp_path / "bats.serotine") as server:
        monkeypatch.setenv("SEROTINE_URL", server.url)
        monkeypatch.setenv("SEROTINE_INDEX", "bats")
        with TestClient(load_script(EXAMPLES / "fastapi_app.py").app) as client:
            (answer,) = client.get("/answers", params={"query": "which bat is late?", "k": 1}).json()
            assert answer["id"] == "bat"
            assert answer["text"][slice(*max(answer["words"], key=lambda word: word[2])[:2])] in ("bat", "late")
            assert client.get("/answers", params={"query": ""}).status_code == 422
            server.stop()
            assert client.get("/answers", params={"query": "which bat is late?"}).status_code == 503


def test_pairs_are_written_for_the_recipe(tmp_path: Path) -> None:
    printed = run("training/pairs.py", EXAMPLES / "cranfield" / "corpus.jsonl.gz", tmp_path / "pairs.jsonl")
    assert printed == f"{tmp_path / 'pairs.jsonl'}: 1,398 pairs\n"
    first = json.loads((tmp_path / "pairs.jsonl").read_text("utf-8").splitlines()[0])
    assert set(first) == {"query", "positive"}
    pytest.importorskip("yaml")
    from serotine.training import load_recipe

    recipe = load_recipe(EXAMPLES / "training" / "recipe.yaml")
    assert [source.path.name for source in recipe.sources] == ["pairs.jsonl"]
