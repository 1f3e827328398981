"""Planning a sharded index: constants are those of the committed results, formulas are those of the documentation."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from test_cli import Shell, shell

from serotine.distributed import Assumptions, plan
from serotine.distributed.measured_constants import MEASURED, MeasuredConstants

__all__ = ["shell"]

RESULTS = Path(__file__).parents[1] / "benchmarks/results"
ROUND = MeasuredConstants(
    largest_tokens=1e8, largest_search_ms=10, small_tokens=1e6, small_search_ms=0.1,
    overhead_bytes_per_token=8, bytes_per_document=100,
    encoded_tokens_per_second=1e4, encoded_query_ms=2, indexed_tokens_per_second=2e4,
    fan_out=((1, 1.0, 1.5), (100, 2.0, 3.5), (1000, 3.0, 4.0)), merge=((10, 0.1), (1000, 4.0)),
)  # fmt: skip


def results(name: str) -> Any:
    return json.loads((RESULTS / name).read_text())


def median_search_ms(rows: Any, **setting: object) -> float:
    (row,) = (row for row in rows if all(row[name] == value for name, value in setting.items()))
    return float(row["p50_ms"])


def test_constants_are_those_of_the_committed_results() -> None:
    million, index, encoding = results("million.json"), results("index.json"), results("encoding.json")
    shards = results("shards.json")
    dim, tokens = million["origin"]["dim"], index["collection"]["tokens"]
    (built,) = (row for row in index["built"] if row["engine"] == "4 bits")
    native = "serotine, native int8"
    expected = MeasuredConstants(
        largest_tokens=million["tokens"],
        largest_search_ms=median_search_ms(million["searched"][:1], k=10),
        small_tokens=tokens,
        small_search_ms=median_search_ms(index["searched"], engine="4 bits", setting="default, k=10"),
        overhead_bytes_per_token=million["bytes_per_token"] - 2 * dim - dim * 4 / 8,
        bytes_per_document=(built["disk_bytes"] - tokens * (built["bytes_per_token"] + 2 * dim))
        / index["collection"]["documents"],
        encoded_tokens_per_second=encoding["lengths"]["threads=1"]["96"][native]["tokens_per_second"],
        encoded_query_ms=encoding["query_of_12_tokens"]["cold"][native]["median"] * 1e3,
        indexed_tokens_per_second=million["tokens"]
        / million["built"]["sessions"][0]["seconds"]
        / million["machine"]["cores"],
        fan_out=[(row["shards"], row["p50"], row["p99"]) for row in shards["fan_out"]],
        merge=[(row["shards"], row["p50_ms"]) for row in shards["merge"]],
    )
    for name in MeasuredConstants.__dataclass_fields__:
        copied, measured = getattr(MEASURED, name), getattr(expected, name)
        if name in ("fan_out", "merge"):
            assert [list(row) for row in copied] == [pytest.approx(list(row), rel=2e-3) for row in measured], name
        else:
            assert copied == pytest.approx(measured, rel=1e-3), name


def test_formulas() -> None:
    planned = plan(
        100_000_000, 100, qps=10, nbits=2, replicas=2, measured=ROUND,
        assumptions=Assumptions(
            node_cores=10, node_memory_gb=100, node_disk_gb=1000, utilization=0.5, process_memory_gb=1,
            text_bytes_per_token=10, call_ms=5,
        ),
    )  # fmt: skip
    assert (planned.shards, planned.tokens_per_shard, planned.is_extrapolated) == (100, 1e8, False)
    # 10 billion tokens of 40 bytes of codes, 256 of vectors and 10 of text, and 100 bytes per document.
    assert planned.object_bytes == pytest.approx(1e10 * 306 + 1e10)
    assert planned.disk_bytes == 2 * planned.object_bytes
    assert planned.memory_bytes == pytest.approx(2 * (4e11 + 100 * 1e9))
    assert planned.shard_ms == pytest.approx(10)
    assert planned.merge_ms == pytest.approx(0.4)
    assert planned.query_processor_ms == pytest.approx(2 + 100 * 10 + 0.4)
    assert planned.nodes_by_resource == {"processors": 3, "memory": 20, "disk": 13}
    assert (planned.nodes, planned.cost_driver) == (20, "memory")
    assert planned.encode_core_hours == pytest.approx(1e6 / 3600)
    assert planned.index_core_hours == pytest.approx(5e5 / 3600)
    # A task builds a shard, so that 100 of the 200 cores work.
    assert planned.build_hours == pytest.approx(1.5e6 / 3600 / 100)
    assert planned.latency_p50_ms == pytest.approx(2 + 5 + 10 / 0.5 * 2 + 0.4)
    assert planned.latency_p99_ms == pytest.approx(2 + 5 + 10 / 0.5 * 3.5 + 0.4)


def test_constants_between_and_beyond_what_was_measured() -> None:
    assert ROUND.slowest(1) == (1.0, 1.5)
    assert ROUND.slowest(10) == pytest.approx((1.5, 2.5))
    assert ROUND.slowest(1000) == ROUND.slowest(50_000) == (3.0, 4.0)
    assert ROUND.search_ms(5e7) == pytest.approx(5)
    assert plan(1000, 100_001, qps=1, shards=1, measured=ROUND).is_extrapolated


def test_replicas_are_on_machines_of_their_own() -> None:
    assert plan(1000, 50, qps=0.1).nodes == 1
    assert plan(1000, 50, qps=0.1, replicas=3).nodes == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"documents": 0}, "documents: must be above 0"),
        ({"tokens": float("nan")}, "tokens: must be above 0, up to 1e+15, got nan"),
        ({"qps": float("inf")}, "qps: must be above 0"),
        ({"nbits": 3}, "nbits: must be one of 2, 4, 8, got 3"),
        ({"shards": 0}, "shards: must be above 0"),
        ({"assumptions": Assumptions(utilization=1)}, "utilization: must be below 1, got 1"),
        ({"assumptions": Assumptions(call_ms=-1)}, "call_ms: must be above 0"),
    ],
)
def test_bad_amounts_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="^" + message.replace("+", r"\+")):
        plan(**{"documents": 10, "tokens": 10, "qps": 1} | change)


def test_the_command(shell: Shell) -> None:
    command = ["plan", "--documents", "1e9", "--tokens", "80", "--nbits", "2", "--qps", "500"]
    printed = shell(*command)
    for row in ("Nodes", "Memory", "Disk", "Object storage", "Build", "Latency", "Cost driver"):
        assert f"\n{row} " in printed
    assert "3 ms per call of a shard (--call-ms)" in printed.partition("Assumed, not measured:")[2]
    assert "Given:" not in printed
    expected = plan(1_000_000_000, 80, qps=500, nbits=2)
    result = shell.json(*command)
    assert result["nodes"] == expected.nodes
    assert result["latency_p99_ms"] == pytest.approx(expected.latency_p99_ms)
    assert (result["assumptions"]["call_ms"], result["overridden"]) == (3, [])
    given = shell(*command, "--call-ms", "9", "--shards", "20")
    assert "9 ms per call of a shard (--call-ms)" in given.partition("Given:")[2]
    assert "Extrapolated: " in given


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--documents", "0"], "'--documents': must be a whole number above 0, up to 1e15, got '0'"),
        (["--documents", "1.5"], "'--documents': must be a whole number, got '1.5'"),
        (["--tokens", "nan"], "'--tokens': must be a number above 0, up to 1e15, got 'nan'"),
        (["--qps", "many"], "'--qps': must be a number above 0, up to 1e15, got 'many'"),
        (["--nbits", "3"], "'--nbits': '3' is not one of '2', '4', '8'"),
        (["--utilization", "1"], "'--utilization': must be below 1, got 1"),
    ],
)
def test_bad_options_are_one_line(shell: Shell, arguments: list[str], message: str) -> None:
    error = shell.fails("plan", "--documents", "10", "--tokens", "80", "--qps", "1", *arguments, status=2)
    assert message in error
    assert error.count("\n") <= 1


def test_planning_imports_no_ray() -> None:
    program = "import sys; from serotine.distributed import plan; plan(10, 10, qps=1); print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
