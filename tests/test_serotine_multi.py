"""serotine-multi, the encoder of many languages, as it is installed."""
# ruff: noqa: RUF001

from __future__ import annotations

import json
import lzma
import shutil
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from serotine import Encoder, Index, maxsim
from serotine.errors import EncoderError, UnknownTextWarning
from serotine.model_packages import MULTI

serotine_multi = pytest.importorskip("serotine_multi", reason=f"serotine-multi is not installed ({MULTI.install})")

FOLDER = Path(serotine_multi.__file__).parent / "model"
DATA = Path(__file__).parent / "data"
CASES = json.loads((DATA / "xlm_roberta_tokens.json").read_text())
# One sentence, and how somebody might ask for it.
SENTENCES = {
    "en": ("which animal can really fly?", "The bat is the only mammal that can truly fly."),
    "de": ("Welches Säugetier kann fliegen?", "Die Fledermaus ist das einzige Säugetier, das wirklich fliegen kann."),
    "fr": ("quel mammifère sait voler ?", "La chauve-souris est le seul mammifère capable de voler."),
    "ru": ("какое животное умеет летать?", "Летучая мышь — единственное млекопитающее, способное летать."),
    "zh": ("哪种动物会飞？", "蝙蝠是唯一能够真正飞行的哺乳动物。"),
    "ja": ("飛べる哺乳類は何ですか", "コウモリは本当に飛べる唯一の哺乳類です。"),
    "ar": ("أي حيوان يستطيع الطيران؟", "الخفاش هو الحيوان الثديي الوحيد القادر على الطيران الحقيقي."),
    "hi": ("कौन सा स्तनधारी उड़ सकता है?", "चमगादड़ एकमात्र स्तनधारी है जो वास्तव में उड़ सकता है।"),
    "th": ("สัตว์เลี้ยงลูกด้วยนมชนิดใดบินได้", "ค้างคาวเป็นสัตว์เลี้ยงลูกด้วยนมชนิดเดียวที่บินได้จริง"),
}
OTHERS = [
    "The express train connects the two capitals in four hours.",
    "Die Bäckerei am Markt verkauft jeden Morgen frisches Brot.",
    "La banque a relevé le taux de ses prêts immobiliers.",
    "Врач назначил пациенту новое лекарство от давления.",
    "京沪高速铁路连接北京和上海，全长约一千三百公里。",
    "この図書館は月曜日が休館日です。",
    "يصب نهر النيل في البحر الأبيض المتوسط.",
    "किसान खेत में गेहूँ बो रहे हैं।",
    "ธนาคารปิดทำการในวันหยุดราชการ",
]


@pytest.fixture(scope="module")
def multi() -> Encoder:
    return Encoder("multilingual")


@pytest.mark.parametrize("name", ["multi", "multilingual", "serotine-multi"])
def test_it_is_found_by_name(name: str) -> None:
    encoder = Encoder(name)
    assert (encoder.name, encoder.dim) == ("serotine-multi", 128)
    assert (encoder.spec.query.length, encoder.spec.document.length) == (64, 512)


def test_it_takes_at_most_80_megabytes() -> None:
    assert sum(path.stat().st_size for path in FOLDER.parent.rglob("*") if path.suffix != ".pyc") < 80_000_000


def test_its_tokens_are_those_of_sentencepiece() -> None:
    """NFKC, emoji, mixed scripts and forty more texts; the ids were computed with SentencePiece itself."""
    tokenizer = Tokenizer.from_str(lzma.decompress((FOLDER / "tokenizer.json.xz").read_bytes()).decode())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    assert len(CASES) > 40
    for case in CASES:
        assert tokenizer.encode(case["text"]).ids == case["ids"], case["name"]


def test_spans_of_right_to_left_texts_rise(multi: Encoder) -> None:
    for case in CASES:
        if case["name"] in ("Arabic", "Persian", "Hebrew", "mixed scripts"):
            tokens = [token for token in multi.tokens(case["text"], query=False) if token.end > token.start]
            assert [token.start for token in tokens] == sorted(token.start for token in tokens)
            covered = {place for token in tokens for place in range(token.start, token.end)}
            assert not [c for place, c in enumerate(case["text"]) if c.isalpha() and place not in covered], case["name"]


def test_its_vectors_are_those_of_the_trained_float32_model(multi: Encoder) -> None:
    """torch wrote the file from the checkpoint that was exported: 8 bits, and 4 for words, lose little."""
    with np.load(DATA / "serotine_multi_float32.npz") as golden:
        texts = {case["name"]: case["text"] for case in CASES if case["name"] in golden}
        assert len(texts) == len(golden.files) > 30
        means = []
        for name, vectors in zip(texts, multi.encode_documents(list(texts.values())), strict=True):
            assert vectors.shape == golden[name].shape, name
            cosines = (vectors * golden[name].astype(np.float32)).sum(axis=1)
            assert cosines.mean() > 0.995, name
            assert cosines.min() > 0.99, name
            means.append(cosines.mean())
    assert np.mean(means) > 0.997


def test_a_query_finds_the_passage_in_every_language(multi: Encoder) -> None:
    passages = [passage for _, passage in SENTENCES.values()]
    documents = multi.encode_documents([*passages, *OTHERS])
    misses = []
    for code, vectors in zip(SENTENCES, multi.encode_queries([q for q, _ in SENTENCES.values()]), strict=True):
        scores = maxsim.score(vectors, documents)
        ranked = np.argsort(-scores)
        if set(ranked[: len(passages)]) != set(range(len(passages))):
            misses.append((code, [int(place) for place in ranked[: len(passages)] if place >= len(passages)]))
    # 81 pairs of languages: at most one of them may lose to a passage on something else.
    assert sum(len(wrong) for _, wrong in misses) <= 1, misses


def test_words_that_its_vocabulary_spells_are_known(multi: Encoder) -> None:
    """A rare word is spelled in every vocabulary; this one has words of the scripts it was trained on."""
    for text in ("コウモリは飛べる", "Летучая мышь", "ამ ცხოველს ღამურა ჰქვია", "ค้างคาวบินได้"):
        assert multi.coverage([text])[0].unknown_share(text) == 0, text
    (cuneiform,) = multi.coverage([text := "𒀀𒁀𒂀𒃀 bat"])
    assert cuneiform.unknown_share(text) > 0.3
    with pytest.warns(UnknownTextWarning, match=r"'serotine-multi' \(Cuneiform\).*; search with mode=\"bm25\"$"):
        multi.encode_documents([text])


def test_an_index_is_searched_across_languages(tmp_path: Path) -> None:
    with Index.create(tmp_path / "i.serotine", encoder="multilingual") as index:
        index.add(ids=["zh-bat", *map(str, range(len(OTHERS)))], texts=[SENTENCES["zh"][1], *OTHERS])
    with Index.open(tmp_path / "i.serotine") as index:
        assert index.stats().encoder == "serotine-multi"
        assert index.search("which mammal can fly?", k=1)[0].id == "zh-bat"


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(FOLDER, folder)
    model = folder / "model.safetensors"
    content = bytearray(model.read_bytes())
    if damage == "cut":
        del content[len(content) // 2 :]
    else:
        content[len(content) // 2] ^= 0x40
    model.write_bytes(content)
    with pytest.raises(EncoderError, match=r"model\.safetensors"):
        Encoder(folder)
