"""The HTML report: everything in one file, nothing unescaped, and what a real browser makes of it."""

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
    """Counts elements, and notes attributes and whatever refers to something outside."""

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


def test_hostile_text_stays_text(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    found = Elements(html.replace("<!doctype html>", ""))
    assert found.open == []
    assert "script" not in found.counts
    assert "img" not in found.counts
    assert "onerror" not in found.attributes
    # It is there, escaped: in the title, a question, a passage, a setting, a chart.
    assert html.count("&lt;script&gt;") >= 6


def test_nothing_is_loaded_from_anywhere(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    found = Elements(html.replace("<!doctype html>", ""))
    assert not found.attributes & {"src", "href", "srcset", "data", "action"}
    assert not {"script", "link", "iframe", "object", "embed", "img"} & found.counts.keys()
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html


def test_it_has_what_it_is_for(page: Path, compared: Comparison) -> None:
    html = page.read_text(encoding="utf-8")
    found = Elements(html.replace("<!doctype html>", ""))
    assert found.counts["svg"] == 2
    assert found.counts["details"] == len(compared.changes) == 4
    assert found.counts["mark"] > 10
    assert 'class="heat"' in html
    assert html.count('class="chosen"') >= 4
    assert "may be chance" in html
    assert '<tr class="differs"><th scope="row">dtype' in html
    assert '<tr><th scope="row">depth' in html
    for word in ("Owls", "خفاش", "蝙蝠"):
        assert word in html


def test_without_texts_encoder_or_bench(compared: Comparison) -> None:
    bare = compare([evaluated("old", BEFORE), evaluated("new", AFTER)])
    html = render(bare, {})
    assert "the collection was not given" in html
    assert "Token by token" not in html
    assert "Speed and recall" not in html
    same = compare([evaluated("old", BEFORE), evaluated("same", BEFORE)])
    assert "No query changed." in render(same, {})


def test_heatmaps_are_of_the_best_and_the_worst(page: Path) -> None:
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


def test_the_pareto_line_leaves_out_what_is_beaten() -> None:
    svg = ElementTree.fromstring(pareto(BENCH, "bench"))  # noqa: S314 - our own
    (line,) = [part for part in svg.iter() if part.tag.endswith("polyline")]
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
    def test_the_drawn_page(self, page: Path, tmp_path: Path, compared: Comparison) -> None:
        drawn = dom(page, tmp_path / "profile")
        # The hostile script would have changed the title, had it run.
        (title,) = re.findall(r"<title>(.*?)</title>", drawn)[:1]
        assert title.startswith("nDCG@10: new &lt;script&gt;")
        found = Elements(drawn.replace("<!DOCTYPE html>", ""))
        assert "script" not in found.counts
        assert "img" not in found.counts
        assert found.counts["svg"] == 2
        assert found.counts["details"] == len(compared.changes)
        assert drawn.count("when do bats hunt?") >= 2

    @pytest.mark.parametrize("dark", [False, True])
    def test_the_picture_is_not_blank(self, dark: bool, page: Path, tmp_path: Path) -> None:
        rows = screenshot(page, tmp_path / "profile", size=(1000, 900), dark=dark)
        assert len(rows) == 900
        channels = len(rows[0]) // 1000
        pixels = [row[at : at + 3] for row in rows for at in range(0, len(row), channels)]
        ground = rows[2][:3]
        assert (sum(ground) < 3 * 64) is dark
        inked = sum(pixel != ground for pixel in pixels)
        assert 0.02 < inked / len(pixels) < 0.6
        # Text, grid, and the colors of gain and loss.
        assert len(set(pixels)) > 40
