"""Checkpoints in every format: token ids, masks and vectors equal those of sentence-transformers."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")

from helpers import checkpoints  # noqa: E402
from helpers.checkpoints import TEXTS  # noqa: E402

from serotine import Encoder  # noqa: E402
from serotine.encoders.torch import qwen3  # noqa: E402
from serotine.errors import EncoderError, ZeroShotWarning  # noqa: E402

# The texts are too long, and in scripts that small vocabularies do not have, on purpose.
pytestmark = [
    pytest.mark.filterwarnings("ignore::serotine.errors.TruncatedTextWarning"),
    pytest.mark.filterwarnings("ignore::serotine.errors.UnknownTextWarning"),
]
Make = Callable[[Path], Path]


def expansion(**settings: Any) -> dict[str, Any]:
    return {"query_expansion": {"strategy": "fixed", "attend": False, "token": None, "length": 32, **settings}}


MARKED = {"query": "[Q] ", "document": "[D] "}
TANH, GELU = "torch.nn.modules.activation.Tanh", "torch.nn.modules.activation.GELU"
POOLED = {"pool_factor": 2.0, "num_protected_tokens": 1, "normalize_embeddings": True, "tasks": ["document"]}
CASES: dict[str, Make] = {
    "pylate": checkpoints.pylate,
    "pylate, no expansion": lambda f: checkpoints.pylate(f, do_query_expansion=False, query_length=20),
    "pylate, expansion attended": lambda f: checkpoints.pylate(f, attend_to_expansion_tokens=True, skiplist_words=[]),
    "pylate, three layers and prompts": lambda f: checkpoints.pylate(
        f, layers=3, prompts={"query": "search_query: ", "document": "search_document: "}
    ),
    "pylate, markers that are text": lambda f: checkpoints.pylate(f, query_prefix="[Q] ", document_prefix="[D] "),
    "pylate, no markers": lambda f: checkpoints.pylate(f, query_prefix="", document_prefix=""),
    "pylate, modernbert": lambda f: checkpoints.pylate(f, "modernbert"),
    "pylate, xlm-r": lambda f: checkpoints.pylate(f, "xlm-roberta"),
    "pylate, pplx": lambda f: checkpoints.pylate(f, "pplx", attend_to_expansion_tokens=True),
    "pylate, lfm2 filled up with the end of the text": lambda f: checkpoints.pylate(f, "lfm2"),
    "pylate, float16": lambda f: checkpoints.convert_weights(torch.float16, checkpoints.pylate(f, layers=2)),
    "pylate, bfloat16": lambda f: checkpoints.convert_weights(
        torch.bfloat16, checkpoints.pylate(f, "modernbert", layers=2)
    ),
    "pylate and stanford": checkpoints.stanford_with_pylate_modules,
    "stanford": checkpoints.stanford,
    "stanford, bfloat16": lambda f: checkpoints.convert_weights(torch.bfloat16, checkpoints.stanford(f)),
    "stanford, expansion attended": lambda f: checkpoints.stanford(
        f, attend_to_mask_tokens=True, mask_punctuation=False, query_maxlen=16
    ),
    "stanford, xlm-r with rotary positions": lambda f: checkpoints.stanford(f, "jina", attend_to_mask_tokens=True),
    "v6": lambda f: checkpoints.sentence_transformers(
        f,
        transformer={**expansion(), "document_length": 40},
        prompts={"query": "[unused0] ", "document": "[unused1] "},
    ),
    "v6, floor": lambda f: checkpoints.sentence_transformers(
        f,
        "modernbert",
        transformer={
            **expansion(strategy="min", attend=True, length=24, token="[PAD]"),
            "document_length": 40,
            "query_length": 30,
        },
        prompts=MARKED,
    ),
    "v6, prompts, skiplist on both sides": lambda f: checkpoints.sentence_transformers(
        f,
        "xlm-roberta",
        prompts={"query": "query: ", "document": "passage: "},
        mask={"skiplist_tasks": ["query", "document"]},
    ),
    "v6, lower case": lambda f: checkpoints.sentence_transformers(f, "modernbert", transformer={"do_lower_case": True}),
    "v6, tanh and residual": lambda f: checkpoints.sentence_transformers(
        f, dense={"activation": TANH, "bias": True, "residual": True}
    ),
    "v6, gelu and residual of one size": lambda f: checkpoints.sentence_transformers(
        f, dense={"activation": GELU, "residual": True, "outputs": 32}
    ),
    "v6, pplx": lambda f: checkpoints.sentence_transformers(
        f, "pplx", transformer={**expansion(attend=True, token="<|mask|>"), "document_length": 40}, prompts=MARKED
    ),
    "v6, pooling": lambda f: checkpoints.sentence_transformers(f, pooling=POOLED),
    "v6, chosen tokens only": lambda f: checkpoints.sentence_transformers(
        f, mask={"keep_only_token_ids": [101, 102, 1996, 1037]}
    ),
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    # sentence-transformers logs warnings about these checkpoints.
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def reference(folder: Path) -> Any:
    from sentence_transformers import MultiVectorEncoder

    qwen3.register_qwen3()
    if json.loads((folder / "config.json").read_text()).get("position_embedding_type") == "rotary":
        folder = checkpoints.under_transformers_name(folder)
    return MultiVectorEncoder(str(folder), device="cpu")


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", CASES)
def test_every_format_equals_sentence_transformers(name: str, tmp_path: Path) -> None:
    folder = CASES[name](tmp_path / "checkpoint")
    theirs = reference(folder)
    # sentence-transformers always prepends markers; PyLate's own position is tested below.
    position = "prepend" if name.startswith("pylate") else None
    ours = Encoder(folder, device="cpu", marker_position=position)
    for task, side in (("query", ours.spec.query), ("document", ours.spec.document)):
        for text, tokens in zip(TEXTS, ours._tokenizer.encode(TEXTS, side), strict=True):
            features = theirs.preprocess([text], prompt=theirs.prompts.get(task), task=task)
            assert tokens.ids.tolist() == features["input_ids"][0].tolist(), (task, text)
            assert tokens.attention.astype(int).tolist() == features["attention_mask"][0].tolist(), (task, text)
    expected = theirs.encode_query(TEXTS, convert_to_numpy=True, batch_size=4)
    _equal(ours.encode_queries(TEXTS), expected)
    _equal(ours.encode_documents(TEXTS), theirs.encode_document(TEXTS, convert_to_numpy=True, batch_size=4))
    for text, vectors in zip(TEXTS, ours.encode_documents(TEXTS), strict=True):
        assert len(ours.tokens(text, query=False)) == len(vectors)


def _equal(ours: list[Any], theirs: list[Any]) -> None:
    for mine, their in zip(ours, theirs, strict=True):
        assert mine.shape == their.shape
        np.testing.assert_allclose(mine, their, atol=1e-5)


def test_pylate_puts_its_marker_after_the_first_token(tmp_path: Path) -> None:
    folder = checkpoints.pylate(tmp_path / "c", "pplx")
    encoder, moved = Encoder(folder), Encoder(folder, marker_position="prepend")
    (after,) = encoder._tokenizer.encode(["A short one."], encoder.spec.query)
    (before,) = moved._tokenizer.encode(["A short one."], moved.spec.query)
    marker = encoder._tokenizer._tokenizer.token_to_id("[Q] ")
    assert after.ids[1] == before.ids[0] == marker
    assert np.delete(after.ids, 1).tolist() == np.delete(before.ids, 0).tolist()
    assert encoder.fingerprint != moved.fingerprint
    explicit = Encoder(folder, marker_position="after_first")
    assert explicit.fingerprint == encoder.fingerprint
    assert explicit.spec.with_marker_position("prepend").query == moved.spec.query
    # The two positions are the same where texts begin with [CLS].
    bert = checkpoints.pylate(tmp_path / "bert")
    vectors = Encoder(bert).encode_documents(TEXTS)
    _equal(vectors, Encoder(bert, marker_position="prepend").encode_documents(TEXTS))


def test_tokens_have_their_character_spans(tmp_path: Path) -> None:
    prompts = {"query": "query: ", "document": "passage: "}
    encoder = Encoder(checkpoints.sentence_transformers(tmp_path / "c", "pplx", prompts=prompts))
    text = "The bat's 東京 café, 🦇!"
    tokens = encoder.tokens(text, query=False)
    spans = [token for token in tokens if token.end > token.start]
    assert text[spans[0].start : spans[0].end].strip().startswith("T")
    # Every character except unscored punctuation belongs to a token, and the prompt to none.
    covered = {i for token in tokens for i in range(token.start, token.end)}
    assert {text[i] for i in set(range(len(text))) - covered} <= set("',!")
    assert sum(token.end == token.start for token in tokens) >= len("passage: ") // 4


def test_pplx_is_qwen3_with_a_padding_mask_only(tmp_path: Path) -> None:
    from transformers import AutoModel, Qwen3Config, Qwen3Model

    checkpoints.backbone("pplx", tmp_path)
    qwen3.register_qwen3()
    ours = AutoModel.from_pretrained(tmp_path).eval()
    assert type(ours) is qwen3.PPLXQwen3Model
    values = json.loads((tmp_path / "config.json").read_text())
    config = Qwen3Config(**{key: value for key, value in values.items() if key not in ("model_type", "auto_map")})
    config._attn_implementation = "eager"
    theirs = Qwen3Model(config).eval()
    theirs.load_state_dict(ours.state_dict())
    ids = torch.randint(0, config.vocab_size, (3, 17), generator=torch.Generator().manual_seed(0))
    mask = torch.ones(3, 17, dtype=torch.long)
    mask[1, 9:] = 0
    mask[2, 3:] = 0
    bias = (1.0 - mask[:, None, None, :].float()).expand(3, 1, 17, 17) * torch.finfo(torch.float32).min
    with torch.inference_mode():
        states = ours(input_ids=ids, attention_mask=mask).last_hidden_state
        # Every release uses a 4-dimensional mask unchanged; some need it by layer kind.
        expected = theirs(input_ids=ids, attention_mask={"full_attention": bias}).last_hidden_state
        causal = theirs(input_ids=ids, attention_mask=mask).last_hidden_state
    real = mask.bool()
    torch.testing.assert_close(states[real], expected[real], atol=1e-5, rtol=1e-5)
    # A causal mask gives different states.
    assert (states[real] - causal[real]).abs().max() > 0.1


def test_remote_code_is_not_run(tmp_path: Path) -> None:
    folder = checkpoints.pylate(tmp_path / "c", "pplx")
    assert "SystemExit" in (folder / "modeling.py").read_text()
    assert len(Encoder(folder).encode_queries(["a bat"])[0]) == 32


def test_a_dense_encoder_is_used_zero_shot(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    prompts = {"query": "query: ", "passage": "passage: "}
    folder = checkpoints.dense(tmp_path / "c", "xlm-roberta", prompts=prompts)
    with pytest.warns(ZeroShotWarning, match="zero-shot") as warnings:
        ours = Encoder(folder)
    assert "trained for one vector" not in str(warnings[0].message)
    theirs = SentenceTransformer(str(folder), device="cpu")
    states = theirs.encode([prompts["passage"] + text for text in TEXTS], output_value="token_embeddings")
    for mine, their in zip(ours.encode_documents(TEXTS), states, strict=True):
        np.testing.assert_allclose(mine, torch.nn.functional.normalize(their, dim=-1).numpy(), atol=1e-5)
    folder = checkpoints.dense(tmp_path / "cls", mode="cls")
    with pytest.warns(ZeroShotWarning, match=r"one vector per text \(cls pooling\)"):
        Encoder(folder)


def test_a_prompt_excluded_from_pooling_is_not_scored(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    folder = checkpoints.dense(tmp_path / "c", prompts={"query": "find this: "}, include_prompt=False)
    with pytest.warns(ZeroShotWarning):
        encoder = Encoder(folder)
    # Special tokens before the text are excluded with it.
    assert [token.text for token in encoder.tokens("a bat", query=True)] == ["a", "bat", "[SEP]"]
    theirs = SentenceTransformer(str(folder), device="cpu")
    expected = theirs.encode_query(TEXTS, normalize_embeddings=False)
    for text, states, one in zip(TEXTS, encoder.token_states(TEXTS, query=True), expected, strict=True):
        kept = len(encoder.tokens(text, query=True))
        mean = states[-kept:].mean(axis=0)
        np.testing.assert_allclose(mean / np.linalg.norm(mean), one, atol=1e-5)


def test_an_encoder_decoder_uses_its_encoder(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    folder = checkpoints.dense(tmp_path / "c", "t5")
    with pytest.warns(ZeroShotWarning):
        ours = Encoder(folder)
    states = SentenceTransformer(str(folder), device="cpu").encode(TEXTS, output_value="token_embeddings")
    for mine, their in zip(ours.encode_documents(TEXTS), states, strict=True):
        np.testing.assert_allclose(mine, torch.nn.functional.normalize(their, dim=-1).numpy(), atol=1e-5)


def test_the_similarity_is_read(tmp_path: Path) -> None:
    folder = checkpoints.pylate(tmp_path / "c", "modernbert", similarity_fn_name="MeanMaxSim")
    assert Encoder(folder).spec.similarity == "meanmaxsim"


def test_a_plain_transformers_folder(tmp_path: Path) -> None:
    checkpoints.backbone("modernbert", tmp_path)
    with pytest.warns(ZeroShotWarning):
        encoder = Encoder(tmp_path)
    assert encoder.encode_documents(["a bat"])[0].shape[1] == checkpoints.HIDDEN


def test_dim_and_pool_factor_change_vectors_and_fingerprint(tmp_path: Path) -> None:
    folder = checkpoints.stanford(tmp_path / "c")
    whole, cut, pooled = Encoder(folder), Encoder(folder, dim=8), Encoder(folder, pool_factor=3)
    assert (cut.dim, cut.options, pooled.options) == (8, {"dim": 8}, {"pool_factor": 3.0})
    assert len({whole.fingerprint, cut.fingerprint, pooled.fingerprint}) == 3
    for full, short in zip(whole.encode_documents(TEXTS), cut.encode_documents(TEXTS), strict=True):
        kept = full[:, :8] / np.linalg.norm(full[:, :8], axis=1, keepdims=True)
        np.testing.assert_allclose(short, kept, atol=1e-6)
    long = TEXTS[3]
    (few,) = pooled.encode_documents([long])
    (all_,) = whole.encode_documents([long])
    assert len(few) == 1 + (len(all_) - 1) // 3
    np.testing.assert_allclose(np.linalg.norm(few, axis=1), 1, atol=1e-6)
    tokens = pooled.tokens(long, query=False)
    assert len(tokens) == len(few)
    assert all(long[token.start : token.end].lower() == token.text.removeprefix("##") for token in tokens if token.end)
    # Query vectors are not merged.
    assert len(pooled.encode_queries([long])[0]) == 32
    with pytest.raises(ValueError, match=r"dim: must be between 1 and 16, the dimension of .*, got 17"):
        Encoder(folder, dim=17)


def test_tokens_added_after_training_get_embeddings(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    folder = checkpoints.sentence_transformers(tmp_path / "c")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens(["serotine"])
    tokenizer.save(str(folder / "tokenizer.json"))
    (vectors,) = Encoder(folder).encode_documents(["a serotine"])
    assert vectors.shape == (4, 16)
    assert np.isfinite(vectors).all()


def test_settings_that_change_vectors_change_the_fingerprint(tmp_path: Path) -> None:
    folder = checkpoints.pylate(tmp_path / "c")
    before = Encoder(folder).fingerprint
    fingerprints = {before}
    for file, key, value in (
        ("config.json", "hidden_act", "relu"),
        ("1_Dense/config.json", "activation_function", "torch.nn.modules.activation.Tanh"),
    ):
        settings = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({**settings, key: value}))
        fingerprints.add(Encoder(folder).fingerprint)
    assert len(fingerprints) == 3
    # Metadata does not.
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, "transformers_version": "0", "_name_or_path": "x"}))
    assert Encoder(folder).fingerprint in fingerprints


def test_an_unreachable_hub_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        EncoderError, match=r"'perplexity-ai/pplx-embed-v1-late-0\.6b@main'.*cannot be reached"
    ) as raised:
        Encoder("perplexity-ai/pplx-embed-v1-late-0.6b", revision="main", offline=True)
    assert "\n" not in str(raised.value)
