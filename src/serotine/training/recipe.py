"""What a training run is to do, as a recipe file says it: YAML into frozen dataclasses, every key checked."""

from __future__ import annotations

import hashlib
import json
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from serotine.errors import RecipeError


@dataclass(frozen=True, slots=True)
class Texts:
    """How texts become tokens; kept with the model.

    Attributes:
        query_length, document_length: most tokens, special ones included.
        query_prompt, document_prompt: put before every text.
        markers: whether the prompts become tokens of their own, as "[Q] " and "[D] " are in ColBERT.
        skip: tokens whose document vectors are left out: words of the vocabulary.
        skip_queries: whether those of queries are left out too.
    """

    query_length: int = 32
    document_length: int = 180
    query_prompt: str = ""
    document_prompt: str = ""
    markers: bool = False
    skip: tuple[str, ...] = ()
    skip_queries: bool = False


@dataclass(frozen=True, slots=True)
class Head:
    """The projection from the backbone's states to the token vectors. Ignored where the model has one.

    Attributes:
        dim: dimension of a token vector.
        kind: "residual": a layer with a residual path, then a linear one; "linear": one linear layer.
        start: "pca": the linear layer starts as the first principal directions of the backbone's token states, the
            layer before it as the identity, so that training starts from the backbone's own similarities; "random".
        sample: documents whose token states those directions are taken from.
    """

    dim: int = 128
    kind: Literal["residual", "linear"] = "residual"
    start: Literal["pca", "random"] = "pca"
    sample: int = 1000


@dataclass(frozen=True, slots=True)
class Source:
    """Examples to train on.

    Attributes:
        name: what stages call it.
        path: a .jsonl, .jsonl.gz or .parquet file; relative to the recipe.
        keep: only examples whose field has one of these values, for every field named.
        limit: at most this many examples, taken at random.
        licence: of the texts; told in the report.
    """

    name: str
    path: Path
    keep: dict[str, tuple[str, ...]] = field(default_factory=dict)
    limit: int | None = None
    licence: str = ""


@dataclass(frozen=True, slots=True)
class Cleaning:
    """What is taken out of the sources before training.

    Attributes:
        evaluation: BEIR folders; no text of theirs is trained on.
        overlap: an example goes when this share of a text's word 8-grams is in an evaluation text, or of theirs in it.
        near_duplicates: an example goes when its texts are this alike (Jaccard) to an earlier one's; 1 for equal only.
        least_words: an example goes when its positive has fewer words.
    """

    evaluation: tuple[Path, ...] = ()
    overlap: float = 0.3
    near_duplicates: float = 0.8
    least_words: int = 3


@dataclass(frozen=True, slots=True)
class Judge:
    """The judged collection that training is watched by.

    Attributes:
        folder: BEIR folder; relative to the recipe.
        split: whose judgements; not the one that results are reported on.
        every: steps between judgements.
        patience: judgements without a better one after which a stage stops; the best is then kept. 0: never stops.
        documents: judge on the judged documents and this many others at most; all unless given.
    """

    folder: Path
    split: str = "dev"
    every: int = 200
    patience: int = 0
    documents: int | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """One pass of training.

    Attributes:
        name: of its folder and its log.
        objective: "contrastive": the positive against the batch's other documents and the example's own negatives;
            "distillation": KL divergence from a teacher's scores: those in the sources, of each example's documents,
            or, with `teacher`, its MaxSim of all the batch's documents.
        sources: names of sources; batches are of one source, drawn by size to the power `mixing`.
        steps: optimiser steps.
        teacher: hub id or folder of an encoder, late interaction or dense, that is run once over the stage's texts.
        lexical: share of BM25 in the teacher's scores, each scaled to 0..1 in every list first.
        topics: batches are of one of so many topics, which the teacher's vectors tell; 0: of anything.
        batch_size: examples a step and device.
        learning_rate: peak, after `warmup` of the steps, then falling linearly to 0.
        head_learning_rate: of the projection; `learning_rate` unless given.
        temperature: MaxSim is divided by it before the softmax. Of distillation: both scores are scaled to 0..1 in
            every list first.
        documents: documents an example: of contrastive stages 1 + hard negatives, of distillation the list's length.
        mini_batch: examples encoded at once by the cached loss (GradCache); 0: the whole batch, not cached.
        gather: whether devices share their documents as negatives.
        query_length, document_length: shorter texts while training; the model's own unless given.
        mixing: power of a source's size.
        warmup: share of the steps.
        weight_decay: AdamW's.
        checkpoint_every: steps between checkpoints.
    """

    name: str
    sources: tuple[str, ...]
    steps: int
    objective: Literal["contrastive", "distillation"] = "contrastive"
    teacher: str | None = None
    lexical: float = 0.0
    topics: int = 0
    batch_size: int = 32
    learning_rate: float = 1e-5
    head_learning_rate: float | None = None
    temperature: float = 1.0
    documents: int = 1
    mini_batch: int = 0
    gather: bool = False
    query_length: int | None = None
    document_length: int | None = None
    mixing: float = 0.5
    warmup: float = 0.1
    weight_decay: float = 0.01
    checkpoint_every: int = 200


@dataclass(frozen=True, slots=True)
class Averaging:
    """The final weights as a mean.

    Attributes:
        checkpoints: of the last stage's newest checkpoints, this many with equal weight.
        start: weight of the model before training (Wortsman et al. 2022, WiSE-FT); the rest is the checkpoints'.
    """

    checkpoints: int = 1
    start: float = 0.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """A whole training run.

    Attributes:
        model: hub id, or folder (relative to the recipe), of a dense or late-interaction encoder.
        output: folder of the run; relative to the recipe.
        sources, stages: see there.
        precision: "auto": bfloat16 on a GPU that has it, else float32.
        checkpointing: gradient checkpointing: activations are computed twice instead of kept.
        dropout: of the backbone while it is trained; its own unless given. 0 saves a quarter or more of a step on a
            CPU, where random numbers are slow to draw.
        threads: of torch on a CPU; as many as it likes unless given.
    """

    model: str
    output: Path
    sources: tuple[Source, ...]
    stages: tuple[Stage, ...]
    seed: int = 0
    texts: Texts = field(default_factory=Texts)
    head: Head = field(default_factory=Head)
    clean: Cleaning = field(default_factory=Cleaning)
    judge: Judge | None = None
    average: Averaging = field(default_factory=Averaging)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    checkpointing: bool = False
    dropout: float | None = None
    threads: int | None = None

    def fingerprint(self) -> str:
        """16 hexadecimal digits of everything that decides the result."""
        values = {key: value for key, value in asdict(self).items() if key not in ("output", "threads")}
        return hashlib.sha256(json.dumps(values, default=str, sort_keys=True).encode()).hexdigest()[:16]


# (dataclass, field): least and most allowed; None where there is no end.
_RANGES: dict[tuple[type, str], tuple[float | None, float | None]] = {
    (Texts, "query_length"): (4, None),
    (Texts, "document_length"): (4, None),
    (Head, "dim"): (1, None),
    (Head, "sample"): (1, None),
    (Source, "limit"): (1, None),
    (Cleaning, "overlap"): (0.01, 1),
    (Cleaning, "near_duplicates"): (0.1, 1),
    (Cleaning, "least_words"): (0, None),
    (Judge, "every"): (1, None),
    (Judge, "patience"): (0, None),
    (Judge, "documents"): (0, None),
    (Stage, "steps"): (1, None),
    (Stage, "lexical"): (0, 1),
    (Stage, "topics"): (0, None),
    (Stage, "batch_size"): (1, None),
    (Stage, "learning_rate"): (0, 1),
    (Stage, "head_learning_rate"): (0, 1),
    (Stage, "temperature"): (1e-4, None),
    (Stage, "documents"): (1, None),
    (Stage, "mini_batch"): (0, None),
    (Stage, "query_length"): (4, None),
    (Stage, "document_length"): (4, None),
    (Stage, "mixing"): (0, 1),
    (Stage, "warmup"): (0, 1),
    (Stage, "weight_decay"): (0, 1),
    (Stage, "checkpoint_every"): (1, None),
    (Averaging, "checkpoints"): (1, None),
    (Averaging, "start"): (0, 0.99),
    (Recipe, "seed"): (0, 2**31 - 1),
    (Recipe, "dropout"): (0, 0.9),
    (Recipe, "threads"): (1, None),
}


def load_recipe(file: str | Path) -> Recipe:
    """Reads a recipe.

    Args:
        file: YAML; paths in it are relative to its folder.

    Raises:
        RecipeError: it cannot be read, or a key is unknown, missing or wrong; the message names the key.
    """
    path = Path(file)
    try:
        import yaml
    except ImportError:
        raise RecipeError("training needs PyYAML; run: pip install 'serotine[train]'") from None
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read ({error})") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise RecipeError(f"{path}: is not YAML ({' '.join(str(error).split())})") from None
    return parse_recipe(values, path)


def parse_recipe(values: Any, path: Path) -> Recipe:
    """A recipe from what its file holds; `path` is named in errors, and its folder is where paths begin.

    Raises:
        RecipeError: as `load_recipe`.
    """
    recipe: Recipe = _Reader(path).make(Recipe, values, "")
    recipe = replace(
        recipe,
        model=_beside(path, recipe.model),
        stages=tuple(
            replace(stage, teacher=None if stage.teacher is None else _beside(path, stage.teacher))
            for stage in recipe.stages
        ),
    )
    _check(recipe, path)
    return recipe


def _beside(path: Path, name: str) -> str:
    """A folder named from the recipe's own, as it is found from anywhere; anything else as it stands."""
    folder = path.parent / Path(name).expanduser()
    return str(folder.resolve()) if folder.is_dir() else name


def _check(recipe: Recipe, path: Path) -> None:
    for kind, names in (
        ("sources", [source.name for source in recipe.sources]),
        ("stages", [stage.name for stage in recipe.stages]),
    ):
        if not names:
            raise RecipeError(f"{path}: {kind}: want at least one")
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise RecipeError(f"{path}: {kind}: the name {twice!r} stands twice")
    known = {source.name for source in recipe.sources}
    for number, stage in enumerate(recipe.stages):
        at = f"{path}: stages[{number}]"
        if not stage.name.replace("-", "").replace("_", "").isalnum():
            raise RecipeError(f"{at}.name: want letters, digits, - and _ only, got {stage.name!r}")
        if not stage.sources:
            raise RecipeError(f"{at}.sources: want at least one of {', '.join(sorted(known))}")
        for name in stage.sources:
            if name not in known:
                raise RecipeError(f"{at}.sources: there is no source {name!r}; want some of {', '.join(sorted(known))}")
        if stage.objective == "distillation":
            if stage.documents < 2 and stage.teacher is None:
                raise RecipeError(f"{at}.documents: distillation compares at least 2 documents, got {stage.documents}")
            if stage.mini_batch or stage.gather:
                key = "mini_batch" if stage.mini_batch else "gather"
                raise RecipeError(f"{at}.{key}: is of contrastive stages only; leave it out")
        elif stage.teacher is not None:
            raise RecipeError(f"{at}.teacher: is of distillation stages only; leave it out")
        if stage.lexical and stage.teacher is None:
            raise RecipeError(f"{at}.lexical: is mixed into a teacher's scores; give a teacher, or leave it out")
        if stage.topics and stage.teacher is None:
            raise RecipeError(f"{at}.topics: are told by a teacher's vectors; give a teacher, or leave it out")
    _check_average(recipe, path)
    if recipe.texts.markers and not (recipe.texts.query_prompt and recipe.texts.document_prompt):
        raise RecipeError(f"{path}: texts.markers: want a query_prompt and a document_prompt to make tokens of")


def _check_average(recipe: Recipe, path: Path) -> None:
    wanted, last = recipe.average.checkpoints, recipe.stages[-1]
    if wanted == 1:
        return
    if recipe.judge is not None and recipe.judge.patience:
        raise RecipeError(
            f"{path}: average.checkpoints: with judge.patience the best model is taken, and those after it are worse; "
            "leave one of the two out"
        )
    if (written := -(-last.steps // last.checkpoint_every)) < wanted:
        raise RecipeError(
            f"{path}: average.checkpoints: the last stage writes {written}, fewer than {wanted}; lower its "
            "checkpoint_every"
        )


class _Reader:
    """Values of YAML into the dataclasses above, by their annotations."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def make(self, kind: type, values: Any, at: str) -> Any:
        if not isinstance(values, dict):
            raise self._wrong(at or "the recipe", "a mapping of keys to values", values)
        known = {one.name: one for one in fields(kind)}
        hints = get_type_hints(kind)
        for key in values:
            if key not in known:
                raise RecipeError(
                    f"{self._path}: {_join(at, str(key))}: is no key here; want some of {', '.join(sorted(known))}"
                )
        made: dict[str, Any] = {}
        for name, one in known.items():
            if name in values:
                made[name] = self._value(hints[name], values[name], _join(at, name))
                self._in_range(kind, name, made[name], _join(at, name))
            elif one.default is MISSING and one.default_factory is MISSING:
                raise RecipeError(f"{self._path}: {_join(at, name)}: is missing")
        return kind(**made)

    def _value(self, hint: Any, value: Any, at: str) -> Any:
        options = get_args(hint)
        origin = get_origin(hint)
        if origin is Literal:
            if value not in options:
                raise self._wrong(at, " or ".join(map(repr, options)), value)
            return value
        if type(None) in options:
            if value is None:
                return None
            return self._value(next(one for one in options if one is not type(None)), value, at)
        if origin is tuple:
            if not isinstance(value, list):
                raise self._wrong(at, "a list", value)
            return tuple(self._value(options[0], one, f"{at}[{i}]") for i, one in enumerate(value))
        if origin is dict:
            if not isinstance(value, dict):
                raise self._wrong(at, "a mapping", value)
            return {str(key): self._value(options[1], one, _join(at, str(key))) for key, one in value.items()}
        return self._plain(hint, value, at)

    def _plain(self, hint: Any, value: Any, at: str) -> Any:
        if hint is Path:
            if not isinstance(value, str) or not value:
                raise self._wrong(at, "a path", value)
            # Whole: a run is gone on with from wherever the command is given.
            return (self._path.parent / Path(value).expanduser()).resolve()
        if hint is float:
            # YAML 1.1 reads 1e-5, without a point, as text.
            try:
                number = float(value) if not isinstance(value, bool) else None
            except (TypeError, ValueError, OverflowError):
                number = None
            if number is None or number != number or abs(number) == float("inf"):
                raise self._wrong(at, "a number", value)
            return number
        if hint is int and (isinstance(value, bool) or not isinstance(value, int)):
            raise self._wrong(at, "a whole number", value)
        if hint is bool and not isinstance(value, bool):
            raise self._wrong(at, "true or false", value)
        if hint is str and not isinstance(value, str):
            raise self._wrong(at, "text", value)
        return value if hint in (int, bool, str) else self.make(hint, value, at)

    def _in_range(self, kind: type, name: str, value: Any, at: str) -> None:
        least, most = _RANGES.get((kind, name), (None, None))
        if value is None:
            return
        if (least is not None and value < least) or (most is not None and value > most):
            bound = f"from {least:,} to {most:,}" if most is not None else f"at least {least:,}"
            raise self._wrong(at, f"a number {bound}", value)

    def _wrong(self, at: str, wanted: str, value: Any) -> RecipeError:
        return RecipeError(f"{self._path}: {at}: want {wanted}, got {value!r}")


def _join(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key
