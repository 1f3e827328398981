"""Write small random checkpoints in every format, with the tensor names of the real ones. Needs torch."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertModel,
    JinaEmbeddingsV3Config,
    JinaEmbeddingsV3Model,
    Lfm2Config,
    Lfm2Model,
    ModernBertConfig,
    ModernBertModel,
    T5Config,
    T5Model,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from serotine.encoders.torch.qwen3 import PPLXQwen3Config, PPLXQwen3Model

TEXTS = [
    "What motivates scientific discovery?",
    "A short one.",
    "",
    "The serotine is a large bat, that emerges late in the evening; " * 12,
    "Größe, naïve café — ÉLAN! 10pm (e.g. #1)",
    "東京は日本の首都です。人口は約1400万人。",
    "الخفاش حيوان ثديي ليلي.",
    "ค้างคาวเป็นสัตว์เลี้ยงลูกด้วยนม",
    "🦇 flies 🌙 at night 👩‍🔬",
    "  spaces   and\ttabs\n",
    "[MASK] [Q] [unused0] <mask> <|endoftext|>",
]
BERT_TOKENIZER = Path(__file__).parents[2] / "src/serotine/serving/mcp/tokenizer.json"
HIDDEN = 32
_JINA_MARKERS = ("[QueryMarker]", "[DocumentMarker]")
# Names of tensors in transformers, and those published.
_JINA_NAMES = {
    "embeddings.LayerNorm": "emb_ln",
    "self_attn.o_proj": "mixer.out_proj",
    "post_attention_layernorm": "norm1",
    "post_mlp_layernorm": "norm2",
}
_SIZES: dict[str, Any] = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    # Large enough for the layers to matter; with the usual 0.02 the states would be nearly the embeddings.
    "initializer_range": 0.3,
}
# The least sizes that the native backend covers, with what is special about each architecture.
NATIVE_SIZES: dict[str, dict[str, Any]] = {
    "bert": {"num_attention_heads": 1},
    "xlm-roberta": {"num_attention_heads": 1},
    "jina": {"hidden_size": 64, "num_attention_heads": 2, "num_hidden_layers": 3},
    # Layers 0 and 3 attend to all tokens, the others to four on each side.
    "modernbert": {"hidden_size": 64, "num_attention_heads": 2, "num_hidden_layers": 5, "local_attention": 8},
    # 4 heads of 32 in states of 64, which share two heads of keys and values.
    "pplx": {"hidden_size": 64, "num_hidden_layers": 3, "num_key_value_heads": 2, "head_dim": 32},
}


def bert_tokenizer() -> Tokenizer:
    """Return BERT's WordPiece tokenizer."""
    return Tokenizer.from_file(str(BERT_TOKENIZER))


def xlmr_tokenizer() -> Tokenizer:
    """Return a Unigram tokenizer in XLM-R's layout: <s> text </s>, spaces as U+2581."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.UnigramTrainer(vocab_size=500, special_tokens=specials, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def bytes_tokenizer(begin: str | None = None, end: str | None = None, specials: tuple[str, ...] = ()) -> Tokenizer:
    """Return a byte-level BPE tokenizer as in ModernBERT (with begin and end tokens) and Qwen (without)."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=[token for token in (begin, end) if token] + list(specials),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    if begin and end:
        ids = [(token, tokenizer.token_to_id(token)) for token in (begin, end)]
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{begin} $A {end}", special_tokens=ids)
    return tokenizer


def write_tokenizer(folder: Path, tokenizer: Tokenizer, **settings: Any) -> None:
    """Write a tokenizer and its settings, with truncation and padding that a loader must disable."""
    tokenizer.enable_truncation(7)
    tokenizer.enable_padding(length=9)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    values = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 64, **settings}
    (folder / "tokenizer_config.json").write_text(json.dumps(values))


def backbone(kind: str, folder: Path, **changes: Any) -> None:
    """Write a random model of an architecture with its tokenizer, as transformers does; `changes` are of its sizes."""
    torch.manual_seed(len(kind))
    common = _SIZES | changes
    model: Any
    if kind == "bert":
        model = BertModel(BertConfig(vocab_size=30522, max_position_embeddings=128, **common))
        specials = {
            role: f"[{role[:-6].upper()}]"
            for role in ("unk_token", "pad_token", "cls_token", "sep_token", "mask_token")
        }
        write_tokenizer(folder, bert_tokenizer(), **specials)
    elif kind == "xlm-roberta":
        tokenizer = xlmr_tokenizer()
        size = tokenizer.get_vocab_size()
        model = XLMRobertaModel(
            XLMRobertaConfig(vocab_size=size, max_position_embeddings=130, pad_token_id=1, type_vocab_size=1, **common)
        )
        specials = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>"}
        write_tokenizer(folder, tokenizer, pad_token="<pad>", unk_token="<unk>", mask_token="<mask>", **specials)
    elif kind == "jina":
        tokenizer = xlmr_tokenizer()
        tokenizer.add_special_tokens([AddedToken(marker, normalized=False) for marker in _JINA_MARKERS])
        specials = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>"}
        write_tokenizer(folder, tokenizer, pad_token="<pad>", unk_token="<unk>", mask_token="<mask>", **specials)
        _write_jina(folder, tokenizer.get_vocab_size(), **common)
        return
    elif kind == "modernbert":
        tokenizer = bytes_tokenizer("[CLS]", "[SEP]", ("[PAD]", "[MASK]", "[UNK]"))
        tokenizer.add_tokens([AddedToken("[Q] ", normalized=True), AddedToken("[D] ", normalized=True)])
        model = ModernBertModel(
            ModernBertConfig(
                vocab_size=tokenizer.get_vocab_size(),
                pad_token_id=tokenizer.token_to_id("[PAD]"),
                **{"max_position_embeddings": 128, **common},
            )
        )
        specials = {
            role: f"[{role[:-6].upper()}]"
            for role in ("unk_token", "pad_token", "cls_token", "sep_token", "mask_token")
        }
        write_tokenizer(folder, tokenizer, **specials)
    elif kind == "t5":
        tokenizer = xlmr_tokenizer()
        sizes = {"d_model": HIDDEN, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
        model = T5Model(T5Config(vocab_size=tokenizer.get_vocab_size(), **sizes))
        write_tokenizer(folder, tokenizer, pad_token="<pad>", unk_token="<unk>", eos_token="</s>")
    elif kind == "lfm2":
        # LFM2 has a begin token, no end token and no mask token.
        tokenizer = bytes_tokenizer(specials=("<|pad|>", "<|startoftext|>", "<|im_end|>"))
        begin = ("<|startoftext|>", tokenizer.token_to_id("<|startoftext|>"))
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{begin[0]} $A", special_tokens=[begin])
        tokenizer.add_tokens([AddedToken("[Q] ", normalized=False), AddedToken("[D] ", normalized=False)])
        sizes = {**common, "num_hidden_layers": 3, "num_key_value_heads": 2, "block_auto_adjust_ff_dim": False}
        layers = ["conv", "full_attention", "conv"]
        model = Lfm2Model(Lfm2Config(vocab_size=tokenizer.get_vocab_size(), layer_types=layers, **sizes))
        write_tokenizer(folder, tokenizer, pad_token="<|pad|>", eos_token="<|im_end|>", bos_token="<|startoftext|>")
    elif kind == "pplx":
        tokenizer = bytes_tokenizer(specials=("<|endoftext|>", "<|im_start|>", "<|mask|>"))
        tokenizer.add_tokens([AddedToken("[Q] ", normalized=False), AddedToken("[D] ", normalized=False)])
        # 4 heads of 16 in states of 32: head_dim does not follow from hidden_size, as in the published model.
        sizes = {"num_key_value_heads": 2, "head_dim": 16, **common}
        model = PPLXQwen3Model(PPLXQwen3Config(vocab_size=tokenizer.get_vocab_size() + 3, **sizes))
        write_tokenizer(folder, tokenizer, pad_token="<|endoftext|>", eos_token="<|endoftext|>", mask_token="<|mask|>")
    else:
        raise ValueError(kind)
    model.save_pretrained(folder)
    if kind == "pplx":
        config = json.loads((folder / "config.json").read_text())
        # The published checkpoints refer to remote code, which must never run.
        config["auto_map"] = {"AutoConfig": "configuration.PPLXQwen3Config", "AutoModel": "modeling.PPLXQwen3Model"}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "modeling.py").write_text("raise SystemExit('remote code ran')\n")
        (folder / "configuration.py").write_text("raise SystemExit('remote code ran')\n")


def _write_jina(folder: Path, vocabulary: int, rotary_emb_base: float = 10_000.0, **sizes: Any) -> None:
    """Write an XLM-R with rotary positions in the published layout, that of flash attention."""
    sizes = {"vocab_size": vocabulary, "max_position_embeddings": 130, "type_vocab_size": 1, **sizes}
    rope = {"rope_type": "default", "rope_theta": rotary_emb_base}
    states = JinaEmbeddingsV3Model(JinaEmbeddingsV3Config(rope_parameters=rope, **sizes)).state_dict()
    tensors = {}
    for name, value in states.items():
        if ".q_proj." in name:
            parts = [states[name.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            name, value = name.replace("self_attn.q_proj", "mixer.Wqkv"), torch.cat(parts)
        elif ".k_proj." in name or ".v_proj." in name:
            continue
        for theirs, published in _JINA_NAMES.items():
            name = name.replace(theirs, published)
        tensors[f"encoder.{name}" if name.startswith("layers.") else name] = value.contiguous()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    code = "jinaai/xlm-roberta-flash-implementation--"
    config = {
        "model_type": "xlm-roberta",
        "architectures": ["XLMRobertaModel"],
        "auto_map": {"AutoModel": f"{code}modeling_xlm_roberta.XLMRobertaModel"},
        "position_embedding_type": "rotary",
        "rotary_emb_base": rotary_emb_base,
        "use_flash_attn": True,
        "lora_adaptations": None,
        "layer_norm_eps": 1e-5,
        "pad_token_id": 1,
        **sizes,
    }
    (folder / "config.json").write_text(json.dumps(config))


def under_transformers_name(folder: Path) -> Path:
    """Return a copy of a checkpoint of jina's under the model type that transformers has for it."""
    copy = folder.with_name(f"{folder.name}-transformers")
    shutil.copytree(folder, copy)
    file = copy / "config.json"
    config = json.loads(file.read_text())
    rope = {"rope_type": "default", "rope_theta": config["rotary_emb_base"]}
    for key in ("auto_map", "position_embedding_type"):
        del config[key]
    file.write_text(json.dumps(config | {"model_type": "jina_embeddings_v3", "rope_parameters": rope}))
    return copy


def write_dense(
    folder: Path,
    inputs: int,
    outputs: int,
    activation: str = "torch.nn.modules.linear.Identity",
    *,
    bias: bool = False,
    residual: bool = False,
    seed: int = 0,
    **config: Any,
) -> None:
    """Write a Dense module."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    tensors = {"linear.weight": torch.randn(outputs, inputs, generator=generator) / inputs**0.5}
    if bias:
        tensors["linear.bias"] = torch.randn(outputs, generator=generator)
    if residual and inputs != outputs:
        tensors["residual.weight"] = torch.randn(outputs, inputs, generator=generator) / inputs**0.5
    save_file(tensors, folder / "model.safetensors")
    values = {"in_features": inputs, "out_features": outputs, "bias": bias, "activation_function": activation}
    (folder / "config.json").write_text(json.dumps({**values, "use_residual": residual, **config}))


def _modules(folder: Path, entries: list[tuple[str, str]]) -> None:
    modules = [{"idx": i, "name": str(i), "path": path, "type": kind} for i, (path, kind) in enumerate(entries)]
    (folder / "modules.json").write_text(json.dumps(modules))


def pylate(
    folder: Path,
    kind: str = "bert",
    *,
    layers: int = 1,
    dense: list[tuple[int, bool]] | None = None,
    sizes: dict[str, Any] | None = None,
    **settings: Any,
) -> Path:
    """Write a checkpoint as PyLate does.

    `layers` is the number of projections, or `dense` has the outputs of each and whether it has a residual; `sizes`
    are the backbone's.
    """
    backbone(kind, folder, **(sizes or {}))
    entries = [("", "sentence_transformers.models.Transformer")]
    inputs = (sizes or {}).get("hidden_size", HIDDEN)
    for i, (outputs, residual) in enumerate(dense or [(48, i > 0) for i in range(layers - 1)] + [(16, layers > 1)]):
        write_dense(folder / f"{i + 1}_Dense", inputs, outputs, residual=residual, seed=i)
        entries.append((f"{i + 1}_Dense", "pylate.models.Dense.Dense"))
        inputs = outputs
    _modules(folder, entries)
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 47, "do_lower_case": False}))
    markers = {"bert": ("[unused0]", "[unused1]"), "xlm-roberta": ("<s>", "</s>"), "jina": _JINA_MARKERS}
    prefixes = markers.get(kind, ("[Q] ", "[D] "))
    values = {
        "model_type": "ColBERT",
        "prompts": {},
        "similarity_fn_name": "MaxSim",
        "query_prefix": prefixes[0],
        "document_prefix": prefixes[1],
        "query_length": 32,
        "document_length": 48,
        "attend_to_expansion_tokens": False,
        "skiplist_words": list(string.punctuation),
        "do_query_expansion": True,
    }
    (folder / "config_sentence_transformers.json").write_text(json.dumps(values | settings))
    return folder


def stanford(folder: Path, kind: str = "bert", *, sizes: dict[str, Any] | None = None, **metadata: Any) -> Path:
    """Write a checkpoint as Stanford's ColBERT does, but in safetensors."""
    backbone(kind, folder, **(sizes or {}))
    file, hidden = folder / "model.safetensors", (sizes or {}).get("hidden_size", HIDDEN)
    prefix = {"bert": "bert.", "jina": "roberta."}[kind]
    generator = torch.Generator().manual_seed(1)
    tensors = {f"{prefix}{name}": value for name, value in load_file(file).items()}
    tensors["linear.weight"] = torch.randn(16, hidden, generator=generator) / hidden**0.5
    save_file(tensors, file)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["HF_ColBERT"]}))
    values = {"query_maxlen": 32, "doc_maxlen": 40, "dim": 16, "mask_punctuation": True, "attend_to_mask_tokens": False}
    if kind == "jina":
        values |= {"query_token_id": _JINA_MARKERS[0], "doc_token_id": _JINA_MARKERS[1]}
    (folder / "artifact.metadata").write_text(json.dumps(values | metadata))
    return folder


def stanford_with_pylate_modules(folder: Path) -> Path:
    """Write a Stanford checkpoint with PyLate's modules beside it, like answerai-colbert-small-v1."""
    stanford(folder)
    (folder / "1_Dense").mkdir()
    write_dense(folder / "1_Dense", HIDDEN, 16)
    save_file(
        {"linear.weight": load_file(folder / "model.safetensors")["linear.weight"]},
        folder / "1_Dense/model.safetensors",
    )
    _modules(folder, [("", "sentence_transformers.models.Transformer"), ("1_Dense", "pylate.models.Dense.Dense")])
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 47, "do_lower_case": False}))
    values = {"query_prefix": "[unused0]", "document_prefix": "[unused1]", "query_length": 32, "document_length": 40}
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"model_type": "ColBERT", **values}))
    return folder


def configure(folder: Path, **settings: Any) -> Path:
    """Change a checkpoint's configuration; one head of 32 dimensions is the least that the native backend covers."""
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(config | {"num_attention_heads": 1} | settings), encoding="utf-8")
    return folder


def change_tensor(folder: Path, name: str, change: Callable[[Any], Any]) -> None:
    """Replace a tensor of the backbone, whatever prefix its name has, by a function of its NumPy array."""
    file = folder / "model.safetensors"
    tensors = load_file(file)
    for stored in tensors:
        if stored.endswith(name):
            tensors[stored] = torch.from_numpy(change(tensors[stored].numpy()))
    save_file(tensors, file, metadata={"format": "pt"})


def convert_weights(dtype: torch.dtype, folder: Path) -> Path:
    """Convert all weights of a checkpoint to another dtype."""
    for file in folder.rglob("*.safetensors"):
        save_file({name: value.to(dtype) for name, value in load_file(file).items()}, file, metadata={"format": "pt"})
    return folder


def sentence_transformers(
    folder: Path,
    kind: str = "bert",
    *,
    transformer: dict[str, Any] | None = None,
    mask: dict[str, Any] | None = None,
    prompts: dict[str, str] | None = None,
    dense: dict[str, Any] | None = None,
    pooling: dict[str, Any] | None = None,
) -> Path:
    """Write a checkpoint as sentence-transformers 6 does for a MultiVectorEncoder."""
    backbone(kind, folder)
    names = "sentence_transformers.base.modules"
    multi_vector = "sentence_transformers.multi_vector_encoder.modules"
    entries = [
        ("", f"{names}.transformer.Transformer"),
        ("1_Dense", f"{names}.dense.Dense"),
        ("2_MultiVectorMask", f"{multi_vector}.multi_vector_mask.MultiVectorMask"),
        ("3_Normalize", f"{names}.normalize.Normalize"),
    ]
    shape = {"inputs": HIDDEN, "outputs": 16, "module_input_name": "token_embeddings"}
    write_dense(folder / "1_Dense", **{**shape, **(dense or {})})
    (folder / "2_MultiVectorMask").mkdir()
    words = {"skiplist_words": list(string.punctuation), "skiplist_tasks": ["document"], "keep_only_token_ids": None}
    (folder / "2_MultiVectorMask/config.json").write_text(json.dumps(words | (mask or {})))
    (folder / "3_Normalize").mkdir()
    (folder / "3_Normalize/config.json").write_text(json.dumps({"module_input_name": "token_embeddings"}))
    if pooling is not None:
        entries.append(("4_HierarchicalTokenPooling", f"{multi_vector}.token_pooling.HierarchicalTokenPooling"))
        (folder / "4_HierarchicalTokenPooling").mkdir()
        (folder / "4_HierarchicalTokenPooling/config.json").write_text(json.dumps(pooling))
    _modules(folder, entries)
    settings = {
        "transformer_task": "feature-extraction",
        "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
        "module_output_name": "token_embeddings",
        **(transformer or {}),
    }
    (folder / "sentence_bert_config.json").write_text(json.dumps(settings))
    values = {"model_type": "MultiVectorEncoder", "prompts": prompts or {}, "similarity_fn_name": "maxsim"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(values))
    return folder


def dense(
    folder: Path, kind: str = "bert", *, mode: str = "mean", prompts: dict[str, str] | None = None, **pooling: Any
) -> Path:
    """Write a checkpoint as sentence-transformers does for a dense encoder."""
    backbone(kind, folder)
    names = "sentence_transformers.models"
    _modules(
        folder, [("", f"{names}.Transformer"), ("1_Pooling", f"{names}.Pooling"), ("2_Normalize", f"{names}.Normalize")]
    )
    (folder / "1_Pooling").mkdir()
    modes = {"pooling_mode_cls_token": mode == "cls", "pooling_mode_mean_tokens": mode == "mean"}
    values = {"word_embedding_dimension": HIDDEN, **modes, **pooling}
    (folder / "1_Pooling/config.json").write_text(json.dumps(values))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 50, "do_lower_case": False}))
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts or {}}))
    return folder


def write_qwen_tokenizer(folder: Path, ranks: Path) -> None:
    """Write Qwen's tokenizer as `tokenizer.json`, built from its byte-pair ranks."""
    letters = _byte_letters()
    pieces = {base64.b64decode(piece): int(rank) for piece, rank in map(str.split, ranks.read_text().splitlines())}
    vocabulary = {"".join(letters[byte] for byte in piece): rank for piece, rank in pieces.items()}
    merges = []
    for piece, rank in sorted(pieces.items(), key=lambda item: item[1]):
        if len(piece) > 1:
            left, right = _last_merge(piece, pieces, rank)
            merges.append(tuple("".join(letters[byte] for byte in part) for part in (left, right)))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.normalizer = normalizers.NFC()
    words = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    pattern = words + r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    # Special tokens fill the ids up to the two markers, which come last.
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    specials += [f"<|special_{i}|>" for i in range(151669 - len(vocabulary) - len(specials))]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in specials])
    tokenizer.add_tokens([AddedToken(marker, normalized=False) for marker in ("[Q] ", "[D] ")])
    # Published queries are expanded with the token of the last rank.
    write_tokenizer(folder, tokenizer, pad_token="<|endoftext|>", mask_token=tokenizer.id_to_token(151642))


def with_tokenizer(folder: Path, other: Path) -> Path:
    """Replace a checkpoint's tokenizer with that of another folder."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(other / name, folder / name)
    return folder


def _byte_letters() -> dict[int, str]:
    """Return the printable letter of each byte in byte-level vocabularies (GPT-2)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def _last_merge(piece: bytes, ranks: dict[bytes, int], max_rank: int) -> tuple[bytes, bytes]:
    """Return the two pieces whose merge gives `piece`, merging lower ranks first."""
    parts = [bytes([byte]) for byte in piece]
    while len(parts) > 2:
        ranked = [(ranks.get(a + b, max_rank), i) for i, (a, b) in enumerate(itertools.pairwise(parts))]
        rank, position = min(ranked)
        if rank >= max_rank:
            break
        parts[position : position + 2] = [parts[position] + parts[position + 1]]
    left, right = parts[0], b"".join(parts[1:])
    return left, right
