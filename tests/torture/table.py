"""The table of docs/reliability.md, from the results of a run: ``python -m tests.torture.table`` writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
RESULTS = Path(__file__).with_name("results.json")
_START, _END = "<!-- The table is written by `python -m tests.torture.table`. -->\n", "<!-- End of the table. -->\n"
# What each attack does, in the order of the table.
SUMMARIES = {
    "faults": "one system call of a change fails, once or for good, or writes less",
    "power loss": "writes that were not synced are dropped, reordered or torn",
    "kills": "SIGKILL at a random moment of a change",
    "index kills": "SIGKILL at random moments of `serotine index`, which then continues",
    "upload kills": "a server that indexes uploads, with 1 and 4 workers, ended by SIGKILL",
    "shard kills": "SIGKILL of processes of a sharded index on a Ray cluster, which answer queries or build it",
    "damage": "bits flipped, files cut, zeroed, swapped or grown, at 2, 4 and 8 bits",
    "fuzzing": "mutated files, mutated contents of office files, within 1 GiB; hostile filters, metadata, requests",
    "native": "codec and search of random shapes, under AddressSanitizer and UBSan, or ThreadSanitizer",
    "bindings": "200 malformed calls of the compiled core, under AddressSanitizer and UBSan",
    "model": "five times 30 random changes, forks and searches, compared with a dictionary and NumPy",
    "load": "a server with writers, readers, 200 idle connections and a slow client, ended in the middle",
}


def table(results: dict[str, Any]) -> str:
    """Return when and where a run was, and what became of each attack's states."""
    machine = results["machine"]
    commit = f" of commit {results['commit']}" if results.get("commit") else ""
    lines = [
        f"{results['minutes']:g} minutes of `make torture`{commit}, seed {results['seed']}, on {machine['date']}: "
        f"{machine['cores']} cores ({machine['processor']}), {results['system']}, Python {machine['python']}.",
        "",
        "| attack | states | unexplained | what happens, and what became of it |",
        "|---|---|---|---|",
    ]
    for attack in results["attacks"]:
        name = attack["attack"]
        outcomes = "; ".join(f"{count:,} {kind}" for kind, count in attack["outcomes"].items())
        became = f"Skipped: {attack['skipped']}" if "skipped" in attack else outcomes
        lines.append(
            f"| {name} | {attack['states']:,} | {len(attack['unexplained']):,} | {SUMMARIES[name]}. {became} |"
        )
    return "\n".join(lines) + "\n"


def page() -> str:
    """Return the page with the table of the committed results."""
    before, _, rest = PAGE.read_text("utf-8").partition(_START)
    after = rest.partition(_END)[2]
    return f"{before}{_START}\n{table(json.loads(RESULTS.read_text('utf-8')))}\n{_END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
