"""Indexes with titles, hostile text and tags, and the server process, for the page's tests."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from helpers.cli_fake import FakeEncoder
from serotine import Index

FAKE = [sys.executable, str(Path(__file__).parent / "cli_fake.py")]
HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=2</script> {{7*7}} serotine ${8*8} `x-html`'
LONG = "Nothing here matters. " * 60 + "The serotine is a late bat. " + "Nothing else matters. " * 60

# Every attempt to smuggle markup, a script, a picture or an address through Markdown.
HOSTILE_MARKDOWN = """Late <script>window.hacked=1</script> <img src=x onerror="window.hacked=2"> <b>bold</b>
[script](javascript:window.hacked=3) [parentheses](https://example.org/a_(b))
[mixed](JaVaScRiPt:window.hacked=3) [data](data:text/html,<script>1</script>)
[tab](java\tscript:alert(1)) [relative](/v1/indexes) [entity](&#106;avascript:alert(1)) [file](file:///etc/passwd)
![picture](http://evil.example/x.png) ![inline](data:image/svg+xml,<svg/onload=alert(1)>) <http://evil.example/>
[quoted](https://example.org/"onmouseover="window.hacked=4) [nested [label](javascript:alert(1))](javascript:alert(2))
[styled **bold** `code`](https://example.org/ok) <a href="javascript:alert(1)">anchor</a> <svg/onload=window.hacked=5>

[ref]: javascript:alert(1)
<iframe src="javascript:window.hacked=6"></iframe> <style>body { display: none }</style> &lt;b&gt; {{7*7}} ${8*8}

| a | <img src=x onerror=window.hacked=7> |
|---|---|
| [x](javascript:alert(1)) | `<b>late</b>` |

```html
<script>window.hacked = 8</script>
```
"""
MARKDOWN = """## Feeding

The **serotine** hunts *late*, with `echo` and [a link](https://example.org/bats?a=1&b=2).
It is the same paragraph\\
but another line.

- beetles
  - large ones
- moths

1. first

> quoted words

| kind | weight |
|:-----|-------:|
| serotine | 25 g |

```python
# not a heading
def fly(speed):
    return speed ** 2
```

snake_case_names and 2 * 3 * 4 stay, \\*escaped\\* too.
"""
CODE = "\n".join(
    [
        "import os\n\nclass Bat:",
        *(f"    def method_{i}(self):\n        return {i}" for i in range(40)),
        "    def hunts_late(self):\n        # the serotine leaves late\n        return os.sep",
    ]
)
WRAPPED = """The serotine is a large bat with a broad wing. It leaves its roost late
in the evening, well after sunset, and hunts beetles and moths over
pastures, along the edges of woods and around the lamps of villages.

Things to bring:
- a torch with a red filter, which does not disturb the animals too much
- warm clothes

Tyger Tyger, burning bright,
In the forests of the night;"""
SHORT_PARAGRAPHS = "\n\n".join(f"Bats of kind {number} hunt." for number in range(40))
ARABIC = "خفاش السيروتين يخرج متأخرا في المساء ويصطاد الخنافس."


def create_indexes(root: Path) -> list[Path]:
    names = ("bats", "strange", "empty", "vectors", "tags", "formats")
    paths = [root / f"{name}.serotine" for name in names]
    with Index.create(paths[0], encoder=FakeEncoder(), filterable={"lang": str, "year": int}) as index:
        index.add(
            ids=[f"bat-{i}" for i in range(12)],
            texts=[
                "The serotine is a late bat. It flies after sunset.",
                *(f"Bats of kind {i} hunt moths at night, and owls do not." for i in range(11)),
            ],
            metadata=[
                {"title": f"About bats {i}", "lang": "en" if i % 3 else "la", "year": 2000 + i} for i in range(12)
            ],
        )
    with Index.create(paths[1], encoder=FakeEncoder()) as index:
        index.add(
            ids=["<b>bold</b>", "emoji", "long", "wordless"],
            texts=[HOSTILE, "🦇🦇 the serotine 🦇 flies", LONG, "…"],
            metadata=[{"title": HOSTILE, "<i>": "<u>under</u>"}, {}, {}, {}],
        )
    Index.create(paths[2], encoder=FakeEncoder()).close()
    with Index.create(paths[3], dim=16) as index:
        index.add(ids=["v"], vectors=FakeEncoder().encode_queries(["serotine bats"]))
    with Index.create(paths[4], encoder=FakeEncoder()) as index:
        index.add(
            ids=["both", "late", "early", "one"],
            texts=["bats hunt"] * 4,
            metadata=[{"tags": ["late", "large"]}, {"tags": ["late"]}, {"tags": ["early"]}, {"tags": "single"}],
        )
    with Index.create(paths[5], encoder=FakeEncoder()) as index:
        files = {
            "hostile.md": (HOSTILE_MARKDOWN, {}),
            "bats.md": (MARKDOWN, {"title": "Bats of Europe", "heading": "Bats of Europe > Habits > Feeding"}),
            "bat.py": (CODE, {"language": "python", "symbol": "Bat.hunts_late", "line": 3, "last_line": 90}),
            "wrapped.txt": (WRAPPED, {"page": 4, "last_page": 5}),
            "arabic.txt": (ARABIC, {"title": ARABIC}),
            "short.txt": (SHORT_PARAGRAPHS, {}),
        }
        index.add(
            ids=[f"notes/{name}#{number}" for number, name in enumerate(files, 1)],
            texts=[text for text, _ in files.values()],
            metadata=[{**metadata, "source": f"notes/{name}"} for name, (_, metadata) in files.items()],
        )
        index.add(ids=["notes/bats.md#1", "notes/bats.md#3"], texts=["Before it.", "After it."])
    return paths


def start_server(log: Path, *arguments: object) -> tuple[subprocess.Popen[bytes], str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [*FAKE, "serve", *map(str, arguments), "--port", str(port)]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(f"{address}/healthz", timeout=5).close()  # noqa: S310 - a local server
            return process, address
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
