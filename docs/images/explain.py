"""Draw the pictures of docs/how-it-works.md: maxsim.svg, stages.svg, certificate.svg and codes.svg.

    python docs/images/explain.py

Needs serotine-mini. The similarities are the encoder's; the counts of the stages are those of docs/first-search.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from pathlib import Path

import numpy as np

from serotine import Encoder

FOLDER = Path(__file__).parent
QUERY = "which bat is late?"
DOCUMENT = "The serotine is a bat that emerges late."
INK, LIGHT, ACCENT, BLUE = "#3d405b", "#d9dce3", "#e4572e", "#2e86ab"


def svg(width: int, height: int, title: str, shapes: Iterable[str]) -> str:
    """Return a picture on white; `title` is for screen readers."""
    body = "\n".join(shapes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img" '
        f'font-family="sans-serif" font-size="13" fill="{INK}">\n<title>{escape(title)}</title>\n'
        f'<rect width="{width}" height="{height}" fill="white"/>\n{body}\n</svg>\n'
    )


def text(x: float, y: float, words: str, *, anchor: str = "start", weight: str = "normal", fill: str = INK) -> str:
    """Return a line of text; `anchor` is the end of it that is at `x`."""
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-weight="{weight}" fill="{fill}">{escape(words)}</text>'
    )


def rect(x: float, y: float, width: float, height: float, fill: str, **style: object) -> str:
    """Return a rectangle with further attributes; underscores in their names are hyphens."""
    more = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in style.items())
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="{fill}"{more}/>'


def maxsim() -> str:
    """Return the table of all similarities of a query and a document, the best of every row framed."""
    encoder = Encoder()
    (query,), (document,) = encoder.encode_queries([QUERY]), encoder.encode_documents([DOCUMENT])
    rows = [token.text for token in encoder.tokens(QUERY, query=True)]
    columns = [token.text for token in encoder.tokens(DOCUMENT, query=False)]
    similarities = np.asarray(query @ document.T)
    left, top, width, height = 70, 40, 54, 30
    shapes = []
    for j, word in enumerate(columns):
        shapes.append(text(left + (j + 0.5) * width, top - 12, word, anchor="middle"))
    for i, word in enumerate(rows):
        y = top + i * height
        shapes.append(text(left - 10, y + 20, word, anchor="end"))
        best = int(similarities[i].argmax())
        for j, value in enumerate(similarities[i]):
            shade = round(max(float(value), 0.0), 2)
            frame = {"stroke": ACCENT, "stroke_width": 2} if j == best else {}
            shapes.append(rect(left + j * width + 1, y + 1, width - 2, height - 2, BLUE, fill_opacity=shade, **frame))
            color = "white" if shade > 0.55 else INK
            shapes.append(text(left + (j + 0.5) * width, y + 20, f"{value:.2f}", anchor="middle", fill=color))
        end = left + len(columns) * width + 14
        shapes.append(text(end, y + 20, f"{similarities[i, best]:.2f}", weight="bold", fill=ACCENT))
    bottom = top + len(rows) * height
    score = similarities.max(axis=1).sum()
    shapes.append(text(left + len(columns) * width + 14, bottom + 22, f"sum {score:.2f}", weight="bold", fill=ACCENT))
    return svg(left + len(columns) * width + 90, bottom + 36, f"MaxSim of {QUERY!r} and {DOCUMENT!r}", shapes)


def stages() -> str:
    """Return the stages of a search as bars: how many documents each scored."""
    page = (FOLDER.parent / "first-search.md").read_text("utf-8").replace("\n", " ")
    counts = [
        int(count.replace(",", "")) for count in re.findall(r"([\d,]+) by (?:centroids|residuals|codes|vectors)", page)
    ]
    what = ["centroids: every token counts as its centroid",
            "residuals: the best token of a document for every query token",
            "codes: every token, rebuilt as int8",
            "vectors: every token in float16; the k best are the hits"]  # fmt: skip
    shapes = []
    for number, (count, words) in enumerate(zip(counts, what, strict=True)):
        y = 14 + number * 52
        shapes.append(rect(10, y, max(620 * count / counts[0], 4), 22, BLUE, fill_opacity=0.4 + 0.2 * number))
        shapes.append(text(10, y + 38, f"{count:,} documents by {words}"))
    return svg(640, 14 + len(counts) * 52, "The documents that each stage of a search scored", shapes)


def certificate() -> str:
    """Return documents in the order of their upper bounds, as an exact search visits them; a drawing, no data."""
    random = np.random.default_rng(4)
    scores = np.sort(random.uniform(2.0, 7.4, 14))[::-1] + random.normal(0, 0.35, 14)
    bounds = scores + random.uniform(0.35, 1.5, 14)
    order = np.argsort(-bounds)
    scores, bounds = scores[order], bounds[order]
    k, visited = 3, len(order)
    for seen in range(k, len(order)):
        if bounds[seen] <= np.sort(scores[:seen])[-k]:
            visited = seen
            break
    kth = float(np.sort(scores[:visited])[-k])
    left, base, unit, step = 60, 250, 26, 42

    def y(value: float) -> float:
        return base - unit * value

    shapes = []
    for place in range(len(order)):
        x = left + place * step
        shapes.append(rect(x, y(bounds[place]), 26, base - y(bounds[place]), LIGHT))
        if place < visited:
            hit = scores[place] >= kth
            shapes.append(rect(x, y(scores[place]), 26, base - y(scores[place]), ACCENT if hit else BLUE))
        else:
            shapes.append(text(x + 13, base - 8, "?", anchor="middle"))
    shapes.append(f'<path d="M40 {y(kth):g}H{left + len(order) * step:g}" stroke="{ACCENT}" stroke-dasharray="5 4"/>')
    shapes.append(text(left + len(order) * step, y(kth) - 7, "the k-th score", anchor="end", fill=ACCENT))
    shapes.append(text(left, base + 22, "scored: three are hits"))
    shapes.append(text(left + visited * step, base + 22, "never scored: no bound reaches the line"))
    return svg(
        left + len(order) * step + 20, base + 36, "An exact search stops where no bound reaches the k-th score", shapes
    )


def codes() -> str:
    """Return the bytes of one token of 128 dimensions, as float32, as float16 and as codes."""
    rows: list[tuple[str, list[tuple[int, str]]]] = [
        ("float32", [(512, LIGHT)]),
        ("float16", [(256, BLUE)]),
        ("8 bits", [(4, ACCENT), (128, INK)]),
        ("4 bits", [(4, ACCENT), (64, INK)]),
        ("2 bits", [(4, ACCENT), (32, INK)]),
    ]
    shapes = []
    for number, (name, pieces) in enumerate(rows):
        y, x = 12 + number * 34, 80.0
        shapes.append(text(70, y + 17, name, anchor="end"))
        for size, color in pieces:
            shapes.append(rect(x, y, size, 24, color))
            x += size
        shapes.append(text(x + 8, y + 17, f"{sum(size for size, _ in pieces)} bytes"))
    y = 12 + len(rows) * 34
    shapes.append(text(80, y + 14, "centroid 2, scale 1, error bound 1", fill=ACCENT))
    shapes.append(text(330, y + 14, "residual"))
    return svg(690, y + 28, "Bytes of one token vector of 128 dimensions", shapes)


def pictures() -> dict[str, str]:
    """Return all pictures by the names of their files."""
    return {"maxsim.svg": maxsim(), "stages.svg": stages(), "certificate.svg": certificate(), "codes.svg": codes()}


if __name__ == "__main__":
    for name, picture in pictures().items():
        (FOLDER / name).write_text(picture, "utf-8")
