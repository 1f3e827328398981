"""The model that training starts from: a backbone with a head, as sentence-transformers' `MultiVectorEncoder`."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from serotine.encoders import Encoder, locate, register_qwen3
from serotine.errors import TrainingError
from serotine.pca import principal_directions
from serotine.training.recipe import Head, Recipe, Texts

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder

_TOKENS = "token_embeddings"


def starting_model(recipe: Recipe, texts: list[str]) -> MultiVectorEncoder:
    """Builds the model of a recipe.

    A late-interaction checkpoint is taken as it is; to a dense one a head is added.

    Args:
        recipe: what to build.
        texts: documents to take the head's principal directions from.

    Raises:
        EncoderError: there is no such encoder, or its files are damaged.
        TrainingError: the head asks for what the backbone cannot give.
    """
    import torch
    from sentence_transformers import MultiVectorEncoder

    register_qwen3()
    torch.manual_seed(recipe.seed)
    found = locate(recipe.model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Reads and checks every file before sentence-transformers opens one: safetensors only, nothing run.
        encoder = Encoder(recipe.model, backend="torch", device="cpu")
    if encoder.spec.origin != "dense":
        if recipe.texts != Texts():
            raise TrainingError(f"texts: {recipe.model} is a late-interaction model, with its own; leave them out")
        return MultiVectorEncoder(str(found.folder), local_files_only=True)
    if encoder.spec.projections:
        raise TrainingError(f"{recipe.model}: has a projection after its pooling, which is not trained here")
    return _with_head(recipe, encoder, str(found.folder), texts)


def _with_head(recipe: Recipe, encoder: Encoder, folder: str, texts: list[str]) -> MultiVectorEncoder:
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    rules = recipe.texts
    transformer = Transformer(
        folder, query_length=rules.query_length, document_length=rules.document_length, config_kwargs=_offline()
    )
    longest = getattr(transformer.config, "max_position_embeddings", None)
    for key in ("query_length", "document_length"):
        if longest is not None and getattr(rules, key) > longest:
            raise TrainingError(
                f"texts.{key}: {recipe.model} takes at most {longest:,} tokens, got {getattr(rules, key):,}"
            )
    transformer.max_seq_length = max(rules.query_length, rules.document_length)
    for word in rules.skip:
        if transformer.tokenizer.convert_tokens_to_ids(word) in (None, transformer.tokenizer.unk_token_id):
            raise TrainingError(f"texts.skip: {word!r} is no token of {recipe.model}, and can not be left out")
    head = _head(recipe.head, encoder, texts)
    mask = MultiVectorMask(
        list(rules.skip), skiplist_tasks=["query", "document"] if rules.skip_queries else ["document"]
    )
    prompts = {"query": rules.query_prompt, "document": rules.document_prompt}
    model = MultiVectorEncoder(
        modules=[transformer, *head, mask, Normalize(module_input_name=_TOKENS)], prompts=prompts
    )
    if rules.markers:
        from transformers import AddedToken

        wanted = [AddedToken(prompt, lstrip=False, rstrip=False, normalized=False) for prompt in prompts.values()]
        model.tokenizer.add_tokens(wanted)
        transformer.auto_model.resize_token_embeddings(len(model.tokenizer))
    return model


def _offline() -> dict[str, Any]:
    return {"local_files_only": True}


def _head(head: Head, encoder: Encoder, texts: list[str]) -> list[Any]:
    import torch
    from sentence_transformers.base.modules.dense import Dense
    from torch import nn

    hidden = encoder.dim
    if head.dim > hidden:
        raise TrainingError(f"head.dim: want at most {hidden}, the size of {encoder.name}'s states, got {head.dim}")
    names: dict[str, Any] = {"module_input_name": _TOKENS, "module_output_name": _TOKENS}
    last = Dense(hidden, head.dim, bias=False, activation_function=nn.Identity(), **names)
    layers = [last]
    if head.kind == "residual":
        first = Dense(hidden, hidden, bias=False, activation_function=nn.GELU(), use_residual=True, **names)
        # With a weight of 0 the layer hands its input on: GELU(0) = 0, and its slope there is 1/2, so it can learn.
        nn.init.zeros_(first.linear.weight)
        layers.insert(0, first)
    if head.start == "pca":
        try:
            directions = principal_directions(encoder.encode_documents(texts[: head.sample]), head.dim)
        except ValueError as error:
            raise TrainingError(f"head.{error}") from None
        last.linear.weight = nn.Parameter(torch.from_numpy(directions))
    return layers
