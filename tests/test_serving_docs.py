"""The examples in docs/serving.md are what a server answers."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from helpers.printed import check_printed
from helpers.serving_cases import application, create_index, serving

from serotine import Encoder
from serotine.cli import main

PAGE = Path(__file__).parent.parent / "docs" / "serving.md"
# Times differ from run to run, and scores slightly with the arithmetic of a processor.
TIMES = {"milliseconds"}
SCORES = {"score", "score_per_token", "best_score_per_token"}


def calls() -> list[tuple[str, Any, Any]]:
    """Return the path, the body and the answer of every curl command of the page's first example."""
    lines = PAGE.read_text("utf-8").splitlines()
    found = []
    for line, answer in pairwise(lines):
        if line.startswith("$ curl "):
            words = shlex.split(line)
            found.append((words[3].removeprefix("localhost:8000"), json.loads(words[-1]), json.loads(answer)))
    return found


def notes() -> dict[str, str]:
    """Return the texts of the files that the page's first commands write, by name."""
    written = re.findall(r"^\$ echo '(.*)' > roosts/(.*)$", PAGE.read_text("utf-8"), re.MULTILINE)
    return {name: text for text, name in written}


def without_times(value: Any, score: Callable[[float], Any] = float) -> Any:
    """Return an answer without its times, and `score` of its scores."""
    if isinstance(value, dict):
        return {
            key: shape(item) if key in TIMES else score(item) if key in SCORES else without_times(item, score)
            for key, item in value.items()
        }
    return [without_times(item, score) for item in value] if isinstance(value, list) else value


def near(score: float) -> Any:
    return pytest.approx(score, rel=0.01)


def shape(value: Any) -> Any:
    return sorted(value) if isinstance(value, dict) else type(value).__name__


def test_the_examples_are_what_a_server_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("roosts").mkdir()
    assert len(notes()) == 3
    for name, text in notes().items():
        Path("roosts", name).write_text(f"{text}\n")
    assert main(["index", "roosts", "-o", "bats.serotine", "--filterable", "lang:str"]) == 0
    examples = calls()
    assert len(examples) == 3
    with application(tmp_path / "state", tmp_path / "bats.serotine") as client:
        for path, body, answer in examples:
            response = client.post(path, json=body)
            assert without_times(response.json()) == without_times(answer, near), response.text
    with serving("bats.serotine") as server:
        (snippet,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
        names: dict[str, Any] = {}
        exec(snippet.replace("http://127.0.0.1:8000", server.url), names)  # noqa: S102
        names["client"].close()
    check_printed([f"# {capsys.readouterr().out.splitlines()[-1]}"], snippet.splitlines()[-1:])


def test_hits_of_several_servers_are_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tokens").write_text(f"read {'0' * 64}\n", "utf-8")
    texts = {"news": {"owl": "Owls hunt at night."}, "wiki": {"serotine": "The serotine is a bat that emerges late."}}
    for name, documents in texts.items():
        create_index(tmp_path / f"{name}.serotine", documents, Encoder())
    with serving(tmp_path / "news.serotine") as news, serving(tmp_path / "wiki.serotine") as wiki:
        (snippet,) = re.findall(
            r"```python\n(.*?)```", PAGE.with_name("several-servers.md").read_text("utf-8"), re.DOTALL
        )
        names: dict[str, Any] = {}
        for written, here in {"http://10.0.0.11:8000": news.url, "http://10.0.0.12:8000": wiki.url}.items():
            assert written in snippet
            snippet = snippet.replace(written, here)
        exec(snippet, names)  # noqa: S102
        for client in names["clients"]:
            client.close()
    assert [hit.id for hit in names["best"]] == ["serotine", "owl"]
    assert f"# {capsys.readouterr().out.strip()}" == snippet.splitlines()[-1]


def test_the_metrics_listed_are_those_of_a_server(tmp_path: Path) -> None:
    rows = re.findall(r"^\| `(serotine_\w+)` \|([^|]*)\|", PAGE.read_text("utf-8"), re.MULTILINE)
    with application(tmp_path / "state") as client:
        client.get("/v1/indexes")
        text = client.get("/metrics").text
        metrics = vars(client.app.state.services.metrics)
    declared = set(re.findall(r"^# TYPE (serotine_\w+) ", text, re.MULTILINE))
    assert {name for name, _ in rows} == {name for name in declared if not name.endswith("_created")}
    labels = {metric._name: set(metric._labelnames) for metric in metrics.values() if hasattr(metric, "_labelnames")}
    assert {name.removesuffix("_total"): set(re.findall(r"`(\w+)`", cell)) for name, cell in rows} == labels


def test_the_keys_of_an_upload_are_those_of_its_job() -> None:
    from serotine.serving.http.schemas.uploads import JobResponse

    table = PAGE.read_text("utf-8").partition("A job has:")[2].partition("`warnings` of every answer")[0]
    keys = [key for row in re.findall(r"^\| ([^|]*) \|", table, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)]
    assert sorted(keys) == sorted(set(JobResponse.model_fields) - {"id", "index"})
