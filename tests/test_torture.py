"""The attacks of tests/torture, for half a minute to a minute; `python -m tests.torture` runs them for longer."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import textwrap
import zipfile
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import pytest
from torture import __main__ as runner
from torture import found, fuzzing, load, native, outcomes, process_kills, shard_kills, structured, table
from torture.outcomes import Attack, Outcome

from serotine.distributed import owner
from serotine.ingest.file_types import SUFFIXES

ROOT = Path(__file__).parents[1]
# Those of one run, and its minutes.
ATTACKS = [
    pytest.param(("faults", "power loss", "kills", "index kills", "damage", "model"), 0.5, id="index"),
    pytest.param(("fuzzing",), 1.0, id="fuzzing"),
    # Their builds with sanitizers take minutes.
    pytest.param(("native",), 1.0, id="native", marks=pytest.mark.slow),
    pytest.param(("bindings",), 1.0, id="bindings", marks=pytest.mark.slow),
]


@pytest.mark.skipif(sys.platform != "linux", reason="the attacks fork, and read /proc")
@pytest.mark.parametrize(("names", "minutes"), ATTACKS)
@pytest.mark.timeout(1500)
def test_no_outcome_is_unexplained(tmp_path: Path, names: tuple[str, ...], minutes: float) -> None:
    result = tmp_path / "torture.json"
    command = [sys.executable, "-m", "tests.torture", "--seed", "1", "--minutes", str(minutes), "--json", str(result)]
    chosen = [word for name in names for word in ("--only", name)]
    run = subprocess.run([*command, *chosen], cwd=ROOT, capture_output=True, text=True, timeout=1400)
    assert run.returncode == 0, run.stdout + run.stderr
    attacks = {attack["attack"]: attack for attack in json.loads(result.read_text())["attacks"]}
    assert sorted(attacks) == sorted(names)
    assert all(attack["states"] or "skipped" in attack for attack in attacks.values())


def test_what_a_run_found_is_replayed_first_by_the_next(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(found, "CACHE", tmp_path)
    monkeypatch.setattr(native, "sanitized", lambda kind, *_: tmp_path)
    monkeypatch.setattr(native.Native, "missing", classmethod(lambda _: ""))
    for program in ("search_test", "thread_pool_test"):
        script = tmp_path / program
        script.write_text('#!/bin/sh\n[ "$LD_PRELOAD" = "" ] || exit 0\necho "data race on $1" >&2\nexit 66\n')
        script.chmod(0o755)
    monkeypatch.setenv("LD_PRELOAD", "")
    (first,) = runner._run(native.Native, 3, None, 0.0)["unexplained"]
    assert "data race on" in first["problem"]
    again = runner._run(native.Native, 4, None, 0.0)["unexplained"]
    assert first["state"] in [outcome["state"] for outcome in again]
    for program in ("search_test", "thread_pool_test"):
        (tmp_path / program).write_text("#!/bin/sh\n")
    last = runner._run(native.Native, 5, None, 0.0)
    assert (last["unexplained"], last["states"]) == ([], 3)


def test_a_program_is_timed_by_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "")
    spinning = [sys.executable, "-c", "while True: pass"]
    assert outcomes.run_program(spinning, {}, timeout=1) == ("", "no result in 1 seconds of the processor")
    waiting = [sys.executable, "-c", "import time; time.sleep(2); print(1)"]
    assert outcomes.run_program(waiting, {}, timeout=1) == ("1\n", "")


def test_a_program_that_dies_in_silence_says_how() -> None:
    dying = [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"]
    assert outcomes.run_program(dying, {}, timeout=10) == ("", "ended by SIGSEGV")
    failing = [sys.executable, "-c", "print('a word'); raise SystemExit(3)"]
    assert outcomes.run_program(failing, {}, timeout=10) == ("a word\n", "a word\n\nended by status 3")


def test_nothing_of_this_process_runs_in_the_name_of_a_program() -> None:
    # A handler of the core's, in a library that a build overwrote, once ended programs before they started.
    program = """
        import os, sys
        sys.path.insert(0, "tests")
        from torture import outcomes
        os.register_at_fork(after_in_child=lambda: os._exit(11))
        print(outcomes.run_program(["echo", "started"], {}, timeout=10))
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout == "('started\\n', '')\n", run.stderr


def test_attacks_end_where_the_core_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    states = iter([(1, 1, 1), (1, 1, 2)])
    monkeypatch.setattr(runner, "_core_file", lambda: next(states))

    class Quiet(Attack):
        name = "quiet"

        def attempt(self, rng: random.Random) -> Outcome:
            return Outcome("done", "state")

    with pytest.raises(SystemExit, match="was replaced during the attacks"):
        runner._run(Quiet, 3, None, 60.0)


def test_an_attack_that_cannot_begin_is_unexplained(capsys: pytest.CaptureFixture[str]) -> None:
    class Unbuilt(Attack):
        name = "unbuilt"

        def __init__(self) -> None:
            raise OSError("no compiler")

    (result,) = runner._run_all([Unbuilt], 3, None, 0.0)
    assert (result["states"], len(result["unexplained"])) == (0, 1)
    assert "OSError: no compiler" in result["unexplained"][0]["problem"]
    assert "unexplained: unbuilt could not begin" in capsys.readouterr().out


def test_files_that_fuzzing_found_are_replayed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(found, "CACHE", tmp_path)
    attack = fuzzing.Fuzzing()
    assert attack.replay() == []
    assert attack._read("a.xml", b"<a>").kind == "reads: refused"
    # The same message again, in words.
    assert attack._read("b.xml", b"<b>").kind == "reads: refused"
    assert attack._read("c.xml", b"<a><b></a>").kind == "reads: refused"
    shutil.rmtree(attack.folder)
    assert [outcome.kind for outcome in fuzzing.Fuzzing().replay()] == ["reads: refused"] * 2


def test_a_killed_index_must_have_the_documents_of_its_folder(tmp_path: Path) -> None:
    attack = process_kills.IndexKills()
    before, after = {"a.txt": "bat", "b.txt": "owl"}, {"a.txt": "fox", "b.txt": "owl"}
    attack._write(tmp_path, before)
    assert attack._run(tmp_path, None).value[0] == 0
    assert attack._problem(tmp_path, before, after) == ""
    # Not yet there, but the document that must be replaced still is.
    assert "wrong ['notes/a.txt']" in attack._problem(tmp_path, after, after)
    assert "lost ['notes/c.txt']" in attack._problem(tmp_path, {**before, "c.txt": "emu"}, {**after, "c.txt": "emu"})
    shutil.rmtree(attack.folder)


def test_an_answer_without_a_shard_must_name_it() -> None:
    expected = [(f"d{i}", 1.0 - i / 10, "text") for i in range(9)]
    lost = owner("d0", shard_kills.SHARDS)
    rest = [fact for fact in expected if owner(fact[0], shard_kills.SHARDS) != lost]
    assert 0 < len(rest) < 9
    assert shard_kills.wrong(expected, expected, (), is_partial=False) == ""
    assert shard_kills.wrong(rest, expected, (lost,), is_partial=True) == ""
    assert shard_kills.wrong(expected, expected, (), is_partial=True) == "partial, and names no shard"
    for hits, missing in ((rest, ()), (rest[1:], (lost,)), (expected, (lost,)), ([("d1", 0.5, "text")], ())):
        assert "were expected" in shard_kills.wrong(hits, expected, missing, is_partial=bool(missing))


def test_without_ray_no_shards_are_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_kills.importlib.util, "find_spec", lambda name: None if name == "ray" else object())
    (result,) = runner._run_all([shard_kills.ShardKills], 3, None, 0.0)
    assert result["skipped"] == "the library ray is not installed: pip install 'serotine[ray]'"


def test_what_ray_prints_is_in_a_file(tmp_path: Path) -> None:
    program = """
        import os, subprocess, sys
        from pathlib import Path
        sys.path.insert(0, "tests")
        from torture.shard_kills import redirect_output
        redirect_output(Path(sys.argv[1]))
        print("a worker died", flush=True)
        subprocess.run(["sh", "-c", "echo another died >&2"])
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "ray.log")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert (tmp_path / "ray.log").read_text() == "a worker died\nanother died\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), ["-m tests.torture --minutes 20"]),
        (("MINUTES=5", "SEED=7"), ["-m tests.torture --minutes 5 --seed 7"]),
        (
            ("SEED=7", "RECORD=1"),
            ["-m tests.torture --minutes 20 --seed 7 --json tests/torture/results.json", "-m tests.torture.table"],
        ),
    ],
)
def test_make_torture_takes_minutes_and_a_seed(arguments: tuple[str, ...], expected: list[str]) -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is not installed")
    command = [make, "-n", "--no-print-directory", "torture", *arguments]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [line.rstrip() for line in run.stdout.splitlines() if "tests.torture" in line]
    assert [line[line.index("-m") :] for line in lines] == expected


def test_every_reader_has_a_file_in_the_corpus() -> None:
    suffixes = {path.suffix for path in fuzzing.CORPUS.iterdir()}
    assert suffixes == set(SUFFIXES)
    records = list(fuzzing.CORPUS.glob("records.*"))
    attack = fuzzing.Fuzzing()
    for path in records:
        outcome = attack._read(path.name, path.read_bytes())
        assert (outcome.kind, outcome.problem) == ("reads: read", "")
    shutil.rmtree(attack.folder)


def test_mutated_contents_are_in_files_that_open(tmp_path: Path) -> None:
    files = [path for path in fuzzing.CORPUS.iterdir() if path.suffix in structured.SUFFIXES]
    assert {path.suffix for path in files} == set(structured.SUFFIXES)
    opened = 0
    for path in sorted(files):
        for seed in range(10):
            data = structured.restructured(path.name, path.read_bytes(), random.Random(seed))
            assert data == structured.restructured(path.name, path.read_bytes(), random.Random(seed))
            if zipfile.is_zipfile(path):
                with (
                    suppress(zipfile.BadZipFile, NotImplementedError, EOFError),
                    zipfile.ZipFile(BytesIO(data)) as archive,
                ):
                    opened += archive.testzip() is None
            elif path.suffix == ".ipynb":
                json.loads(data)
    assert opened > 40


def test_a_reader_that_takes_too_much_memory_is_unexplained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fuzzing.TEXT_READERS, ".txt", lambda data, name: bytearray(2 << 30))
    attack = fuzzing.Fuzzing()
    monkeypatch.setattr(attack._found, "add", lambda data: None)
    outcome = attack._read("a.txt", b"")
    assert outcome.kind == "reads: other error"
    assert "MemoryError" in outcome.problem
    shutil.rmtree(attack.folder)


def test_attacks_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Quick(Attack):
        name = "quick"

    class Slow(Attack):
        name = "slow"
        share = 2.0

    class Other(Attack):
        name = "other"

    now, given = 0.0, {}
    monkeypatch.setattr(runner.time, "monotonic", lambda: now)

    def run(kind: type[Attack], seed: int, state: int | None, seconds: float) -> dict[str, str]:
        nonlocal now
        given[kind.name] = seconds
        # The last state takes longer than there is time.
        now += seconds + 10
        return {"attack": kind.name}

    monkeypatch.setattr(runner, "_run", run)
    results = runner._run_all([Quick, Slow, Other], 3, None, 60.0)
    # The table has the order of the attacks, and the next ones make up for the time.
    assert [result["attack"] for result in results] == ["quick", "slow", "other"]
    # Half of its share at least: of 15 seconds here.
    assert given == {"slow": 30.0, "quick": 10.0, "other": 7.5}
    assert now == 77.5


def test_every_attack_has_its_turn_on_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    now, tried = 0.0, []
    monkeypatch.setattr(runner.time, "monotonic", lambda: now)

    def busy(attack: type[Attack]) -> type[Attack]:
        class Busy(Attack):
            name, share = attack.name, attack.share

            def __init__(self) -> None:
                nonlocal now
                # What is loaded first is not of its time.
                now += 100

            def attempt(self, rng: random.Random) -> Outcome:
                nonlocal now
                tried.append((self.name, now))
                # Ten minutes, as a program of one processor minute may take; the others a second.
                now += 600 if self.share > 1 else 1
                return Outcome("done", "state")

            def close(self) -> None:
                pass

        return Busy

    results = runner._run_all([busy(attack) for attack in runner.attacks().values()], 3, None, 1200.0)
    assert [result["attack"] for result in results] == list(runner.attacks())
    shares = {name: attack.share for name, attack in runner.attacks().items()}
    for name, share in shares.items():
        times = [at for other, at in tried if other == name]
        assert times[-1] - times[0] + (600 if share > 1 else 1) >= 600 * share / sum(shares.values())


def test_an_attack_whose_server_does_not_start_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: list[str] = []

    class Busy(Attack):
        name = "busy"

        def attempt(self, rng: random.Random) -> Outcome:
            return Outcome(kinds.pop(0), "state")

    kinds[:] = [outcomes.NOT_STARTED, outcomes.NOT_STARTED, "done", "never"]
    result = runner._run(Busy, 3, None, 0.0)
    assert (result["states"], result["unexplained"], kinds) == (3, [], ["never"])
    kinds[:] = [outcomes.NOT_STARTED] * 9
    result = runner._run(Busy, 3, None, 0.0)
    assert result["unexplained"] == [{"state": "state", "problem": "state, 5 times", "number": 4}]
    assert len(kinds) == 4


def test_growth_is_the_last_third_of_a_session_beside_its_first() -> None:
    flat = [(float(at), 100.0) for at in range(30)]
    assert load.grown("descriptors", flat, 0, 30) == load.grown("descriptors", [], 0, 30) == ""
    rising = [(at, value if at < 15 else 2 * value) for at, value in flat]
    assert load.grown("descriptors", rising, 0, 30) == "descriptors grew from 100.00 to 200.00, beyond 170.00"
    slow = [(at / 10, 5.0 if at > 290 else 0.01) for at in range(300)]
    assert "seconds of a search (p99) grew from 0.01 to 5.00" in load.grown("seconds of a search (p99)", slow, 0, 30)


def test_an_unexplained_outcome_is_printed_with_the_command_that_replays_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Failing(Attack):
        name = "failing"

        def attempt(self, rng: random.Random) -> Outcome:
            return Outcome("lost", f"state {rng.random():.3f}", "a document is gone")

    first, again = (runner._run(Failing, 3, 5, 0.0) for _ in range(2))
    assert first["unexplained"] == again["unexplained"] != []
    assert "replay: python -m tests.torture --seed 3 --only 'failing' --state 5" in capsys.readouterr().out


def test_the_table_of_the_docs_is_that_of_the_committed_results() -> None:
    assert table.PAGE.read_text("utf-8") == table.page(), "run: python -m tests.torture.table"
    results = json.loads(table.RESULTS.read_text("utf-8"))
    assert [attack["attack"] for attack in results["attacks"]] == list(runner.attacks()) == list(table.SUMMARIES)
    assert not any(attack["unexplained"] for attack in results["attacks"])


def test_the_table_shows_what_is_unexplained_or_skipped() -> None:
    results = {
        "machine": {"processor": "p", "cores": 2, "python": "3", "date": "d"},
        "system": "Linux",
        "seed": 1,
        "minutes": 0.5,
        "attacks": [
            {"attack": "kills", "states": 1200, "outcomes": {"done": 1200}, "unexplained": [{}]},
            {"attack": "native", "states": 0, "outcomes": {}, "unexplained": [], "skipped": "needs a compiler"},
        ],
    }
    *_, kills, native = table.table(results).splitlines()
    assert kills == "| kills | 1,200 | 1 | SIGKILL at a random moment of a change. 1,200 done |"
    assert native.endswith(". Skipped: needs a compiler |")
