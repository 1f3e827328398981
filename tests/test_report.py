"""The HTML report: self-contained, escaped, and rendered by a real browser."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from helpers.chromium import BROWSER, dom, screenshot
from helpers.fakes import WordEncoder
from helpers.reports import AFTER, BEFORE, HOSTILE, collection, evaluated

from serotine.evaluation import Comparison, compare, write_report
from serotine.evaluation.report.charts import pareto, scatter
from serotine.evaluation.report.page import render

NAME = f"new {HOSTILE}"
BENCH = {
    "searched": [
        {"engine": "4 bits", "setting": "default", "k": 10, "p50_ms": 4.0, "recall_at_10": 0.98},
        {"engine": "4 bits", "setting": "32 candidates", "k": 10, "p50_ms": 2.0, "recall_at_10": 0.9},
        {"engine": f"slow {HOSTILE}", "setting": "default", "k": 10, "p50_ms": 40.0, "recall_at_10": 0.95},
        {"engine": "4 bits", "setting": "filter of 1%", "k": 10, "p50_ms": 0.1, "recall_at_10": 1.0},
        {"engine": "4 bits", "setting": "deep", "k": 100, "p50_ms": 9.0, "recall_at_10": 1.0},
    ]
}


@pytest.fixture(scope="module")
def compared() -> Comparison:
    systems = [evaluated("old", BEFORE, dtype="float16"), evaluated(NAME, AFTER, dtype="float32", note=HOSTILE)]
    return compare(systems, collections=[collection()], encoder=WordEncoder(32))


@pytest.fixture(scope="module")
def page(compared: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("report") / "report.html"
    write_report(compared, file, benches={f"bench {HOSTILE}": BENCH})
    return file


class Elements(HTMLParser):
    """A parser that counts elements, and collects the names of attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.counts: dict[str, int] = {}
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.attributes |= {name for name, _ in attrs}
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)


def test_hostile_text_is_escaped(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    elements = Elements(html.replace("<!doctype html>", ""))
    assert elements.open == []
    assert "script" not in elements.counts
    assert "img" not in elements.counts
    assert "onerror" not in elements.attributes
    # Escaped in the title, a query, a passage, a setting and a chart.
    assert html.count("&lt;script&gt;") >= 6


def test_nothing_is_loaded_from_elsewhere(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    elements = Elements(html.replace("<!doctype html>", ""))
    assert not elements.attributes & {"src", "href", "srcset", "data", "action"}
    assert not {"script", "link", "iframe", "object", "embed", "img"} & elements.counts.keys()
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html


def test_the_report_has_all_sections(page: Path, compared: Comparison) -> None:
    html = page.read_text(encoding="utf-8")
    elements = Elements(html.replace("<!doctype html>", ""))
    assert elements.counts["svg"] == 2
    assert elements.counts["details"] == len(compared.changes) == 4
    assert elements.counts["mark"] > 10
    assert 'class="heat"' in html
    assert html.count('class="chosen"') >= 4
    assert "may be chance" in html
    assert '<tr class="differs"><th scope="row">dtype' in html
    assert '<tr><th scope="row">depth' in html
    for word in ("Owls", "خفاش", "蝙蝠"):
        assert word in html


def test_a_report_without_texts_encoder_or_bench(compared: Comparison) -> None:
    bare = compare([evaluated("old", BEFORE), evaluated("new", AFTER)])
    html = render(bare, {})
    assert "no text: --collection missing" in html
    assert "Token by token" not in html
    assert "Speed and recall" not in html
    same = compare([evaluated("old", BEFORE), evaluated("same", BEFORE)])
    assert "No query changed." in render(same, {})


def test_heatmaps_show_the_largest_gains_and_losses(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    section = html[html.index('id="tokens"') :]
    headings = re.findall(r"<h3>.*?>(.\d+)</span> <span dir=\"auto\">(.*?)</span></h3>", section)
    assert [value for value, _ in headings] == ["+100", "+37", "\N{MINUS SIGN}50"]
    assert headings[2][1] == "what hunts mice?"


def test_the_scatter_shows_every_query_once(compared: Comparison) -> None:
    (pair,) = compared.pairs
    svg = ElementTree.fromstring(scatter(pair, "nDCG@10"))  # noqa: S314 - our own
    titles = [mark.findtext("{*}title") or "" for mark in svg.iter() if mark.tag.endswith("circle")]
    named = [query for title in titles for query in re.findall(r"q\d", title)]
    assert sorted(named) == ["q1", "q2", "q3", "q4", "q5"]
    assert any(title.startswith("2 queries q1, q4") for title in titles)


def test_the_pareto_line_excludes_dominated_points() -> None:
    svg = ElementTree.fromstring(pareto(BENCH, "bench"))  # noqa: S314 - our own
    (line,) = [element for element in svg.iter() if element.tag.endswith("polyline")]
    assert len(line.attrib["points"].split()) == 2
    titles = [mark.findtext("{*}title") or "" for mark in svg.iter() if mark.tag.endswith("circle")]
    assert sum("recall" in title for title in titles) == 3
    for wrong in ({}, {"searched": [{"k": 10}]}, {"searched": []}):
        with pytest.raises(ValueError, match="benches: 'wrong'"):
            pareto(wrong, "wrong")


def test_the_committed_benchmarks_can_be_drawn() -> None:
    results = Path(__file__).parent.parent / "benchmarks" / "results"
    for name in ("index.json", "compression-cranfield.json"):
        assert pareto(json.loads((results / name).read_text()), name).startswith("<svg")


@pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed (apt-get install chromium)")
class TestBrowser:
    def test_the_rendered_page(self, page: Path, tmp_path: Path, compared: Comparison) -> None:
        rendered = dom(page, tmp_path / "profile")
        # The hostile script would change the title.
        (title,) = re.findall(r"<title>(.*?)</title>", rendered)[:1]
        assert title.startswith("nDCG@10: new &lt;script&gt;")
        elements = Elements(rendered.replace("<!DOCTYPE html>", ""))
        assert "script" not in elements.counts
        assert "img" not in elements.counts
        assert elements.counts["svg"] == 2
        assert elements.counts["details"] == len(compared.changes)
        assert rendered.count("when do bats hunt?") >= 2

    @pytest.mark.parametrize("dark", [False, True])
    def test_the_screenshot_is_not_blank(self, dark: bool, page: Path, tmp_path: Path) -> None:
        rows = screenshot(page, tmp_path / "profile", size=(1000, 900), dark=dark)
        assert len(rows) == 900
        channels = len(rows[0]) // 1000
        pixels = [row[at : at + 3] for row in rows for at in range(0, len(row), channels)]
        background = rows[2][:3]
        assert (sum(background) < 3 * 64) is dark
        foreground = sum(pixel != background for pixel in pixels)
        assert 0.02 < foreground / len(pixels) < 0.6
        # Text, grid, and the colors of gain and loss.
        assert len(set(pixels)) > 40
