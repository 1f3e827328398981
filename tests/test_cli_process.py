"""The command line as a process: exit statuses, signals, start-up, and the real encoder."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serotine.errors import EncoderError
from serotine.index import Index
from serotine.maxsim import reference

FAKE = [sys.executable, str(Path(__file__).parent / "helpers" / "cli_fake.py")]
REAL = [sys.executable, "-m", "serotine"]


def run(*arguments: object, program: list[str] = FAKE) -> subprocess.CompletedProcess[str]:
    command = [*program, *(str(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=60, check=False)


def start_slow(*arguments: object) -> subprocess.Popen[str]:
    command = [*FAKE, *(str(argument) for argument in arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "FAKE_DELAY": "0.005"}
    )


def wait_for_commit(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        if path.exists():
            with Index.open(path, read_only=True) as index:
                if len(index):
                    return
        time.sleep(0.01)
    raise TimeoutError(path)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    file = tmp_path / "corpus.jsonl"
    file.write_text("".join(json.dumps({"_id": str(i), "text": f"document {i}"}) + "\n" for i in range(600)))
    return file


def test_exit_statuses_and_streams(tmp_path: Path) -> None:
    for arguments, status in [
        (["--version"], 0),
        (["search", "--help"], 0),
        ([], 2),
        (["search", "i", "x", "-k", "0"], 2),
        (["search", tmp_path, "x"], 1),
    ]:
        completed = run(*arguments, program=REAL)
        assert completed.returncode == status
        assert bool(completed.stdout) == (status == 0)
        assert bool(completed.stderr) == (status != 0)
        assert "Traceback" not in completed.stderr


def test_start_up_imports_no_heavy_packages() -> None:
    heavy = "'numpy', 'onnxruntime', 'tokenizers', 'rich', 'torch', 'serotine.index', 'serotine.encoders'"
    code = f"import sys, serotine.cli; print([name for name in [{heavy}] if name in sys.modules])"
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout.strip() == "[]"


def test_indexing_resumes_after_control_c(tmp_path: Path, corpus: Path) -> None:
    output = tmp_path / "i.serotine"
    process = start_slow("index", corpus, "-o", output)
    wait_for_commit(output, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err.count("\n")) == (130, "", 1)
    assert err.startswith("error: interrupted; ")
    with Index.open(output, read_only=True) as index:
        stored = len(index)
    assert 0 < stored < 600
    completed = run("index", corpus, "-o", output, "--json", "-")
    assert (json.loads(completed.stdout)["unchanged"], json.loads(completed.stdout)["documents"]) == (stored, 600)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_an_overwrite_that_was_ended_leaves_the_old_index_and_continues(
    tmp_path: Path, corpus: Path, end: signal.Signals
) -> None:
    output = tmp_path / "i.serotine"
    old = tmp_path / "old.jsonl"
    old.write_text('{"_id": "old", "text": "document"}\n')
    run("index", old, "-o", output)
    building = tmp_path / ".i.serotine.building"
    process = start_slow("index", corpus, "-o", output, "--overwrite")
    wait_for_commit(building, process)
    process.send_signal(end)
    _, err = process.communicate(timeout=30)
    with Index.open(building, read_only=True) as index:
        stored = len(index)
    assert 0 < stored < 600
    if end == signal.SIGINT:
        assert err.count("\n") == 1
        assert err.startswith(
            f"error: interrupted; {output} is unchanged; {stored} documents of 600 stored in .i.serot"
        )
        assert f"; run the same command again to continue: serotine index {corpus} -o {output} --overwrite" in err
    assert json.loads(run("info", output, "--json", "-").stdout)["documents"] == 1
    completed = json.loads(run("index", corpus, "-o", output, "--overwrite", "--json", "-").stdout)
    assert (completed["added"], completed["unchanged"], completed["documents"]) == (600 - stored, stored, 600)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["corpus.jsonl", "i.serotine", "old.jsonl"]
    # Once it is complete, the same command builds a new one again.
    completed = json.loads(run("index", corpus, "-o", output, "--overwrite", "--json", "-").stdout)
    assert (completed["added"], completed["unchanged"]) == (600, 0)


def test_an_overwrite_with_other_options_starts_over(tmp_path: Path, corpus: Path) -> None:
    output = tmp_path / "i.serotine"
    run("index", corpus, "-o", output)
    process = start_slow("index", corpus, "-o", output, "--overwrite")
    wait_for_commit(tmp_path / ".i.serotine.building", process)
    process.kill()
    process.communicate(timeout=30)
    completed = json.loads(run("index", corpus, "-o", output, "--overwrite", "--nbits", 2, "--json", "-").stdout)
    assert (completed["added"], completed["unchanged"]) == (600, 0)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["corpus.jsonl", "i.serotine"]


def test_an_interrupted_replacement_is_recovered(tmp_path: Path, corpus: Path) -> None:
    output = tmp_path / "i.serotine"
    run("index", corpus, "-o", output)
    output.rename(tmp_path / ".i.serotine.replaced")
    completed = run("index", corpus, "-o", output, "--json", "-")
    assert json.loads(completed.stdout)["files"]["unchanged"] == 1


def test_a_closed_pipe_and_a_limited_encoding(tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text('{"_id": "é", "text": "naïve 東京"}\n', encoding="utf-8")
    run("index", file, "-o", tmp_path / "i")
    environment = {**os.environ, "PYTHONIOENCODING": "iso-8859-1"}
    command = [*FAKE, "search", str(tmp_path / "i"), "naïve"]
    completed = subprocess.run(command, capture_output=True, env=environment, check=True)
    assert "naïve \\u6771\\u4eac".encode("iso-8859-1") in completed.stdout
    completed = subprocess.run([*command, "--json", "-"], capture_output=True, env=environment, check=True)
    assert json.loads(completed.stdout)["hits"][0]["id"] == "é"
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=30) == 1


def test_the_real_encoder_equals_brute_force(tmp_path: Path) -> None:
    from serotine.encoders import Encoder

    try:
        encoder = Encoder()
    except EncoderError as error:
        pytest.skip(str(error))
    texts = {
        "1": "Serotine bats emerge from their roost late in the evening.",
        "2": "The transonic flow past a slender wing was measured in a wind tunnel.",
        "3": "Heat transfer to a blunt body at hypersonic speed.",
        "4": "Bats",
    }
    file = tmp_path / "corpus.jsonl"
    file.write_text("".join(json.dumps({"_id": id_, "text": text}) + "\n" for id_, text in texts.items()))
    assert run("index", tmp_path, "-o", tmp_path / "i", program=REAL).returncode == 0
    query = "when do bats leave their roost?"
    completed = run("search", tmp_path / "i", query, "-k", 99, "--json", "-", program=REAL)
    hits = json.loads(completed.stdout)["hits"]
    query_vectors = encoder.encode_queries([query])[0]
    with Index.open(tmp_path / "i", read_only=True) as index:
        scores = {id_: reference.score(query_vectors, index.vectors(id_)) for id_ in texts}
    assert [hit["id"] for hit in hits] == sorted(scores, key=lambda id_: -scores[id_])
    assert hits[0]["id"] == "1"
    for hit in hits:
        assert hit["score"] == pytest.approx(scores[hit["id"]], rel=1e-5)
    matched_words = {texts["1"][start:end] for start, end, _ in hits[0]["spans"]}
    assert {"bats", "roost"} <= {word.lower() for word in matched_words}


def test_control_c_loses_seconds_of_a_large_text(tmp_path: Path) -> None:
    file = tmp_path / "my notes.txt"
    file.write_text("\n\n".join(f"Bat {i} flies late in the evening. " * 30 for i in range(600)))
    output = tmp_path / "i.serotine"
    process = start_slow("index", file, "-o", output)
    wait_for_commit(output, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err.count("\n")) == (130, 1)
    with Index.open(output, read_only=True) as index:
        stored = len(index)
    assert 0 < stored < 600
    assert f"interrupted; {stored:,} document" in err
    # The command can be pasted.
    assert err.rstrip().endswith(f"to continue: serotine index '{file}' -o {output}")
    result = json.loads(run("index", file, "-o", output, "--json", "-").stdout)
    assert result["unchanged"] == stored
    assert result["documents"] == stored + result["added"] > 600


def test_a_second_control_c_ends_the_process() -> None:
    program = (
        "import time\n"
        "from serotine.cli.interrupts import interruptible\n"
        "with interruptible():\n"
        "    try:\n"
        "        print('ready', flush=True); time.sleep(60)\n"
        "    except KeyboardInterrupt:\n"
        "        print('first', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in ("ready\n", "first\n"):
        assert process.stdout.readline() == line
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGINT


def test_an_interrupt_that_was_handled_leaves_the_exit_status() -> None:
    # As in a lazy import: dataclasses and named tuples execute strings.
    program = (
        "import sys, serotine.cli, serotine.__main__\n"
        "def run() -> int:\n"
        "    try:\n"
        "        exec('raise KeyboardInterrupt')\n"
        "    except KeyboardInterrupt:\n"
        "        return 130\n"
        "serotine.cli.main = run\n"
        "sys.exit(serotine.__main__.main())\n"
    )
    completed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (completed.returncode, completed.stderr) == (130, "")


@pytest.mark.parametrize("server", ["serve", "serve --workers 2", "mcp", "mcp --port"])
def test_ctrl_c_stops_a_server_quietly(tmp_path: Path, server: str) -> None:
    pytest.importorskip("mcp" if server.startswith("mcp") else "fastapi")
    with Index.create(tmp_path / "i.serotine", dim=2):
        pass
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    words = server.replace("mcp --port", f"mcp --port {port}").split()
    process = subprocess.Popen(
        [*REAL, *words, str(tmp_path / "i.serotine"), *(["--port", port] if words[0] == "serve" else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    if server == "mcp":
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        request = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
        process.stdin.write(f"{json.dumps(request)}\n")
        process.stdin.flush()
        assert "serverInfo" in process.stdout.readline()
    elif server == "mcp --port":
        assert "Ctrl-C stops" in process.stderr.readline()
    else:
        assert "Ctrl-C stops" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "")
    assert "error" not in err
    assert "Traceback" not in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("arguments", "name"),
    [(["--help"], "standard output"), (["model", "info", "mini", "--json", "/dev/full"], "/dev/full")],
)
def test_output_that_cannot_be_written_is_named(arguments: list[str], name: str) -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "serotine", *arguments],
            stdout=full if name == "standard output" else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: {name}: No space left on device")
    assert len(result.stderr.splitlines()) == 1


def test_ctrl_c_while_the_commands_are_imported_is_quiet(tmp_path: Path) -> None:
    # A module that the command line imports waits in place of click, as a slow disk would.
    (tmp_path / "click.py").write_text("import sys, time\nprint('importing', flush=True)\ntime.sleep(60)\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "serotine", "--version"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "error: interrupted\n")
