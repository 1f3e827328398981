"""The model before training: a late-interaction checkpoint as it is, or a dense backbone with a projection head."""

from __future__ import annotations

import random
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serotine.encoders import Encoder, is_exported, locate, register_qwen3, save_checkpoint
from serotine.errors import TrainingError, reason
from serotine.issued_warnings import muted_warnings
from serotine.pca import principal_directions
from serotine.progress import progress_bar
from serotine.training.examples import Example
from serotine.training.precision import in_bfloat16
from serotine.training.recipe import Head, Recipe, Tokenization

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder

_TOKENS = "token_embeddings"


def initial_model(
    recipe: Recipe, examples: dict[str, list[Example]], states: Path, *, show_progress: bool
) -> MultiVectorEncoder:
    """Build the model that training starts from.

    Args:
        recipe: what to build.
        examples: by source; a sample of them determines the head.
        states: folder for the token states of that sample, from which a killed run resumes.
        show_progress: draw bars on standard error.

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
        encoder = Encoder(_trainable(recipe), backend="torch", device="cpu", dtype="float32")
    if encoder.spec.origin != "dense":
        if recipe.tokenization != Tokenization():
            raise TrainingError(f"tokenization: {recipe.model} is a late-interaction model and has its own; remove it")
        return MultiVectorEncoder(str(encoder.spec.folder), local_files_only=True)
    if encoder.spec.projections:
        raise TrainingError(f"{recipe.model}: has a projection after its pooling; not supported in training")
    model = _with_head(recipe, encoder, _sample_positives(examples, recipe.head.init_documents, recipe.seed))
    if recipe.head.init == "scores":
        _fit_head(recipe, model, _sample_examples(recipe, examples), states, encoder.fingerprint, show_progress)
    return model


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


def _fit_head(
    recipe: Recipe,
    model: MultiVectorEncoder,
    examples: dict[str, list[Example]],
    states: Path,
    fingerprint: str,
    show_progress: bool,
) -> None:
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Normalize
    from sentence_transformers.base.modules.dense import Dense

    from serotine.training.head_fit import encode_all, fit_to_scores, token_states

    tokenization, modules = recipe.tokenization, list(model)
    backbone = MultiVectorEncoder(
        modules=[module for module in modules if not isinstance(module, (Dense, Normalize))],
        prompts={"query": tokenization.query_prompt, "document": tokenization.document_prompt},
    )
    key = f"{fingerprint} {asdict(tokenization)}"
    stored = token_states(backbone, states, key, bfloat16=in_bfloat16(recipe))
    chosen = [example for of_source in examples.values() for example in of_source]
    with progress_bar(2 * len(chosen), "Token states", enabled=show_progress) as advance:
        encode_all(stored, chosen, advance)
    # On a CPU, also beside a GPU: states are read from files, and the sums are the same everywhere.
    layers = [module.cpu() for module in modules if isinstance(module, Dense)]
    with progress_bar(recipe.head.init_steps, "Head", enabled=show_progress) as advance:
        try:
            fit_to_scores(layers, stored, examples, recipe.head.init_steps, recipe.seed, advance)
        except ValueError as error:
            raise TrainingError(f"head.{reason(error)}") from None


def _sample_positives(examples: dict[str, list[Example]], count: int, seed: int) -> list[str]:
    """Return random positives, the same number from each source while it has any."""
    shuffled = []
    for name, of_source in examples.items():
        texts = [example.documents[0] for example in of_source]
        random.Random(f"{seed} {name}").shuffle(texts)  # noqa: S311
        shuffled.append(texts)
    sample: list[str] = []
    position = 0
    while len(sample) < count and any(position < len(texts) for texts in shuffled):
        sample += [texts[position] for texts in shuffled if position < len(texts)]
        position += 1
    return sample[:count]


def _sample_examples(recipe: Recipe, examples: dict[str, list[Example]]) -> dict[str, list[Example]]:
    """Return random examples of the first stage's sources, from each as many as its share of the stage's batches."""
    stage = recipe.stages[0]
    weights = {source.name: source.weight for source in recipe.sources}
    shares = {name: weights[name] * len(examples[name]) ** stage.sampling_exponent for name in stage.sources}
    sample = {}
    for name, share in shares.items():
        shuffled = list(examples[name])
        random.Random(f"{recipe.seed} {name}").shuffle(shuffled)  # noqa: S311
        sample[name] = shuffled[: round(recipe.head.init_documents * share / sum(shares.values()))]
    return sample
