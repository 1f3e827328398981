"""YAML into a `Recipe`: every key is checked, and every error names the file and the key."""

from __future__ import annotations

from collections import Counter
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from serotine.errors import RecipeError, missing_extra, reason, unknown_key
from serotine.training.recipe import (
    Averaging,
    Cleaning,
    Evaluation,
    Head,
    Lora,
    Recipe,
    Source,
    Stage,
    TeacherShare,
    Tokenization,
)

# (dataclass, field): minimum and maximum; None where there is none.
_RANGES: dict[tuple[type, str], tuple[float, float | None]] = {
    (Tokenization, "query_length"): (4, None),
    (Tokenization, "document_length"): (4, None),
    (Head, "dim"): (1, None),
    (Head, "init_documents"): (1, None),
    (Head, "init_steps"): (1, None),
    (Source, "limit"): (1, None),
    (Source, "weight"): (1e-6, None),
    (TeacherShare, "weight"): (1e-6, None),
    (Cleaning, "overlap_threshold"): (0.01, 1),
    (Cleaning, "duplicate_threshold"): (0.1, 1),
    (Cleaning, "min_words"): (0, None),
    (Evaluation, "every"): (1, None),
    (Evaluation, "patience"): (0, None),
    (Evaluation, "max_unjudged"): (0, None),
    (Stage, "steps"): (1, None),
    (Stage, "bm25_weight"): (0, 1),
    (Stage, "topics"): (0, None),
    (Stage, "matryoshka_weight"): (0, None),
    (Stage, "pool_weight"): (0, None),
    (Stage, "batch_size"): (1, None),
    (Stage, "learning_rate"): (0, 1),
    (Stage, "head_learning_rate"): (0, 1),
    (Stage, "temperature"): (1e-4, None),
    (Stage, "k_token"): (0, None),
    (Stage, "documents_per_query"): (1, None),
    (Stage, "mini_batch_size"): (0, None),
    (Stage, "query_length"): (4, None),
    (Stage, "document_length"): (4, None),
    (Stage, "sampling_exponent"): (0, 1),
    (Stage, "warmup_ratio"): (0, 1),
    (Stage, "weight_decay"): (0, 1),
    (Stage, "checkpoint_every"): (1, None),
    (Lora, "rank"): (1, None),
    (Lora, "alpha"): (1, None),
    (Lora, "dropout"): (0, 0.9),
    (Averaging, "checkpoints"): (1, None),
    (Averaging, "initial_weight"): (0, 0.99),
    (Recipe, "seed"): (0, 2**31 - 1),
    (Recipe, "dropout"): (0, 0.9),
    (Recipe, "threads"): (1, None),
}


_DEFAULTS = {attribute.name: attribute.default for attribute in fields(Stage)}


def load_recipe(file: str | Path) -> Recipe:
    """Load a recipe from a YAML file; paths in it are relative to its folder.

    Raises:
        RecipeError: the file cannot be read, or a key is unknown, missing or invalid.
    """
    path = Path(file)
    try:
        import yaml
    except ImportError:
        raise RecipeError(missing_extra("training", "train")) from None
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read ({reason(error)})") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise RecipeError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
    return parse_recipe(values, path)


def parse_recipe(values: Any, path: Path) -> Recipe:
    """Return the recipe that the values of a YAML file describe.

    Args:
        values: the parsed YAML.
        path: the file: named in errors; paths are relative to its folder.

    Raises:
        RecipeError: a key is unknown, missing or invalid.
    """
    recipe: Recipe = _Parser(path).dataclass(Recipe, values, "")
    recipe = replace(
        recipe,
        model=_resolve(path, recipe.model),
        stages=tuple(
            replace(
                stage,
                teachers=tuple(replace(teacher, encoder=_resolve(path, teacher.encoder)) for teacher in stage.teachers),
            )
            for stage in recipe.stages
        ),
    )
    _validate(recipe, path)
    return recipe


def _resolve(path: Path, name: str) -> str:
    """Return the absolute path of a folder relative to the recipe; any other name, such as a hub id, unchanged."""
    folder = path.parent / Path(name).expanduser()
    return str(folder.resolve()) if folder.is_dir() else name


def _validate(recipe: Recipe, path: Path) -> None:
    for key, names in (
        ("sources", [source.name for source in recipe.sources]),
        ("stages", [stage.name for stage in recipe.stages]),
    ):
        if not names:
            raise RecipeError(f"{path}: {key}: must not be empty")
        duplicate, count = Counter(names).most_common(1)[0]
        if count > 1:
            raise RecipeError(f"{path}: {key}: duplicate name {duplicate!r}; names must be unique")
    sources = {source.name for source in recipe.sources}
    for number, stage in enumerate(recipe.stages):
        _validate_stage(stage, sources, f"{path}: stages[{number}]")
    _validate_averaging(recipe, path)
    if recipe.lora is not None and recipe.lora.target_modules == ():
        raise RecipeError(
            f"{path}: lora.target_modules: must not be empty; name layers, or remove it for all linear layers"
        )
    tokenization = recipe.tokenization
    if tokenization.markers and not (tokenization.query_prompt and tokenization.document_prompt):
        raise RecipeError(f"{path}: tokenization.markers: needs query_prompt and document_prompt; set both")


def _validate_stage(stage: Stage, sources: set[str], location: str) -> None:
    if not stage.name.replace("-", "").replace("_", "").isalnum():
        raise RecipeError(f"{location}.name: must be letters, digits, '-' and '_', got {stage.name!r}")
    if not stage.sources:
        raise RecipeError(f"{location}.sources: must not be empty; valid sources: {', '.join(sorted(sources))}")
    for name in stage.sources:
        if name not in sources:
            raise RecipeError(
                f"{location}.sources: unknown source {name!r}; valid sources: {', '.join(sorted(sources))}"
            )
    if stage.objective == "distillation":
        if stage.documents_per_query < 2 and not stage.teachers:
            raise RecipeError(
                f"{location}.documents_per_query: must be at least 2 for distillation, got {stage.documents_per_query}"
            )
        for key in ("k_token", "mini_batch_size", "gather_across_devices"):
            if getattr(stage, key):
                raise RecipeError(f"{location}.{key}: applies to contrastive stages only; remove it")
    if stage.k_token and stage.temperature >= 1:
        raise RecipeError(
            f"{location}.temperature: must be below 1 with k_token, whose scores are at most 1, got "
            f"{stage.temperature:g}; set about 0.05"
        )
    if stage.objective == "contrastive" and stage.teachers:
        raise RecipeError(f"{location}.teachers: applies to distillation stages only; remove it")
    for key in ("bm25_weight", "topics", "matryoshka_dims", "pool_factors"):
        if getattr(stage, key) and not stage.teachers:
            raise RecipeError(f"{location}.{key}: needs a teacher; set teachers or remove {key}")
    for key, weight in (("matryoshka_dims", "matryoshka_weight"), ("pool_factors", "pool_weight")):
        if not getattr(stage, key) and getattr(stage, weight) != _DEFAULTS[weight]:
            raise RecipeError(f"{location}.{weight}: applies with {key} only; set it or remove {weight}")
        if len(set(values := getattr(stage, key))) < len(values):
            raise RecipeError(f"{location}.{key}: must differ, got {list(values)}; remove repetitions")
    if stage.pool_factors and min(stage.pool_factors) < 2:
        raise RecipeError(f"{location}.pool_factors: must be at least 2, got {min(stage.pool_factors)}")
    if stage.bm25_sources and not stage.bm25_weight:
        raise RecipeError(f"{location}.bm25_sources: applies with bm25_weight only; set it or remove bm25_sources")
    if stage.teachers:
        _validate_teachers(stage, location)


def _validate_teachers(stage: Stage, location: str) -> None:
    parts = {f"teachers[{number}].sources": teacher.sources for number, teacher in enumerate(stage.teachers)}
    for key, names in (parts | {"bm25_sources": stage.bm25_sources}).items():
        for name in names:
            if name not in stage.sources:
                raise RecipeError(
                    f"{location}.{key}: unknown source {name!r}; valid sources: {', '.join(sorted(stage.sources))}"
                )
    for name in stage.sources:
        if not any(teacher.scores(name) for teacher in stage.teachers):
            raise RecipeError(f"{location}.teachers: none scores the source {name!r}; add it to the sources of one")


def _validate_averaging(recipe: Recipe, path: Path) -> None:
    count, stage = recipe.averaging.checkpoints, recipe.stages[-1]
    if count == 1:
        return
    if recipe.evaluation is not None and recipe.evaluation.patience:
        raise RecipeError(
            f"{path}: averaging.checkpoints: conflicts with evaluation.patience, which keeps the best model; "
            "remove one of the two"
        )
    if (written := -(-stage.steps // stage.checkpoint_every)) < count:
        raise RecipeError(
            f"{path}: averaging.checkpoints: must be at most {written}, the number that the last stage saves, "
            f"got {count}; lower its checkpoint_every"
        )


class _Parser:
    """Values of YAML into dataclasses, by their annotations."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def dataclass(self, kind: type, values: Any, location: str) -> Any:
        if not isinstance(values, dict):
            raise self._invalid(location or "recipe", "a mapping of keys to values", values)
        valid = {attribute.name: attribute for attribute in fields(kind)}
        hints = get_type_hints(kind)
        for key in values:
            if key not in valid:
                raise RecipeError(f"{self._path}: {unknown_key(_join(location, str(key)), sorted(valid))}")
        arguments: dict[str, Any] = {}
        for name, attribute in valid.items():
            key = _join(location, name)
            if name in values:
                arguments[name] = self._value(hints[name], values[name], key)
                self._check_range(kind, name, arguments[name], key)
            elif attribute.default is MISSING and attribute.default_factory is MISSING:
                raise RecipeError(f"{self._path}: {key}: missing; the key is required")
        return kind(**arguments)

    def _value(self, hint: Any, value: Any, location: str) -> Any:
        options = get_args(hint)
        origin = get_origin(hint)
        if origin is Literal:
            if value not in options:
                raise self._invalid(location, f"one of {', '.join(map(repr, options))}", value)
            return value
        if type(None) in options:
            if value is None:
                return None
            return self._value(next(option for option in options if option is not type(None)), value, location)
        if origin is tuple:
            if not isinstance(value, list):
                raise self._invalid(location, "a list", value)
            return tuple(self._value(options[0], item, f"{location}[{i}]") for i, item in enumerate(value))
        if origin is dict:
            if not isinstance(value, dict):
                raise self._invalid(location, "a mapping", value)
            return {str(key): self._value(options[1], item, _join(location, str(key))) for key, item in value.items()}
        return self._scalar(hint, value, location)

    def _scalar(self, hint: Any, value: Any, location: str) -> Any:
        if hint is Path:
            if not isinstance(value, str) or not value:
                raise self._invalid(location, "a path", value)
            # Absolute: a run can be resumed from any working directory.
            return (self._path.parent / Path(value).expanduser()).resolve()
        if hint is float:
            # YAML 1.1 reads 1e-5, without a point, as text.
            try:
                number = float(value) if not isinstance(value, bool) else None
            except (TypeError, ValueError, OverflowError):
                number = None
            if number is None or number != number or abs(number) == float("inf"):
                raise self._invalid(location, "a number", value)
            return number
        if hint is int and (isinstance(value, bool) or not isinstance(value, int)):
            raise self._invalid(location, "an integer", value)
        if hint is bool and not isinstance(value, bool):
            raise self._invalid(location, "true or false", value)
        if hint is str and not isinstance(value, str):
            raise self._invalid(location, "a string", value)
        return value if hint in (int, bool, str) else self.dataclass(hint, value, location)

    def _check_range(self, kind: type, name: str, value: Any, location: str) -> None:
        if value is None or (kind, name) not in _RANGES:
            return
        least, most = _RANGES[kind, name]
        if value < least or (most is not None and value > most):
            expected = f"at least {least:,}" if most is None else f"between {least:,} and {most:,}"
            raise self._invalid(location, expected, value)

    def _invalid(self, location: str, expected: str, value: Any) -> RecipeError:
        return RecipeError(f"{self._path}: {location}: must be {expected}, got {value!r}")


def _join(location: str, key: str) -> str:
    return f"{location}.{key}" if location else key
