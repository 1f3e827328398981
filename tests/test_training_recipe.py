from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from serotine.errors import RecipeError
from serotine.training.recipe import Recipe, load_recipe, parse_recipe

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")

WHOLE: dict[str, Any] = {
    "model": "all-MiniLM-L6-v2",
    "output": "out",
    "sources": [{"name": "docs", "path": "docs.jsonl.gz", "keep": {"lang": ["en"]}, "limit": 100}],
    "stages": [
        {"name": "pairs", "sources": ["docs"], "steps": 10, "learning_rate": "1e-5"},
        {"name": "teacher", "objective": "distillation", "documents": 8, "sources": ["docs"], "steps": 5},
    ],
    "judge": {"folder": "dev"},
    "texts": {"skip": [",", "."]},
}


def parsed(change: dict[str, Any] | None = None) -> Recipe:
    return parse_recipe({**copy.deepcopy(WHOLE), **(change or {})}, Path("some/recipe.yaml"))


def test_a_recipe_is_read(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(WHOLE))
    recipe = load_recipe(file)
    assert recipe.output == tmp_path / "out"
    assert recipe.sources[0].path == tmp_path / "docs.jsonl.gz"
    assert recipe.sources[0].keep == {"lang": ("en",)}
    assert recipe.stages[0].learning_rate == 1e-5  # YAML 1.1 reads 1e-5 as text
    assert recipe.texts.skip == (",", ".")
    assert recipe.judge is not None
    assert recipe.judge.split == "dev"


def test_the_fingerprint_is_of_what_decides_the_result() -> None:
    assert parsed().fingerprint() == parsed({"threads": 2, "output": "elsewhere"}).fingerprint()
    assert parsed().fingerprint() != parsed({"seed": 1}).fingerprint()


def stage(**change: Any) -> dict[str, Any]:
    return {"stages": [{**WHOLE["stages"][0], **change}]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"modle": "x"}, "modle: is no key here; want some of average"),
        ({"model": 3}, "model: want text, got 3"),
        ({"seed": 1.5}, "seed: want a whole number, got 1.5"),
        ({"seed": True}, "seed: want a whole number, got True"),
        ({"sources": {}}, "sources: want a list"),
        ({"sources": []}, "sources: want at least one"),
        ({"sources": [{"name": "docs"}]}, r"sources\[0\].path: is missing"),
        ({"sources": WHOLE["sources"] * 2}, "sources: the name 'docs' stands twice"),
        ({"sources": [{**WHOLE["sources"][0], "limit": 0}]}, r"sources\[0\].limit: want a number at least 1, got 0"),
        (stage(objectve="contrastive"), r"stages\[0\].objectve: is no key here"),
        (stage(objective="triplet"), r"stages\[0\].objective: want 'contrastive' or 'distillation', got 'triplet'"),
        (stage(sources=["other"]), r"stages\[0\].sources: there is no source 'other'; want some of docs"),
        (stage(steps=0), r"stages\[0\].steps: want a number at least 1"),
        (stage(learning_rate="fast"), r"stages\[0\].learning_rate: want a number, got 'fast'"),
        (stage(learning_rate=float("nan")), r"stages\[0\].learning_rate: want a number"),
        (stage(temperature=0), r"stages\[0\].temperature: want a number at least 0.0001"),
        (stage(name="a/b"), r"stages\[0\].name: want letters"),
        (stage(objective="distillation"), r"stages\[0\].documents: distillation compares at least 2"),
        (stage(objective="distillation", documents=4, mini_batch=8), r"stages\[0\].mini_batch: is of contrastive"),
        (stage(topics=8), r"stages\[0\].topics: are told by a teacher's vectors"),
        (stage(lexical=0.3), r"stages\[0\].lexical: is mixed into a teacher's scores"),
        ({"head": {"kind": "mlp"}}, "head.kind: want 'residual' or 'linear', got 'mlp'"),
        ({"texts": {"markers": True}}, "texts.markers: want a query_prompt"),
        ({"texts": {"skip": "."}}, "texts.skip: want a list"),
        ({"average": {"checkpoints": 9}}, "average.checkpoints: the last stage writes 1, fewer than 9"),
        (
            {"average": {"checkpoints": 2}, "judge": {"folder": "x", "patience": 2}},
            "average.checkpoints: with judge.patience the best model is taken",
        ),
        (stage(temperature=int("1" + "0" * 400)), r"stages\[0\].temperature: want a number"),
        ({"average": {"start": 1}}, "average.start: want a number from 0 to 0.99"),
        ({"checkpointing": "yes"}, "checkpointing: want true or false"),
        ({"dropout": 1}, "dropout: want a number from 0 to 0.9, got 1"),
        ({"judge": {"split": "dev"}}, "judge.folder: is missing"),
        ({"judge": []}, "judge: want a mapping"),
    ],
)
def test_a_wrong_recipe_names_the_key(change: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeError, match=rf"^some/recipe.yaml: {says}"):
        parsed(change)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"model: [", "is not YAML"),
        (b"output: 2026-31-01", "is not YAML"),
        (b"\xff", "cannot be read"),
        (b"- 1", "the recipe: want a mapping of keys to values"),
        (b"!!python/object/apply:os.system ['true']", "is not YAML"),
    ],
)
def test_a_file_that_is_no_recipe(tmp_path: Path, text: bytes, says: str) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_bytes(text)
    with pytest.raises(RecipeError, match=says):
        load_recipe(file)
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(tmp_path / "none.yaml")
