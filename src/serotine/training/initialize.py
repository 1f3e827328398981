"""The model before training: a late-interaction checkpoint as it is, or a dense backbone with a projection head."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from serotine.encoders import Encoder, is_exported, locate, register_qwen3, save_checkpoint
from serotine.errors import TrainingError, reason
from serotine.issued_warnings import muted_warnings
from serotine.pca import principal_directions
from serotine.training.recipe import Head, Recipe, Tokenization

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder

_TOKENS = "token_embeddings"


def initial_model(recipe: Recipe, texts: list[str]) -> MultiVectorEncoder:
    """Build the model that training starts from.

    Args:
        recipe: what to build.
        texts: documents whose token states determine the head's principal directions.

    Raises:
        EncoderError: the encoder does not exist, or its files are damaged.
        TrainingError: the recipe does not fit the backbone.
    """
    import torch
    from sentence_transformers import MultiVectorEncoder

    register_qwen3()
    torch.manual_seed(recipe.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Validates every file before sentence-transformers opens one: safetensors only, no remote code.
        encoder = Encoder(_trainable(recipe), backend="torch", device="cpu")
    if encoder.spec.origin != "dense":
        if recipe.tokenization != Tokenization():
            raise TrainingError(f"tokenization: {recipe.model} is a late-interaction model and has its own; remove it")
        return MultiVectorEncoder(str(encoder.spec.folder), local_files_only=True)
    if encoder.spec.projections:
        raise TrainingError(f"{recipe.model}: has a projection after its pooling; not supported in training")
    return _with_head(recipe, encoder, texts)


def _trainable(recipe: Recipe) -> str:
    """Return the name of the recipe's model, or the folder of the checkpoint made from an exported one."""
    location = locate(recipe.model)
    if not is_exported(location.folder):
        return recipe.model
    folder = recipe.output / "checkpoint"
    if not folder.is_dir():
        save_checkpoint(Encoder(recipe.model), folder)
    return str(folder)


def _with_head(recipe: Recipe, encoder: Encoder, texts: list[str]) -> MultiVectorEncoder:
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    tokenization = recipe.tokenization
    transformer = Transformer(
        str(encoder.spec.folder),
        query_length=tokenization.query_length,
        document_length=tokenization.document_length,
        config_kwargs={"local_files_only": True},
    )
    limit = getattr(transformer.config, "max_position_embeddings", None)
    for key in ("query_length", "document_length"):
        length = getattr(tokenization, key)
        if limit is not None and length > limit:
            raise TrainingError(f"tokenization.{key}: must be at most {limit:,} for {recipe.model}, got {length:,}")
    transformer.max_seq_length = max(tokenization.query_length, tokenization.document_length)
    for token in tokenization.skiplist:
        if transformer.tokenizer.convert_tokens_to_ids(token) in (None, transformer.tokenizer.unk_token_id):
            raise TrainingError(f"tokenization.skiplist: {token!r} is not a token of {recipe.model}; remove it")
    skiplist_tasks = ["query", "document"] if tokenization.skiplist_queries else ["document"]
    prompts = {"query": tokenization.query_prompt, "document": tokenization.document_prompt}
    model = MultiVectorEncoder(
        modules=[
            transformer,
            *_head(recipe.head, encoder, texts),
            MultiVectorMask(list(tokenization.skiplist), skiplist_tasks=skiplist_tasks),
            Normalize(module_input_name=_TOKENS),
        ],
        prompts=prompts,
    )
    if tokenization.markers:
        from transformers import AddedToken

        markers = [AddedToken(prompt, lstrip=False, rstrip=False, normalized=False) for prompt in prompts.values()]
        model.tokenizer.add_tokens(markers)
        transformer.auto_model.resize_token_embeddings(len(model.tokenizer))
    return model


def _head(head: Head, encoder: Encoder, texts: list[str]) -> list[Any]:
    import torch
    from sentence_transformers.base.modules.dense import Dense
    from torch import nn

    hidden = encoder.dim
    if head.dim > hidden:
        raise TrainingError(f"head.dim: must be at most {hidden}, the hidden size of {encoder.name}, got {head.dim}")
    names: dict[str, Any] = {"module_input_name": _TOKENS, "module_output_name": _TOKENS}
    projection = Dense(hidden, head.dim, bias=False, activation_function=nn.Identity(), **names)
    layers = [projection]
    if head.kind == "residual":
        residual = Dense(hidden, hidden, bias=False, activation_function=nn.GELU(), use_residual=True, **names)
        # Zero weights make the layer the identity: GELU(0) = 0, and its slope there is 1/2, so it can learn.
        nn.init.zeros_(residual.linear.weight)
        layers.insert(0, residual)
    if head.init == "pca":
        try:
            with muted_warnings():
                directions = principal_directions(encoder.encode_documents(texts[: head.init_documents]), head.dim)
        except ValueError as error:
            raise TrainingError(f"head.{reason(error)}") from None
        projection.linear.weight = nn.Parameter(torch.from_numpy(directions))
    return layers
