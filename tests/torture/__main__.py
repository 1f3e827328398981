"""The runner: tries states until the time is over, and prints what became of them."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import shutil
import sqlite3
import subprocess
import sys
import time
import traceback
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from serotine import _core
from serotine.bench.machine import describe_machine

from . import shim
from .outcomes import NOT_STARTED, Attack, Outcome

_PACKAGES = ("numpy", "tokenizers", "selectolax", "pypdfium2", "pyarrow", "fastapi", "uvicorn")
_ONE_THREAD = {"SEROTINE_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
# Of its share of the minutes, what every attack has at least, however much those before it took of theirs.
_MIN_SHARE = 0.5
# Attempts of an attack whose server or cluster does not start, on a busy machine, before it counts as unexplained.
_MAX_STARTS = 5


def attacks() -> dict[str, type[Attack]]:
    """Return every attack by name."""
    from .bindings import Bindings
    from .damage import Damage
    from .faults import Faults
    from .fuzzing import Fuzzing
    from .kills import Kills
    from .load import Load
    from .model import Model
    from .native import Native
    from .power_loss import PowerLoss
    from .process_kills import IndexKills, UploadKills
    from .shard_kills import ShardKills

    return {
        attack.name: attack
        for attack in (
            Faults,
            PowerLoss,
            Kills,
            IndexKills,
            UploadKills,
            ShardKills,
            Damage,
            Fuzzing,
            Native,
            Bindings,
            Model,
            Load,
        )
    }


def main() -> int:
    """Run the attacks; return 1 if any outcome is unexplained."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0, help="for all attacks together, without builds")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", action="append", metavar="NAME", help=f"of {', '.join(attacks())}; may be repeated")
    parser.add_argument("--state", type=int, help="replay this one state of the attack that --only names")
    parser.add_argument("--json", type=Path, help="write the table to this file")
    options = parser.parse_args()
    unknown = set(options.only or ()) - set(attacks())
    if unknown or (options.state is not None and len(options.only or ()) != 1):
        parser.error(f"--only: must be of {', '.join(attacks())}, and one with --state")
    if not shim.available() and shim.compile_shim():
        environment = {**os.environ, "LD_PRELOAD": str(shim.library()), **_ONE_THREAD}
        os.execve(sys.executable, [sys.executable, "-m", __package__, *sys.argv[1:]], environment)  # noqa: S606
    warnings.simplefilter("ignore")
    chosen = [attack for name, attack in attacks().items() if not options.only or name in options.only]
    print(f"seed {options.seed}; building what the attacks run", flush=True)
    for kind in chosen:
        # What cannot be built cannot begin either, which `_run` reports.
        with contextlib.suppress(Exception):
            if not kind.missing():
                kind.prepare()
    started = time.monotonic()
    results = _run_all(chosen, options.seed, options.state, options.minutes * 60)
    _print_table(results)
    if options.json:
        report = {
            "commit": _commit(),
            "machine": describe_machine(_PACKAGES),
            "system": f"{platform.system()} {platform.release().partition('-')[0]}, SQLite {sqlite3.sqlite_version}",
            "seed": options.seed,
            "minutes": round((time.monotonic() - started) / 60, 1),
            "attacks": results,
        }
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 1 if any(result["unexplained"] for result in results) else 0


def _commit() -> str:
    """Return the commit of the checkout, with "+" where it is changed; "" outside of one."""
    git = shutil.which("git")
    if git is None:
        return ""
    described = subprocess.run(
        [git, "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip()


def _run_all(attacks: list[type[Attack]], seed: int, state: int | None, seconds: float) -> list[dict[str, Any]]:
    """Run attacks in about so many seconds; return their results in the order given.

    Every attack has its turn: at least half of its share of the time, also where others took more than theirs.
    """
    deadline = time.monotonic() + seconds
    least = seconds * _MIN_SHARE / sum(kind.share for kind in attacks)
    results = {}
    # Those whose states take long begin, so that the others make up for what the last of these states took.
    waiting = sorted(attacks, key=lambda kind: -kind.share)
    while waiting:
        left = (deadline - time.monotonic()) / sum(kind.share for kind in waiting)
        kind = waiting.pop(0)
        given = max(left, least) * kind.share
        print(f"{kind.name}: {given:.0f} seconds", flush=True)
        results[kind.name] = _run(kind, seed, state, given)
    return [results[kind.name] for kind in attacks]


def _run(kind: type[Attack], seed: int, state: int | None, seconds: float) -> dict[str, Any]:
    result: dict[str, Any] = {"attack": kind.name, "states": 0, "outcomes": {}, "unexplained": []}
    if kind.needs_shim and not shim.available():
        return {**result, "skipped": "needs Linux and a C compiler"}
    if missing := kind.missing():
        return {**result, "skipped": missing}
    if kind.log is not None:
        print(f"{kind.name}: what libraries say of killed processes is written to {kind.log}", flush=True)
    try:
        attack = kind()
    except Exception:
        # As where an attempt fails below: the other attacks go on.
        problem = traceback.format_exc(limit=-4)
        print(f"\nunexplained: {kind.name} could not begin\n  {problem}", flush=True)
        return {**result, "unexplained": [{"state": "the beginning", "problem": problem, "number": None}]}
    outcomes: Counter[str] = Counter()
    number = 0 if state is None else state
    core = _core_file()
    try:
        for outcome in attack.replay() if state is None else ():
            outcomes[outcome.kind] += 1
            if outcome.problem:
                print(f"\nunexplained, as in an earlier run: {outcome.state}\n  {outcome.kind}: {outcome.problem}")
                result["unexplained"].append({"state": outcome.state, "problem": outcome.problem, "number": None})
        # What an attack loads first, and replays, is not of its time.
        deadline = time.monotonic() + seconds
        began = starts = 0
        while True:
            try:
                outcome = attack.attempt(random.Random(f"{seed}/{kind.name}/{number}"))
            except Exception:
                # The other attacks go on, and the table is written.
                outcome = Outcome("the attack failed", f"state {number}", traceback.format_exc(limit=-4))
            if _core_file() != core:
                raise SystemExit(
                    f"{_core.__file__}: was replaced during the attacks, which crashes processes that have it open; "
                    "run them again"
                )
            if outcome.kind == NOT_STARTED:
                starts += 1
                if not began and starts == _MAX_STARTS:
                    outcome = replace(outcome, problem=f"{outcome.state}, {starts} times")
            else:
                began += 1
            outcomes[outcome.kind] += 1
            if outcome.problem:
                _print_unexplained(kind.name, seed, number, outcome)
                result["unexplained"].append({"state": outcome.state, "problem": outcome.problem, "number": number})
            elif state is not None:
                print(f"{outcome.state}: {outcome.kind}")
            number += 1
            over = time.monotonic() > deadline and (began or starts >= _MAX_STARTS)
            if state is not None or over or len(result["unexplained"]) >= 20:
                break
    finally:
        attack.close()
    result["states"] = outcomes.total()
    result["outcomes"] = dict(outcomes.most_common())
    return result


def _core_file() -> tuple[int, int, int]:
    """Return what changes where a build writes a new core."""
    stat = Path(_core.__file__).stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _print_unexplained(name: str, seed: int, number: int, outcome: Outcome) -> None:
    print(f"\nunexplained: {outcome.state}\n  {outcome.kind}: {outcome.problem}")
    print(f"  replay: python -m tests.torture --seed {seed} --only '{name}' --state {number}", flush=True)


def _print_table(results: list[dict[str, Any]]) -> None:
    print(f"\n{'attack':<12} {'states':>8} {'unexplained':>12}  outcomes")
    for result in results:
        outcomes = ", ".join(f"{kind} {count:,}" for kind, count in result["outcomes"].items())
        unexplained = len(result["unexplained"])
        print(
            f"{result['attack']:<12} {result['states']:>8,} {unexplained:>12,}  {result.get('skipped') or outcomes}",
            flush=True,
        )
    ran = sum(result["states"] > 0 for result in results)
    unexplained = sum(len(result["unexplained"]) for result in results)
    print(f"{ran} of {len(results)} attacks ran; {unexplained:,} unexplained outcomes", flush=True)


if __name__ == "__main__":
    sys.exit(main())
