"""The reader of HTML: preformatted text, what surrounds a text, and the page's name."""

from __future__ import annotations

import re
import time

import pytest

from serotine.ingest.readers.html import read_html
from serotine.ingest.readers.titles import given_title

pytest.importorskip("selectolax")

CODE = "try:\n    with con:\n        x\n\nexcept E:\n    pass"


def text_of(source: str) -> str:
    return read_html(source.encode(), "f").text


@pytest.mark.parametrize(
    "source",
    [
        # As Pygments writes it: a newline is a text of its own between spans.
        '<pre><span></span><span class="k">try</span><span class="p">:</span>\n'
        '<span class="w">    </span><span class="k">with</span> <span class="n">con</span><span class="p">:</span>\n'
        '<span class="w">        </span><span class="n">x</span>\n\n'
        '<span class="k">except</span> <span class="n">E</span><span class="p">:</span>\n    pass\n</pre>',
        # A newline within a span, and one of code within preformatted text.
        "<pre><code>\n<span>try:\n</span><span>    with con:\n</span>"
        "        x\n<i>\n</i>except E:\n    pass\n\n</code></pre>",
        # A line is an element.
        "<pre><div>try:</div><div>    with con:</div><div>        x</div>\n"
        "<div>except E:</div><div>    pass</div></pre>",
        '<table class="highlighttable"><tr><td class="linenos"><pre>1\n2\n3</pre></td><td class="code">'
        f"<pre>{CODE}</pre></td></tr></table>",
        f"<pre>{CODE.replace(chr(10), '<br>')}</pre>",
    ],
)
def test_preformatted_text_keeps_its_lines_and_spaces(source: str) -> None:
    text = text_of(f"<p>before</p>{source}<p>after</p>")
    blank_lines_as_one = text.replace("\n\n", "\n") if "<div>" in source else text
    expected = CODE.replace("\n\n", "\n") if "<div>" in source else CODE
    assert blank_lines_as_one.strip().removeprefix("before").removesuffix("after").strip("\n") == expected
    assert text.startswith("before\n\n")
    assert text.endswith("\n\nafter")


def test_sections_count_the_characters_of_preformatted_text() -> None:
    extract = read_html(b"<h1>A</h1><pre>\n a\n<b> b\n</b>\n\n</pre><h1>B</h1><pre>\n\n</pre>c<h2>D</h2>", "f")
    assert [extract.text[section.start : section.end] for section in extract.sections] == [
        "A\n\n a\n b\n\n",
        "B\n\nc\n\n",
        "D",
    ]


@pytest.mark.parametrize(
    "around",
    [
        '<a class="headerlink" href="#install" title="Link to this heading">\u00b6</a>',
        '<a href="#install">#</a>',
        '<a href="#install"> \u00a7 </a>',
        '<a href="#install" class="anchor"><svg></svg></a>',
        "<a>\u00b6</a>",
        '<a name="install"> # </a>',
        '<a class="hash-link" href="/docs#install">link</a>',
        '<a class="skip" href="#main">Skip to content</a>',
        '<a href="#main">Jump to navigation</a>',
        '<div role="navigation">next | previous</div>',
        '<nav aria-label="breadcrumb">Home</nav>',
        '<ol class="breadcrumbs"><li>Home</ol>',
        '<form role="search">Go</form>',
        '<span class="mw-editsection">[edit]</span>',
        '<a rel="next" href="b.html">Next: run</a>',
        '<a href="_modules/a.html"><span class="viewcode-link">[source]</span></a>',
        "<footer>Copyright</footer>",
    ],
)
def test_what_surrounds_a_text_is_left_out(around: str) -> None:
    assert text_of(f"{around}<h2>Install{around}</h2><p>Run pip.</p>{around}") == "Install\n\nRun pip."


TEXINFO_LINKS = (
    'Next: <a href="b.html" accesskey="n" rel="next">Memory Usage</a>, '
    'Previous: <a href="a.html" rel="prev">Types</a>, '
    'Up: <a href="c.html" rel="up">Using</a> &nbsp; [<a href="t.html" title="Table of contents" rel="contents">Contents'
    '</a>][<a href="i.html" title="Index" rel="index">Index</a>]'
)


@pytest.mark.parametrize(
    "bar",
    [
        f'<div class="header"><p>\n{TEXINFO_LINKS}</p>\n</div>',
        f'<div class="nav-panel"><p>{TEXINFO_LINKS}</p></div>',
        '<p>Next: <a href="b.html">Memory</a>, Up: <a href="c">C</a> [<a rel="index" href="i">Index</a>]</p>',
        f'<div class="node"><a name="Top"></a><p><hr>{TEXINFO_LINKS}<br></p></div>',
        f"<div><table><tr><td>{TEXINFO_LINKS}</td></tr></table></div>",
        '<p><a href="a" rel="prev">&lt;&lt; Types</a> | <a href="i" rel="index">I</a> | <a href="b" rel="next">Go</a>',
        '<div class="navheader"><table><tr><th>Part II</th><td><a accesskey="p" href="a">Prev</a></table></div>',
        '<div class="navfooter"><a accesskey="n" href="a">Next</a> The end</div>',
        '<p><a href="b.html" rel="Next">Memory Usage</a></p>',
    ],
)
def test_bars_of_links_between_pages_are_left_out(bar: str) -> None:
    assert text_of(f"{bar}<h4>Types</h4><p>Nine of them.</p><hr>{bar}") == "Types\n\nNine of them."
    assert text_of(f"<main>{bar}<h4>Types</h4><p>Nine of them.</p></main>") == "Types\n\nNine of them."


@pytest.mark.parametrize(
    "text",
    [
        'Continue with <a rel="next" href="b.html">Memory Usage</a>.',
        'The <a rel="index" href="i.html">index</a> lists the names of all of them.',
        'Up: <a href="c.html">the hill</a>',
        '<span class="header">Next, the previous index goes up.</span>',
    ],
)
def test_sentences_with_such_links_and_words_stay(text: str) -> None:
    plain = re.sub(r"<.*?>", "", text)
    assert text_of(f'<div class="header"><p>{text}</p></div><p>More.</p>') == f"{plain}\n\nMore."
    assert text_of('<h1><a rel="index" href="/">The Manual</a></h1>') == "The Manual"


def test_many_such_links_cost_little_time() -> None:
    started = time.process_time()
    text_of("<div><a rel=next href=a>Next</a> text" * 2000)
    text_of("<div>" + "<a rel=next href=a>x</a>" * 20_000 + "</div>")
    assert time.process_time() - started < 5


def test_an_anchor_sign_in_a_heading_is_left_out_wherever_it_leads() -> None:
    extract = read_html('<h2>Install<span><a href="/docs#install">\u00a7</a></span></h2>Run.'.encode(), "f")
    assert (extract.text, extract.metadata) == ("Install\n\nRun.", {"title": "Install"})


def test_links_in_a_text_stay() -> None:
    for link in ('<a href="#install">Install</a>', '<a href="b.html">#</a>', '<a href="#c">C#</a>'):
        assert text_of(f"<p>See {link}.</p>").startswith("See ")
        assert text_of(f"<p>See {link}.</p>") != "See ."
    assert text_of("<blockquote>To be<footer>Hamlet</footer></blockquote>") == "To be\n\nHamlet"


def test_the_main_part_of_a_page_is_read_where_it_names_one() -> None:
    around = "<header>Site</header><aside>Sidebar</aside>"
    assert text_of(f"{around}<main><p>Text</p><main>inner</main></main>{around}") == "Text\n\ninner"
    assert text_of(f'{around}<div role="main"><p>Text</p></div>{around}') == "Text"
    # A page filled by a script has an empty one.
    assert text_of(f"{around}<main></main><p>Text</p>") == "Site\n\nSidebar\n\nText"


def test_formulas_are_read_as_tex_where_they_have_it() -> None:
    mathml = "<mrow><mi>E</mi><mo>=</mo><mi>m</mi></mrow>"
    annotated = (
        f"<math><semantics>{mathml}<annotation encoding='application/x-tex'>E = m</annotation></semantics></math>"
    )
    katex = f"<span class=katex>{annotated}<span class=katex-html aria-hidden=true>E=m</span></span>"
    for source, text in ((f"<math>{mathml}</math>", "E=m"), (f"<math alttext='E = m'>{mathml}</math>", "E = m")):
        assert text_of(f"<p>So {source} holds.</p>") == f"So {text} holds."
    assert text_of(f"<p>So {katex} holds.</p>") == "So E = m holds."


def test_invisible_breaks_are_left_out() -> None:
    assert text_of("<p>infor&shy;mation, na\u200bme, <pre>a\u200bb</pre>") == "information, name,\n\nab"


@pytest.mark.parametrize(
    ("title", "body", "name"),
    [
        ("Install \u2014 The Manual 3.1 documentation", "<h1>Install<a href='#i'>\u00b6</a></h1>", "Install"),
        ("The Manual | install", "<h1>Install</h1>", "Install"),
        ("Install - The Manual", "<h2>Install</h2>", "Install"),
        # The site's name above the page.
        ("Install | The Manual", "<header><h1>The Manual</h1></header><main><h1>Install</h1></main>", "Install"),
        ("The Manual", "<h1>One</h1><h1>Two</h1>", "The Manual"),
        ("", "<h1>Install</h1>", "Install"),
        ("Install", "<p>Run pip.</p>", "Install"),
        ("Setting up \u2014 Guide \u2014 The Manual", "<h1>Install</h1><h2>Pip</h2>", "Install"),
        ("Setting up", "<h1>The Manual</h1><h2>Pip</h2>", "Setting up"),
        ("Setting up - The Manual", "<h2>Install</h2>", "Setting up - The Manual"),
        ("Untitled Document", "<h2>Install</h2>", "Install"),
        ("install-3.html", "<h1>Install</h1><h1>Pip</h1>", "Install"),
    ],
)
def test_the_title_is_the_name_of_the_page(title: str, body: str, name: str) -> None:
    page = f"<html><head><title>{title}</title></head><body>{body}</body></html>"
    assert read_html(page.encode(), "f").metadata == {"title": name}


@pytest.mark.parametrize(
    ("title", "is_given"),
    [
        *((title, False) for title in ("untitled", "Untitled document", "Untitled-1", "(untitled)", "Untitled page 2")),
        *((title, False) for title in ("Microsoft Word - Final report 3.doc", "paper.dvi", "My  thesis.pdf", "b.indd")),
        *((title, False) for title in ("PowerPoint Presentation", "Slide 1", "Document1", "No title", "index.html")),
        *((title, True) for title in ("The Untitled Bat", "Node.js", "Documents of the empire", "Using setup.py")),
        *((title, True) for title in ("Untitled: a life", "Version 2.0", "Microsoft Word", "On index.html and others")),
    ],
)
def test_titles_that_programs_write_are_none(title: str, is_given: bool) -> None:
    assert given_title(title) == (title if is_given else "")
    page = f"<html><head><title>{title}</title></head><body><p>Run pip.</p></body></html>"
    assert read_html(page.encode(), "f").metadata == ({"title": title} if is_given else {})


def test_a_page_names_its_author_date_and_language() -> None:
    page = (
        '<html lang="en-GB"><head><meta name="Author" content=" Anna  B. ">'
        '<meta property="article:published_time" content="2026-11-24T10:00:00Z"></head><body>x</body></html>'
    )
    assert read_html(page.encode(), "f").metadata == {
        "author": "Anna B.",
        "date": "2026-11-24T10:00:00Z",
        "language": "en-GB",
    }


def test_images_are_counted_as_not_read() -> None:
    page = read_html(b"<body><main><p>bats</p><img src=a.png><figure><img src=b.png></figure></main></body>", "a.html")
    assert (page.text, page.unread) == ("bats", {"images": 2})


def test_a_page_has_the_summary_and_keywords_that_it_declares() -> None:
    extract = read_html(
        b"<meta name=Description content=' How bats\nhear '><meta name=keywords content='bats, ears'><p>Text</p>", "f"
    )
    assert extract.metadata == {"summary": "How bats hear", "keywords": "bats, ears"}
    graph = read_html(b"<meta property='og:description' content='How bats hear'><p>Text</p>", "f")
    assert graph.metadata == {"summary": "How bats hear"}


def test_fields_are_their_values_and_controls_are_counted() -> None:
    source = (
        "<p>Press <button>Save <b>all</b></button><button>Undo</button> or<input type=submit value='Send it'></p>"
        "<input value=filled placeholder=no><input placeholder='Your name'><input type=checkbox value=on>"
        "<input type=hidden value=secret><input type=password value=secret><input hidden value=secret>"
        "<input type=image alt='Go there'><textarea placeholder='Tell us'>written</textarea>"
        "<button hidden>secret</button><select><option>red<option>blue</select>"
    )
    extract = read_html(source.encode(), "f")
    assert re.sub(r"\s+", " ", extract.text) == "Press or filled written"
    assert extract.unread == {"controls": 8}


def test_titles_of_elements_are_explanations_or_counted() -> None:
    source = (
        "<p title='a tooltip'>The <abbr title='World Health Organization'>WHO</abbr> and the "
        "<abbr title='World Health Organization'>WHO</abbr>, <a title='bats' href=b>Bats</a> "
        "<a href=b title='The page of bats'>more</a> <img title='A bat'><img alt='A fox' title='A red fox'></p>"
    )
    extract = read_html(source.encode(), "f")
    assert extract.text == "The WHO (World Health Organization) and the WHO, Bats more A bat A fox"
    assert extract.unread == {"tooltips": 3, "images": 2}
