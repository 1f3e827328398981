"""The attacks of tests/torture, for half a minute; `python -m tests.torture` runs them for longer."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from torture import __main__ as runner
from torture.outcomes import Attack, Outcome

ROOT = Path(__file__).parents[1]
ATTACKS = ("faults", "power loss", "kills", "damage", "fuzzing", "model")


@pytest.mark.skipif(sys.platform != "linux", reason="the attacks fork, and read /proc")
def test_no_outcome_is_unexplained(tmp_path: Path) -> None:
    result = tmp_path / "torture.json"
    command = [sys.executable, "-m", "tests.torture", "--seed", "1", "--minutes", "0.5", "--json", str(result)]
    chosen = [word for name in ATTACKS for word in ("--only", name)]
    run = subprocess.run([*command, *chosen], cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert run.returncode == 0, run.stdout + run.stderr
    attacks = {attack["attack"]: attack for attack in json.loads(result.read_text())["attacks"]}
    assert sorted(attacks) == sorted(ATTACKS)
    assert all(attack["states"] or "skipped" in attack for attack in attacks.values())


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
