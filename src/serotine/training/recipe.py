"""The contents of a training recipe: frozen dataclasses, read from YAML by `serotine.training.recipe_parser`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class Tokenization:
    """How texts become tokens; saved with the model.

    Attributes:
        query_length, document_length: maximum number of tokens, special tokens included.
        query_prompt, document_prompt: prepended to every text.
        markers: whether each prompt becomes one token, as "[Q] " and "[D] " in ColBERT.
        skiplist: tokens of the vocabulary whose document vectors are dropped.
        skiplist_queries: whether the skiplist applies to queries too.
    """

    query_length: int = 32
    document_length: int = 180
    query_prompt: str = ""
    document_prompt: str = ""
    markers: bool = False
    skiplist: tuple[str, ...] = ()
    skiplist_queries: bool = False


@dataclass(frozen=True, slots=True)
class Head:
    """The projection from the backbone's states to the token vectors; ignored if the model has one.

    Attributes:
        dim: dimension of a token vector.
        kind: "residual": a layer with a residual connection, then a linear layer; "linear": one linear layer.
        init: "pca": the linear layer starts as the first principal directions of the backbone's token states, the layer
            before it as the identity, so that training starts from the backbone's own similarities; "scores": the same,
            then fitted to MaxSim of the states, so that training starts from the backbone's own ranking; "random".
        init_documents: number of documents whose token states determine those directions; with "scores", number of
            examples on whose queries and positives the head is fitted, shared out as the first stage's batches are.
        init_steps: number of steps of that fit, each on 64 queries with their positives.
    """

    dim: int = 128
    kind: Literal["residual", "linear"] = "residual"
    init: Literal["pca", "scores", "random"] = "pca"
    init_documents: int = 1000
    init_steps: int = 500


@dataclass(frozen=True, slots=True)
class Source:
    """A file of training examples.

    Attributes:
        name: how stages refer to it.
        path: a .jsonl, .jsonl.gz or .parquet file; relative to the recipe.
        filter: keeps only examples whose field has one of these values, for every field named.
        limit: maximum number of examples, sampled at random.
        weight: factor on how often a batch is from this source; see `Stage.sampling_exponent`.
        license: of the texts; copied to the report.
    """

    name: str
    path: Path
    filter: dict[str, tuple[str, ...]] = field(default_factory=dict)
    limit: int | None = None
    weight: float = 1.0
    license: str = ""


@dataclass(frozen=True, slots=True)
class Cleaning:
    """Which examples are removed from the sources before training.

    Attributes:
        evaluation_folders: BEIR folders; examples that contain their texts are removed.
        overlap_threshold: share of a text's word 8-grams that are in an evaluation text, or of an evaluation text's in
            it, from which an example is removed.
        duplicate_threshold: Jaccard similarity to an earlier example from which one is removed; 1: equal texts only.
        min_words: minimum number of words in a positive.
    """

    evaluation_folders: tuple[Path, ...] = ()
    overlap_threshold: float = 0.3
    duplicate_threshold: float = 0.8
    min_words: int = 3


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The judged collection that the model is evaluated on during training.

    Attributes:
        folder: BEIR folder; relative to the recipe.
        split: split of the judgements; report results on another.
        every: steps between evaluations.
        patience: evaluations without an improvement after which a stage stops and keeps its best model; 0: never stops.
        max_unjudged: evaluate on the judged documents and at most this many others; None: on all.
    """

    folder: Path
    split: str = "dev"
    every: int = 200
    patience: int = 0
    max_unjudged: int | None = None


@dataclass(frozen=True, slots=True)
class TeacherShare:
    """One of the encoders whose MaxSim a distillation stage learns from.

    Attributes:
        encoder: hub id or folder of an encoder, late interaction or dense, that encodes the texts of every batch, each
            text once.
        weight: of its scores, scaled to 0..1 per list, relative to those of the other teachers of the same source.
        sources: those of the stage's sources that it scores; empty: all.
    """

    encoder: str
    weight: float = 1.0
    sources: tuple[str, ...] = ()

    def scores(self, source: str) -> bool:
        """Whether it scores the examples of a source."""
        return not self.sources or source in self.sources


@dataclass(frozen=True, slots=True)
class Stage:
    """One training run over some of the sources.

    Attributes:
        name: of its folder and in the log.
        sources: names of sources. Each batch is from one source, sampled by size to the power `sampling_exponent`.
        steps: optimizer steps.
        objective: "contrastive": the positive against the batch's other documents and the example's own negatives;
            "distillation": KL divergence from a teacher's scores: those in the sources, of each example's documents,
            or, with `teachers`, their MaxSim of all documents in the batch.
        teachers: encoders whose scores are averaged; every source needs one. They read an example's own texts, or those
            under its key "teacher", such as the same texts in the language that the teacher knows best.
        bm25_weight: share of BM25 in the teachers' scores, both scaled to 0..1 per list; 0: none. Terms are counted
            over one source and stemmed in the language of its texts.
        bm25_sources: sources to which `bm25_weight` applies; empty: all. Words say little about program code.
        topics: number of topics, k-means clusters of the texts that the first teacher reads; each batch is from one. 0:
            no topics.
        matryoshka_dims: the loss is also that of the first so many dimensions of every vector, which can then be used
            alone (Kusupati et al. 2022); needs teachers.
        matryoshka_weight: weight of the loss of each of them; that of whole vectors has 1.
        pool_factors: the loss is also that of documents whose vectors token pooling has merged, by each of these
            factors (Clavié et al. 2024); needs teachers.
        pool_weight: weight of the loss of each factor; that of all vectors has 1.
        batch_size: examples per step and device.
        learning_rate: peak, reached after `warmup_ratio` of the steps, then decaying linearly to 0.
        head_learning_rate: of the projection; None: `learning_rate`.
        temperature: divides MaxSim before the softmax. Distillation scales both scores to 0..1 per list first.
        k_token: contrastive: scores are XTR's (Lee et al. 2023): every query token retrieves so many tokens of the
            batch's documents; they are means, so `temperature` must be below 1, such as 0.05; see
            `serotine.maxsim.xtr_scores`. 0: MaxSim.
        documents_per_query: contrastive: 1 + hard negatives; distillation: length of a list.
        mini_batch_size: examples encoded at once by the cached loss (GradCache); 0: the whole batch, not cached.
        gather_across_devices: whether devices share their documents as negatives.
        query_length, document_length: maximum number of tokens during training; None: the model's.
        sampling_exponent: 0 samples sources uniformly, 1 by size; both times their weight.
        warmup_ratio: share of the steps.
        weight_decay: of AdamW.
        checkpoint_every: steps between checkpoints.
    """

    name: str
    sources: tuple[str, ...]
    steps: int
    objective: Literal["contrastive", "distillation"] = "contrastive"
    teachers: tuple[TeacherShare, ...] = ()
    bm25_weight: float = 0.0
    bm25_sources: tuple[str, ...] = ()
    topics: int = 0
    matryoshka_dims: tuple[int, ...] = ()
    matryoshka_weight: float = 0.5
    pool_factors: tuple[int, ...] = ()
    pool_weight: float = 0.5
    batch_size: int = 32
    learning_rate: float = 1e-5
    head_learning_rate: float | None = None
    temperature: float = 1.0
    k_token: int = 0
    documents_per_query: int = 1
    mini_batch_size: int = 0
    gather_across_devices: bool = False
    query_length: int | None = None
    document_length: int | None = None
    sampling_exponent: float = 0.5
    warmup_ratio: float = 0.1
    weight_decay: float = 0.01
    checkpoint_every: int = 200

    @property
    def needs_scores(self) -> bool:
        """Whether the stage trains on scores in its sources."""
        return self.objective == "distillation" and not self.teachers


@dataclass(frozen=True, slots=True)
class Lora:
    """Low-rank adapters (Hu et al. 2022), which learn in place of the backbone's weights; the head learns in full.

    Each linear layer gets the product of two narrow matrices, which is added to its own at the end of a stage.

    Attributes:
        rank: width of those matrices.
        alpha: the products are scaled by alpha / rank.
        dropout: of the adapters' inputs.
        target_modules: linear layers that get adapters, by the last parts of their names in the backbone, such as
            "query"; None: all of them.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    target_modules: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Averaging:
    """How the final weights are averaged.

    Attributes:
        checkpoints: number of the last stage's newest checkpoints, equally weighted.
        initial_weight: weight of the model before training (WiSE-FT, Wortsman et al. 2022); the checkpoints share the
            rest.
    """

    checkpoints: int = 1
    initial_weight: float = 0.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """A training run.

    Attributes:
        model: "serotine-mini", or a hub id or folder (relative to the recipe) of a dense or late-interaction encoder.
        output: folder of the run; relative to the recipe.
        precision: "auto": bfloat16 on a GPU that supports it, else float32.
        gradient_checkpointing: whether activations are recomputed instead of stored.
        dropout: of the backbone during training; None: its own. 0 saves a quarter or more of a step on a CPU, where
            random numbers are slow to generate.
        freeze_embeddings: whether the word embeddings stay as they are: most of the weights of a multilingual model, of
            which a run sees few.
        lora: adapters that are trained in place of the backbone's weights; None: its weights are.
        threads: of torch on a CPU; None: torch's default.
    """

    model: str
    output: Path
    sources: tuple[Source, ...]
    stages: tuple[Stage, ...]
    seed: int = 0
    tokenization: Tokenization = field(default_factory=Tokenization)
    head: Head = field(default_factory=Head)
    cleaning: Cleaning = field(default_factory=Cleaning)
    evaluation: Evaluation | None = None
    averaging: Averaging = field(default_factory=Averaging)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    gradient_checkpointing: bool = False
    dropout: float | None = None
    freeze_embeddings: bool = False
    lora: Lora | None = None
    threads: int | None = None

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that identify every setting that affects the result."""
        values = {key: value for key, value in asdict(self).items() if key not in ("output", "threads")}
        return hashlib.sha256(json.dumps(values, default=str, sort_keys=True).encode()).hexdigest()[:16]
