"""Saving of checkpoints in the format of sentence-transformers 6 or of PyLate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np

from serotine.encoders.encoder import Encoder
from serotine.encoders.native import NATIVE_SUFFIX, read_native_graph
from serotine.encoders.onnx import GraphWeights, read_bert
from serotine.encoders.projection import Layer, read_layers
from serotine.encoders.sample_texts import TEXTS, no_text_warnings
from serotine.encoders.settings import SettingsFile
from serotine.encoders.spec import EncoderSpec, Side
from serotine.encoders.tokenization import TextTokenizer
from serotine.encoders.weights import WEIGHTS_FILE
from serotine.errors import EncoderError
from serotine.files import replace_folder
from serotine.wording import worded

CheckpointFormat = Literal["sentence-transformers", "pylate"]
# As `export.MIN_MEAN_COSINE` of int8.
_MIN_MEAN_COSINE = 0.99
_BASE_MODULES = "sentence_transformers.base.modules"
_MULTI_VECTOR_MODULES = "sentence_transformers.multi_vector_encoder.modules"
_TORCH_ACTIVATIONS = {"Identity": "torch.nn.modules.linear.Identity"}


def save_checkpoint(
    encoder: Encoder,
    folder: str | Path,
    *,
    format: CheckpointFormat = "sentence-transformers",  # noqa: A002
) -> None:
    """Save an encoder as a checkpoint.

    Args:
        encoder: on the torch backend, or an exported BERT, whose weights are read from its file; its `dim` option is
            not stored.
        folder: the new folder; must not exist.
        format: "sentence-transformers" (6, `MultiVectorEncoder`), or "pylate" (`ColBERT`), which both libraries read.
            Only PyLate removes whitespace around a text.

    Raises:
        EncoderError: the format cannot express the encoder's settings; nothing is written.
        FileExistsError: the folder exists.
    """
    target = Path(folder)
    if target.exists():
        raise FileExistsError(f"{target}: already exists; give a new folder")
    spec = encoder.spec
    from serotine.encoders.torch import TorchBackend

    exported = None if spec.model_file is None else _exported_weights(spec, spec.model_file)
    if exported is None and getattr(encoder.backend, "dtype", None) != "float32" and encoder.backend_choice is not None:
        # 8 or 16 bits are not the checkpoint's own weights.
        encoder = Encoder(encoder.name, backend="torch", device="cpu", dtype="float32", **encoder.options)
    if format == "sentence-transformers" and (spec.query.marker or spec.document.marker):
        if not TextTokenizer(spec).begins_with_special:
            raise EncoderError(
                f"{spec.name}: sentence-transformers puts markers first, this encoder after the first token; load it "
                "with marker_position='prepend', or save it with format='pylate'"
            )
        spec = spec.with_marker_position("prepend")
    if not (spec.query.keep_prompt and spec.document.keep_prompt) or (format == "pylate" and not spec.normalize):
        raise EncoderError(f"{spec.name}: unscored prompts or unnormalized vectors cannot be stored in {format}")
    with replace_folder(target) as building:
        if exported is not None:
            layers = _write_exported(building, spec, *exported)
        elif isinstance(encoder.backend, TorchBackend):
            encoder.backend.save(building)
            model = encoder.backend.model
            # Folding changes the number of layers; folded layers are never trained, so the stored ones are current.
            layers = read_layers(spec) if model.folded else model.layers()
        else:
            raise EncoderError(f"{spec.name}: its backend has no weights to save; load it with backend='torch'")
        _write_tokenizer(building, spec)
        folders = _write_projections(building, spec, layers, tensor_names=format != "pylate")
        if format == "pylate":
            _write_pylate(building, spec, folders)
        else:
            _write_sentence_transformers(building, spec, folders)
        if exported is not None:
            _compare(encoder, building)


def _exported_weights(spec: EncoderSpec, file: Path) -> tuple[GraphWeights, list[Layer]]:
    """Return the weights in the graph of an exported encoder, and its projections."""
    weights = read_native_graph(file) if file.suffix == NATIVE_SUFFIX else read_bert(file)
    matrices = iter(weights.projections)
    layers: list[Layer] = []
    for layer in spec.projections:
        weight, residual = next(matrices, None), None
        if weight is None or weight.shape != (layer.outputs, layer.inputs) or layer.bias:
            break
        if layer.residual and layer.activation == "Identity":
            # Added to the weight when it was exported (`projection.fold`).
            if layer.inputs != layer.outputs:
                break
            weight = weight - np.eye(layer.outputs, dtype=np.float32)
        elif layer.residual:
            residual = next(matrices, None)
        layers.append((weight, None, residual))
    if len(layers) < len(spec.projections) or next(matrices, None) is not None:
        raise EncoderError(
            f"{spec.name}: its projections were merged when it was exported; use the checkpoint it was exported from"
        )
    return weights, layers


def _compare(exported: Encoder, folder: Path) -> None:
    """Check that a checkpoint made from an export gives its vectors, apart from the rounding of 8-bit products."""
    with no_text_warnings():
        restored = Encoder(folder, backend="torch", device="cpu", dtype="float32")
        pairs = zip(exported.encode_documents(TEXTS), restored.encode_documents(TEXTS), strict=True)
        cosine = float(np.concatenate([np.einsum("ij,ij->i", one, other) for one, other in pairs]).mean())
    if cosine < _MIN_MEAN_COSINE:
        raise EncoderError(
            f"{exported.name}: mean cosine between the checkpoint and the export must be at least {_MIN_MEAN_COSINE}, "
            f"got {cosine:.4f}; use the checkpoint it was exported from"
        )


def _write_exported(folder: Path, spec: EncoderSpec, weights: GraphWeights, layers: list[Layer]) -> list[Layer]:
    from safetensors.numpy import save_file

    save_file(weights.backbone, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    _write(folder / "config.json", weights.config)
    # An export has the tokenizer itself only; its special tokens are BERT's.
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")}
    length = weights.config["max_position_embeddings"]
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": length, **special}
    _write(folder / "tokenizer_config.json", settings)
    return layers


def _write_tokenizer(folder: Path, spec: EncoderSpec) -> None:
    TextTokenizer(spec).save(str(folder / "tokenizer.json"))
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        settings = SettingsFile(spec.tokenizer_file.with_name(name), missing_ok=True).values
        if settings:
            _write(folder / name, settings)


def _write_projections(folder: Path, spec: EncoderSpec, layers: list[Layer], *, tensor_names: bool) -> list[str]:
    """Write the Dense modules and return their folders; PyLate rejects `tensor_names` of inputs and outputs."""
    from safetensors.numpy import save_file

    folders = []
    for number, (layer, weights) in enumerate(zip(spec.projections, layers, strict=True), 1):
        name = f"{number}_Dense"
        (folder / name).mkdir()
        weight, bias, residual = weights
        tensors = {"linear.weight": weight}
        if bias is not None:
            tensors["linear.bias"] = bias
        if residual is not None and layer.inputs != layer.outputs:
            tensors["residual.weight"] = residual
        save_file(
            {key: np.ascontiguousarray(value) for key, value in tensors.items()}, folder / name / "model.safetensors"
        )
        activation = _TORCH_ACTIVATIONS.get(layer.activation, f"torch.nn.modules.activation.{layer.activation}")
        settings: dict[str, Any] = {
            "in_features": layer.inputs,
            "out_features": layer.outputs,
            "bias": layer.bias,
            "activation_function": activation,
            "use_residual": layer.residual,
        }
        if tensor_names:
            settings |= {"module_input_name": "token_embeddings", "module_output_name": "token_embeddings"}
        _write(folder / name / "config.json", settings)
        folders.append(name)
    return folders


def _write_sentence_transformers(folder: Path, spec: EncoderSpec, folders: list[str]) -> None:
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
    _write(folder / "sentence_bert_config.json", transformer)
    entries = [
        ("", f"{_BASE_MODULES}.transformer.Transformer"),
        *((name, f"{_BASE_MODULES}.dense.Dense") for name in folders),
    ]
    entries.append((f"{len(entries)}_MultiVectorMask", f"{_MULTI_VECTOR_MODULES}.multi_vector_mask.MultiVectorMask"))
    words = [tokenizer.piece(id_) for id_ in spec.document.skip or spec.query.skip]
    tasks = [name for name, side in (("query", spec.query), ("document", spec.document)) if side.skip]
    if spec.query.skip and spec.document.skip and spec.query.skip != spec.document.skip:
        raise EncoderError(f"{spec.name}: unscored tokens that differ between queries and documents cannot be stored")
    mask = {
        "skiplist_words": words,
        "skiplist_tasks": tasks or ["document"],
        "keep_only_token_ids": list(spec.document.only) or None,
    }
    _write_module(folder, entries[-1][0], mask)
    if spec.normalize:
        entries.append((f"{len(entries)}_Normalize", f"{_BASE_MODULES}.normalize.Normalize"))
        _write_module(folder, entries[-1][0], {"module_input_name": "token_embeddings"})
    pooling = spec.pooling
    if pooling.factor > 1:
        entries.append(
            (
                f"{len(entries)}_HierarchicalTokenPooling",
                f"{_MULTI_VECTOR_MODULES}.token_pooling.HierarchicalTokenPooling",
            )
        )
        settings = {
            "pool_factor": pooling.factor,
            "num_protected_tokens": pooling.protected,
            "normalize_embeddings": pooling.normalize,
            "tasks": ["query", "document"] if pooling.queries else ["document"],
        }
        _write_module(folder, entries[-1][0], settings)
    _write_modules(folder, entries)
    prompts = {"query": spec.query.prompt, "document": spec.document.prompt}
    _write(
        folder / "config_sentence_transformers.json",
        {
            "model_type": "MultiVectorEncoder",
            "prompts": prompts,
            "default_prompt_name": None,
            "similarity_fn_name": spec.similarity,
        },
    )


def _write_pylate(folder: Path, spec: EncoderSpec, folders: list[str]) -> None:
    spec = spec.with_marker_position("after_first")
    expansion = spec.query.expansion
    if spec.query.skip or spec.document.only or spec.pooling.factor > 1 or (expansion and not expansion.cut):
        option = worded("format=", http="format", command="--format")
        raise EncoderError(
            f"{spec.name}: PyLate's format cannot store which tokens are scored; save it without {option}"
        )
    tokenizer = TextTokenizer(spec)
    _write(
        folder / "sentence_bert_config.json",
        {"max_seq_length": max(spec.query.length, spec.document.length), "do_lower_case": spec.lower_case},
    )
    _write_modules(
        folder,
        [("", "sentence_transformers.models.Transformer"), *((name, "pylate.models.Dense.Dense") for name in folders)],
    )

    def prefix(side: Side) -> str:
        return side.marker or ""

    _write(
        folder / "config_sentence_transformers.json",
        {
            "model_type": "ColBERT",
            "prompts": {"query": spec.query.prompt, "document": spec.document.prompt},
            "default_prompt_name": None,
            "similarity_fn_name": "MaxSim",
            "query_prefix": prefix(spec.query),
            "document_prefix": prefix(spec.document),
            "query_length": expansion.length if expansion else spec.query.length,
            "document_length": spec.document.length,
            "attend_to_expansion_tokens": bool(expansion and expansion.attend),
            "skiplist_words": [tokenizer.piece(id_) for id_ in spec.document.skip],
            "do_query_expansion": expansion is not None,
        },
    )


def _write_module(folder: Path, name: str, settings: dict[str, Any]) -> None:
    (folder / name).mkdir()
    _write(folder / name / "config.json", settings)


def _write_modules(folder: Path, entries: list[tuple[str, str]]) -> None:
    modules = [{"idx": i, "name": str(i), "path": path, "type": kind} for i, (path, kind) in enumerate(entries)]
    _write(folder / "modules.json", modules)


def _write(path: Path, values: object) -> None:
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", "utf-8")
