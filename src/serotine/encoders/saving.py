"""A checkpoint written in sentence-transformers 6's format, or in PyLate's: both load it again."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from serotine.encoders.encoder import Encoder
from serotine.encoders.projection import Layer, read_layers
from serotine.encoders.settings import SettingsFile
from serotine.encoders.spec import EncoderSpec, Side
from serotine.encoders.tokenization import TextTokenizer
from serotine.errors import EncoderError

CheckpointFormat = Literal["sentence-transformers", "pylate"]
_V6 = "sentence_transformers.base.modules"
_MULTI = "sentence_transformers.multi_vector_encoder.modules"
_TORCH_ACTIVATIONS = {"Identity": "torch.nn.modules.linear.Identity"}


def save(encoder: Encoder, folder: str | Path, *, format: CheckpointFormat = "sentence-transformers") -> None:  # noqa: A002
    """Writes an encoder's checkpoint.

    Args:
        encoder: on the torch backend; its Matryoshka dimension is not stored.
        folder: where to; must not be there.
        format: "sentence-transformers" (6, `MultiVectorEncoder`), or "pylate" (`ColBERT`), which both libraries read.
            Only PyLate takes off the spaces around a text.

    Raises:
        EncoderError: the format cannot say what the encoder does; nothing is left behind.
        FileExistsError: something is there already.
    """
    target = Path(folder)
    if target.exists():
        raise FileExistsError(f"{target}: is there already; give a new folder")
    spec = encoder.spec
    from serotine.encoders.torch import TorchBackend

    if not isinstance(encoder.backend, TorchBackend):
        raise EncoderError(
            f"{spec.name}: an exported encoder has no weights to save; save the checkpoint it was made from"
        )
    if format == "sentence-transformers" and (spec.query.marker or spec.document.marker):
        if not _begins_with_special(spec):
            raise EncoderError(
                f"{spec.name}: sentence-transformers puts markers first, this encoder after the first token; load it "
                "with marker_position='prepend' to save it so, or save it with format='pylate'"
            )
        spec = spec.with_marker_position("prepend")
    if not (spec.query.keep_prompt and spec.document.keep_prompt) or (format == "pylate" and not spec.normalise):
        raise EncoderError(f"{spec.name}: leaves out its prompts' vectors, or does not scale them, which is not stored")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as place:
        made = Path(place) / "made"
        made.mkdir()
        encoder.backend.save(made)
        _write_tokenizer(made, spec)
        model = encoder.backend.model
        # Folded, they are fewer than the format lists; they cannot have been trained then.
        layers = read_layers(spec) if model.folded else model.layers()
        folders = _write_projections(made, spec, layers, told=format != "pylate")
        if format == "pylate":
            _write_pylate(made, spec, folders)
        else:
            _write_v6(made, spec, folders)
        made.replace(target)


def _begins_with_special(spec: EncoderSpec) -> bool:
    """Whether texts begin with a special token, after which is then where a prepended marker stands too."""
    (tokens,) = TextTokenizer(spec).encode(["a"], replace(spec.document, prompt="", marker=None))
    return bool(tokens.spans[0, 0] == tokens.spans[0, 1])


def _write_tokenizer(made: Path, spec: EncoderSpec) -> None:
    TextTokenizer(spec).save(str(made / "tokenizer.json"))
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        settings = SettingsFile(spec.tokenizer_file.with_name(name), missing_ok=True).values
        if settings:
            _write(made / name, settings)


def _write_projections(made: Path, spec: EncoderSpec, layers: list[Layer], *, told: bool) -> list[str]:
    """Writes the Dense modules; PyLate's own knows no names of inputs and outputs."""
    from safetensors.numpy import save_file

    folders = []
    for number, (layer, weights) in enumerate(zip(spec.projections, layers, strict=True), 1):
        name = f"{number}_Dense"
        (made / name).mkdir()
        weight, bias, residual = weights
        tensors = {"linear.weight": weight}
        if bias is not None:
            tensors["linear.bias"] = bias
        if residual is not None and layer.inputs != layer.outputs:
            tensors["residual.weight"] = residual
        save_file(
            {key: np.ascontiguousarray(value) for key, value in tensors.items()}, made / name / "model.safetensors"
        )
        activation = _TORCH_ACTIVATIONS.get(layer.activation, f"torch.nn.modules.activation.{layer.activation}")
        settings: dict[str, Any] = {
            "in_features": layer.inputs,
            "out_features": layer.outputs,
            "bias": layer.bias,
            "activation_function": activation,
            "use_residual": layer.residual,
        }
        if told:
            settings |= {"module_input_name": "token_embeddings", "module_output_name": "token_embeddings"}
        _write(made / name / "config.json", settings)
        folders.append(name)
    return folders


def _write_v6(made: Path, spec: EncoderSpec, folders: list[str]) -> None:
    tokenizer = TextTokenizer(spec)
    expansion = spec.query.expansion
    transformer: dict[str, Any] = {
        "transformer_task": "feature-extraction",
        "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
        "module_output_name": "token_embeddings",
        "document_length": spec.document.length,
        "do_lower_case": spec.lower_case,
    }
    if expansion is None or not expansion.cut:
        transformer["query_length"] = spec.query.length
    if expansion is not None:
        transformer["query_expansion"] = {
            "strategy": "fixed" if expansion.cut else "min",
            "attend": expansion.attend,
            "token": tokenizer.piece(expansion.token),
            "length": expansion.length,
        }
    _write(made / "sentence_bert_config.json", transformer)
    entries = [("", f"{_V6}.transformer.Transformer"), *((name, f"{_V6}.dense.Dense") for name in folders)]
    entries.append((f"{len(entries)}_MultiVectorMask", f"{_MULTI}.multi_vector_mask.MultiVectorMask"))
    words = [tokenizer.piece(id_) for id_ in spec.document.skip or spec.query.skip]
    tasks = [name for name, side in (("query", spec.query), ("document", spec.document)) if side.skip]
    if spec.query.skip and spec.document.skip and spec.query.skip != spec.document.skip:
        raise EncoderError(f"{spec.name}: leaves out other tokens of queries than of documents, which no format stores")
    mask = {
        "skiplist_words": words,
        "skiplist_tasks": tasks or ["document"],
        "keep_only_token_ids": list(spec.document.only) or None,
    }
    _write_module(made, entries[-1][0], mask)
    if spec.normalise:
        entries.append((f"{len(entries)}_Normalize", f"{_V6}.normalize.Normalize"))
        _write_module(made, entries[-1][0], {"module_input_name": "token_embeddings"})
    pooling = spec.pooling
    if pooling.factor > 1:
        entries.append((f"{len(entries)}_HierarchicalTokenPooling", f"{_MULTI}.token_pooling.HierarchicalTokenPooling"))
        settings = {
            "pool_factor": pooling.factor,
            "num_protected_tokens": pooling.protected,
            "normalize_embeddings": pooling.normalise,
            "tasks": ["query", "document"] if pooling.queries else ["document"],
        }
        _write_module(made, entries[-1][0], settings)
    _write_modules(made, entries)
    prompts = {"query": spec.query.prompt, "document": spec.document.prompt}
    _write(
        made / "config_sentence_transformers.json",
        {
            "model_type": "MultiVectorEncoder",
            "prompts": prompts,
            "default_prompt_name": None,
            "similarity_fn_name": spec.similarity,
        },
    )


def _write_pylate(made: Path, spec: EncoderSpec, folders: list[str]) -> None:
    moved = spec.with_marker_position("after_first")
    expansion = moved.query.expansion
    if moved.query.skip or moved.document.only or moved.pooling.factor > 1 or (expansion and not expansion.cut):
        raise EncoderError(f"{spec.name}: PyLate's format cannot say which vectors it keeps; save it without format=")
    tokenizer = TextTokenizer(moved)
    _write(
        made / "sentence_bert_config.json",
        {"max_seq_length": max(moved.query.length, moved.document.length), "do_lower_case": moved.lower_case},
    )
    _write_modules(
        made,
        [("", "sentence_transformers.models.Transformer"), *((name, "pylate.models.Dense.Dense") for name in folders)],
    )

    def prefix(side: Side) -> str:
        return side.marker or ""

    _write(
        made / "config_sentence_transformers.json",
        {
            "model_type": "ColBERT",
            "prompts": {"query": moved.query.prompt, "document": moved.document.prompt},
            "default_prompt_name": None,
            "similarity_fn_name": "MaxSim",
            "query_prefix": prefix(moved.query),
            "document_prefix": prefix(moved.document),
            "query_length": expansion.length if expansion else moved.query.length,
            "document_length": moved.document.length,
            "attend_to_expansion_tokens": bool(expansion and expansion.attend),
            "skiplist_words": [tokenizer.piece(id_) for id_ in moved.document.skip],
            "do_query_expansion": expansion is not None,
        },
    )


def _write_module(made: Path, name: str, settings: dict[str, Any]) -> None:
    (made / name).mkdir()
    _write(made / name / "config.json", settings)


def _write_modules(made: Path, entries: list[tuple[str, str]]) -> None:
    listed = [{"idx": i, "name": str(i), "path": path, "type": kind} for i, (path, kind) in enumerate(entries)]
    _write(made / "modules.json", listed)


def _write(path: Path, values: object) -> None:
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", "utf-8")
