from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from serotine.errors import RecipeError
from serotine.training import Recipe, load_recipe
from serotine.training.recipe_parser import parse_recipe

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")

VALUES: dict[str, Any] = {
    "model": "all-MiniLM-L6-v2",
    "output": "out",
    "sources": [{"name": "docs", "path": "docs.jsonl.gz", "filter": {"lang": ["en"]}, "limit": 100}],
    "stages": [
        {"name": "pairs", "sources": ["docs"], "steps": 10, "learning_rate": "1e-5"},
        {"name": "teacher", "objective": "distillation", "documents_per_query": 8, "sources": ["docs"], "steps": 5},
    ],
    "evaluation": {"folder": "dev"},
    "tokenization": {"skiplist": [",", "."]},
}


def parse(change: dict[str, Any] | None = None) -> Recipe:
    return parse_recipe({**copy.deepcopy(VALUES), **(change or {})}, Path("some/recipe.yaml"))


def test_load(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(VALUES))
    recipe = load_recipe(file)
    assert recipe.output == tmp_path / "out"
    assert recipe.sources[0].path == tmp_path / "docs.jsonl.gz"
    assert recipe.sources[0].filter == {"lang": ("en",)}
    assert recipe.stages[0].learning_rate == 1e-5  # YAML 1.1 reads 1e-5 as text
    assert recipe.tokenization.skiplist == (",", ".")
    assert recipe.evaluation is not None
    assert recipe.evaluation.split == "dev"


def test_the_fingerprint_covers_what_affects_the_result() -> None:
    assert parse().fingerprint() == parse({"threads": 2, "output": "elsewhere"}).fingerprint()
    assert parse().fingerprint() != parse({"seed": 1}).fingerprint()


def stage(**change: Any) -> dict[str, Any]:
    return {"stages": [{**VALUES["stages"][0], **change}]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modle": "x"}, "unknown key 'modle'; valid keys: averaging, cleaning"),
        ({"model": 3}, "model: must be a string, got 3"),
        ({"seed": 1.5}, "seed: must be an integer, got 1.5"),
        ({"seed": True}, "seed: must be an integer, got True"),
        ({"sources": {}}, "sources: must be a list"),
        ({"sources": []}, "sources: must not be empty"),
        ({"sources": [{"name": "docs"}]}, r"sources\[0\].path: missing; the key is required"),
        ({"sources": VALUES["sources"] * 2}, "sources: duplicate name 'docs'; names must be unique"),
        ({"sources": [{**VALUES["sources"][0], "limit": 0}]}, r"sources\[0\].limit: must be at least 1, got 0"),
        (stage(objectve="contrastive"), r"unknown key 'stages\[0\].objectve'; valid keys"),
        (
            stage(objective="triplet"),
            r"stages\[0\].objective: must be one of 'contrastive', 'distillation', got 'triplet'",
        ),
        (stage(sources=["other"]), r"stages\[0\].sources: unknown source 'other'; valid sources: docs"),
        (stage(steps=0), r"stages\[0\].steps: must be at least 1"),
        (stage(learning_rate="fast"), r"stages\[0\].learning_rate: must be a number, got 'fast'"),
        (stage(learning_rate=float("nan")), r"stages\[0\].learning_rate: must be a number"),
        (stage(temperature=0), r"stages\[0\].temperature: must be at least 0.0001"),
        (stage(name="a/b"), r"stages\[0\].name: must be letters"),
        (stage(objective="distillation"), r"stages\[0\].documents_per_query: must be at least 2 for distillation"),
        (
            stage(objective="distillation", documents_per_query=4, mini_batch_size=8),
            r"stages\[0\].mini_batch_size: applies to",
        ),
        (stage(k_token=8), r"stages\[0\].temperature: must be below 1 with k_token, .*, got 1; set about 0.05"),
        (stage(k_token=-1), r"stages\[0\].k_token: must be at least 0, got -1"),
        (
            stage(objective="distillation", documents_per_query=4, k_token=64),
            r"stages\[0\].k_token: applies to contrastive stages only; remove it",
        ),
        (stage(topics=8), r"stages\[0\].topics: needs a teacher"),
        (stage(matryoshka_dims=[64]), r"stages\[0\].matryoshka_dims: needs a teacher; set teachers or remove"),
        (
            stage(pool_weight=0.2),
            r"stages\[0\].pool_weight: applies with pool_factors only; set it or remove pool_weight",
        ),
        (stage(matryoshka_weight=0), r"stages\[0\].matryoshka_weight: applies with matryoshka_dims only; set it or"),
        (stage(pool_factors=[2]), r"stages\[0\].pool_factors: needs a teacher; set teachers or remove"),
        (
            stage(objective="distillation", teachers=[{"encoder": "x"}], pool_factors=[3, 1]),
            r"stages\[0\].pool_factors: must be at least 2, got 1",
        ),
        (
            stage(objective="distillation", teachers=[{"encoder": "x"}], pool_factors=[3, 3]),
            r"stages\[0\].pool_factors: must differ, got \[3, 3\]",
        ),
        (stage(teachers=[{"encoder": "x"}]), r"stages\[0\].teachers: applies to distillation stages only"),
        (
            stage(objective="distillation", teachers=[{"encoder": "x", "sources": ["other"]}]),
            r"stages\[0\].teachers\[0\].sources: unknown source 'other'; valid sources: docs",
        ),
        (
            stage(objective="distillation", teachers=[{"encoder": "x", "weight": 0}]),
            r"stages\[0\].teachers\[0\].weight: must be at least",
        ),
        (
            {
                "sources": [*VALUES["sources"], {"name": "code", "path": "code.jsonl"}],
                **stage(
                    objective="distillation",
                    sources=["docs", "code"],
                    teachers=[{"encoder": "x", "sources": ["docs"]}],
                ),
            },
            r"stages\[0\].teachers: none scores the source 'code'; add it to the sources of one",
        ),
        ({"sources": [{**VALUES["sources"][0], "weight": 0}]}, r"sources\[0\].weight: must be at least"),
        (stage(bm25_weight=0.3), r"stages\[0\].bm25_weight: needs a teacher"),
        (
            stage(objective="distillation", teachers=[{"encoder": "x"}], bm25_weight=0.1, bm25_sources=["dogs"]),
            r"stages\[0\].bm25_sources: unknown source 'dogs'; valid sources: docs",
        ),
        (
            stage(objective="distillation", teachers=[{"encoder": "x"}], bm25_sources=["docs"]),
            r"stages\[0\].bm25_sources: applies with bm25_weight only",
        ),
        ({"head": {"kind": "mlp"}}, "head.kind: must be one of 'residual', 'linear', got 'mlp'"),
        ({"head": {"init": "scores", "init_steps": 0}}, "head.init_steps: must be at least 1, got 0"),
        ({"tokenization": {"markers": True}}, "tokenization.markers: needs query_prompt"),
        ({"tokenization": {"skiplist": "."}}, "tokenization.skiplist: must be a list"),
        ({"lora": {"rank": 0}}, "lora.rank: must be at least 1, got 0"),
        ({"lora": {"rank": -4}}, "lora.rank: must be at least 1, got -4"),
        ({"lora": {"alpha": 0}}, "lora.alpha: must be at least 1, got 0"),
        ({"lora": {"dropout": 1}}, "lora.dropout: must be between 0 and 0.9, got 1"),
        ({"lora": {"target_modules": []}}, "lora.target_modules: must not be empty; name layers, or remove it"),
        ({"lora": {"target_modules": "query"}}, "lora.target_modules: must be a list, got 'query'"),
        ({"lora": {"r": 8}}, "unknown key 'lora.r'; valid keys: alpha, dropout, rank, target_modules"),
        ({"averaging": {"checkpoints": 9}}, "averaging.checkpoints: must be at most 1, .* got 9"),
        (
            {"averaging": {"checkpoints": 2}, "evaluation": {"folder": "x", "patience": 2}},
            "averaging.checkpoints: conflicts with evaluation.patience",
        ),
        (stage(temperature=int("1" + "0" * 400)), r"stages\[0\].temperature: must be a number"),
        ({"averaging": {"initial_weight": 1}}, "averaging.initial_weight: must be between 0 and 0.99"),
        ({"gradient_checkpointing": "yes"}, "gradient_checkpointing: must be true or false"),
        ({"dropout": 1}, "dropout: must be between 0 and 0.9, got 1"),
        ({"evaluation": {"split": "dev"}}, "evaluation.folder: missing"),
        ({"evaluation": []}, "evaluation: must be a mapping"),
    ],
)
def test_recipe_errors_name_the_key(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=rf"^some/recipe.yaml: {message}"):
        parse(change)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"model: [", "not valid YAML"),
        (b"output: 2026-31-01", "not valid YAML"),
        (b"\xff", "cannot be read"),
        (b"- 1", "recipe: must be a mapping of keys to values"),
        (b"!!python/object/apply:os.system ['true']", "not valid YAML"),
    ],
)
def test_a_file_that_is_not_a_recipe(tmp_path: Path, text: bytes, message: str) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_bytes(text)
    with pytest.raises(RecipeError, match=message):
        load_recipe(file)
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(tmp_path / "none.yaml")
