"""The pictures of docs/how-it-works.md are what docs/images/explain.py draws, and the page shows all of them."""

from __future__ import annotations

import re
from pathlib import Path

from helpers.scripts import load_script

DOCS = Path(__file__).parents[1] / "docs"


def without_values(picture: str) -> str:
    # Similarities differ in the last digit between instruction sets, and with them shades and the best of a row.
    colors = r' (fill-opacity|stroke|stroke-width)="[^"]+"|fill="(white|#3d405b)"'
    return re.sub(r"-?\d+\.\d+", "N", re.sub(colors, "", picture))


def test_the_pictures_are_drawn_by_the_script() -> None:
    page = (DOCS / "how-it-works.md").read_text("utf-8")
    pictures = load_script(DOCS / "images" / "explain.py").pictures()
    assert {f"images/{name}" for name in pictures} == set(re.findall(r"\((images/[\w.]+)\)", page))
    for name, picture in pictures.items():
        committed = (DOCS / "images" / name).read_text("utf-8")
        assert without_values(committed) == without_values(picture), f"{name}: run python docs/images/explain.py"
