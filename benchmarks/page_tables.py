"""The tables of the benchmarks page: each function yields the Markdown lines of one file of results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yield the lines of a table in Markdown."""
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(_cell(value) for value in row)} |"


def _cell(value: object) -> str:
    # A type such as FLOAT[128][] would be read as a link.
    return str(value).replace("][", "]\\[")


def kernels(results: Any) -> Iterator[str]:
    """Speed and largest error of every method, by workload."""
    rows = [row for row in results["rows"] if (row["dim"], row["threads"]) == (128, 1)]
    workloads = list(dict.fromkeys(row["workload"] for row in rows))
    speeds: dict[str, dict[str, float]] = {}
    errors: dict[str, float] = {}
    for row in rows:
        speeds.setdefault(row["method"], {})[row["workload"]] = row["documents_per_second"]
        errors[row["method"]] = max(errors.get(row["method"], 0.0), row["max_error"])
    yield from table(
        ["method", *workloads, "largest error of a score"],
        (
            [method, *(f"{speed[name]:.1f}" if name in speed else "" for name in workloads), f"{errors[method]:.1e}"]
            for method, speed in speeds.items()
        ),
    )


def databases(results: Any) -> Iterator[str]:
    """Time and error of every method, with the C library's defaults and with memory kept."""
    kept = {row["method"]: row for row in results["memory_kept"]}
    yield from table(
        ["method", "documents", "ms", "times `top_k`", "memory kept: ms", "times `top_k`", "largest error"],
        (
            [
                row["method"],
                f"{row['documents']:,}",
                f"{row['milliseconds']:,.0f}",
                row.get("times_top_k", ""),
                f"{kept[row['method']]['milliseconds']:,.0f}",
                kept[row["method"]].get("times_top_k", ""),
                f"{row['max_error']:.1e}",
            ]
            for row in results["default"]
        ),
    )


def index(results: Any) -> Iterator[str]:
    """Building, searching, proofs and peers."""
    collection = results["collection"]
    yield (
        f"{collection['documents']:,} passages, {collection['tokens']:,} tokens of {collection['encoder']} with "
        f"{collection['dim']} dimensions, {collection['queries']} queries of at most 32 tokens. Building uses both "
        "cores. The default asks for 0.99 of the exact hits.\n"
    )
    yield from table(
        ["stored as", "build, s", "peak memory, MB", "disk, MB", "bytes per token"],
        (
            [
                row["engine"],
                f"{row['build_seconds']:.1f}",
                f"{row['build_peak_bytes'] / 1e6:,.0f}",
                f"{row['disk_bytes'] / 1e6:,.0f}",
                f"{row['bytes_per_token']:.1f}",
            ]
            for row in results["built"]
        ),
    )
    yield ""
    yield from operating_points([row["engine"], collection["documents"], row] for row in results["searched"])
    exact = [row for row in results["searched"] if "certified" in row["notes"]]
    yield "\n`exact=True`, ten hits:\n"
    yield from table(
        ["stored as", "equal to brute force", "proved exact", "passages scored over their vectors, median"],
        (
            [
                row["engine"],
                *(
                    f"{row['notes'][name]} of {row['notes']['queries']}"
                    for name in ("equal_to_brute_force", "certified")
                ),
                f"{row['notes']['median_rescored']:,.0f}",
            ]
            for row in exact
        ),
    )
    yield (
        "\nPeers, each in its own process, on the same vectors or the first of them, 100 hits. xtr-warp imputes what "
        "it did not retrieve, so its order is not MaxSim's; its build of 5,000 passages did not end in four minutes. "
        "Not measured: tachiom 0.4.0, which has no wheel for this Python, and colsearch 0.1.7, whose license (CC "
        "BY-NC 4.0) forbids commercial use.\n"
    )
    yield from table(
        ["engine", "passages", "build, s", "peak memory, MB", "disk, MB"],
        (
            [
                f"{peer['engine']} {peer['version']}",
                f"{peer['documents']:,}",
                peer.get("error", f"{peer.get('build_seconds', 0):.1f}"),
                f"{peer['build_peak_bytes'] / 1e6:,.0f}",
                f"{peer['disk_bytes'] / 1e6:,.0f}" if "disk_bytes" in peer else "",
            ]
            for peer in results["peers"]
        ),
    )
    yield ""
    yield from operating_points(
        [f"{peer['engine']} {peer['version']}", peer["documents"], row]
        for peer in results["peers"]
        for row in peer.get("searched", [])
    )


def operating_points(rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Yield engines, their numbers of passages, and rows of time and recall as a table."""
    yield from table(
        ["engine", "passages", "setting", "p50, ms", "p95, ms", "p99, ms", "recall@10", "recall@100"],
        (
            [
                engine,
                f"{documents:,}",
                row["setting"],
                f"{row['p50_ms']:.1f}",
                f"{row['p95_ms']:.1f}",
                f"{row['p99_ms']:.1f}" if "p99_ms" in row else "",
                *_recalls(row),
            ]
            for engine, documents, row in rows
        ),
    )


def _recalls(row: dict[str, Any]) -> tuple[str, str]:
    """Return recall at 10 and at 100, that at k with its interval where it was computed."""
    error = f" ± {row['recall_error']:.3f}" if row.get("recall_error") else ""
    at_10, at_100 = f"{row['recall_at_10']:.3f}", row["recall_at_100"]
    return (f"{at_10}{error}", "") if at_100 is None else (at_10, f"{at_100:.3f}{error}")


def million(results: Any) -> Iterator[str]:
    """Building and searching a million passages."""
    seconds = sum(session["seconds"] for session in results["built"]["sessions"])
    peak = max(session["peak_anonymous_bytes"] for session in results["built"]["sessions"])
    yield (
        f"{results['documents']:,} passages, {results['tokens']:,} tokens; built in {seconds / 60:.1f} minutes, "
        f"{peak / 1e9:.2f} GB peak anonymous memory, {results['bytes_per_token']:.0f} bytes per token, "
        f"{results['segments']} segments, as large as the disk's free space allows.\n"
    )
    yield from table(
        [
            "k",
            "effort",
            "p50, ms",
            "p95, ms",
            "p99, ms",
            "recall@10",
            "recall@100",
            "scores of the ten hits / of the ten best",
        ],
        (
            [
                row["k"],
                effort(row),
                f"{row['p50_ms']:.1f}",
                f"{row['p95_ms']:.1f}",
                f"{row['p99_ms']:.1f}" if "p99_ms" in row else "",
                *_recalls(row),
                f"{row['score_share']:.4f}",
            ]
            for row in results["searched"]
        ),
    )


def effort(row: dict[str, Any]) -> str:
    """Return the effort that a search was asked for."""
    return next((f"{name}={row[name]}" for name in ("recall", "candidates") if row.get(name) is not None), "default")


def end_to_end(results: Any) -> Iterator[str]:
    """Seconds, memory and quality from a folder of texts to answers."""
    collection = results["collection"]
    yield f"{collection['documents']:,} files of {collection['name']}, {collection['queries']} queries one at a time.\n"
    yield from table(
        ["engine", "index, s", "first answer, s", "p50, ms", "p99, ms", "memory, MB", "index, MB", "nDCG@10", "R@100"],
        (
            [
                f"{row['engine']} ({', '.join(f'{name} {version}' for name, version in row['versions'].items())})",
                f"{row['seconds_to_index']:.1f}",
                f"{row['seconds_to_first_answer']:.1f}",
                f"{row['query_p50_ms']:.1f}",
                f"{row['query_p99_ms']:.1f}",
                f"{row['peak_bytes'] / 1e6:,.0f}",
                f"{row['index_bytes'] / 1e6:,.1f}",
                f"{row['nDCG@10'] * 100:.1f}",
                f"{row['R@100'] * 100:.1f}",
            ]
            for row in results["engines"]
        ),
    )


def serving(results: Any) -> Iterator[str]:
    """Requests per second and latency."""
    yield from table(
        ["engine", "queries as", "per second", "p50, ms", "p95, ms", "p99, ms", "errors", "recall@10"],
        (
            [
                row["engine"] + (f", while {row['added']:,} documents are added" if "added" in row else ""),
                row["query_format"],
                f"{row['per_second']:.1f}",
                *(f"{row[name]:.0f}" for name in ("p50_ms", "p95_ms", "p99_ms")),
                row["errors"],
                "" if row["recall_at_10"] is None else f"{row['recall_at_10']:.3f}",
            ]
            for row in results["rows"]
        ),
    )


def shards_on_ray(results: Any) -> Iterator[str]:
    """Latency and throughput of shards beside those of one process."""
    collection = results["collection"]
    yield (
        f"{collection['documents']:,} documents, {collection['queries']} queries one at a time, then "
        f"{results['clients']} clients.\n"
    )
    yield from table(
        ["system", "p50, ms", "p99, ms", "call, p50, ms", "queries per second", "queries with other hits"],
        (
            [
                row["name"],
                f"{row['p50_ms']:.2f}",
                f"{row['p99_ms']:.2f}",
                "" if row["call"] is None else f"{row['call']['p50_ms']:.2f}",
                f"{row['queries_per_second']:.0f}",
                row["different_hits"],
            ]
            for row in results["systems"]
        ),
    )


def quality(results: Any) -> Iterator[str]:
    """nDCG@10 of systems by collection."""
    yield f"Encoder: {results['encoder']}; backend: {results['backend']}.\n"
    yield from table(
        ["collection", "documents", "queries", "BM25", "one vector per text", "late interaction"],
        (
            [row["collection"], f"{row['documents']:,}", row["queries"], row["bm25"], row["pooled"], row["late"]]
            for row in results["rows"]
        ),
    )


def mini(results: Any) -> Iterator[str]:
    """nDCG@10 of serotine-mini and what it is compared with."""
    ndcg = {(row["system"], row["collection"]): row["metrics"]["nDCG@10"] for row in results["results"]}
    systems = ("bm25", "minilm (pooled)", "minilm", "serotine-mini")
    collections = sorted({collection for system, collection in ndcg if system == "serotine-mini"})
    yield f"{results['note']}\n"
    yield from table(
        ["collection", *systems],
        (
            [name, *(f"{100 * ndcg[system, name]:.1f}" if (system, name) in ndcg else "" for system in systems)]
            for name in collections
        ),
    )


def p_value(value: float) -> str:
    """Return the p of a test, as it is in the tables."""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def multi(results: Any) -> Iterator[str]:
    """nDCG@10 of serotine-multi and what it is compared with."""
    yield from table(
        ["collection", "BM25", "base, late, untrained", "serotine-multi", "p against base"],
        (
            [name, row["bm25"], row["base_late"], row["serotine_multi"], p_value(row["p_against_base"])]
            for name, row in (results["test_sets"] | results["english_held_back"]).items()
        ),
    )


def compression(results: Any) -> Iterator[str]:
    """nDCG@10 by bytes per token."""
    yield from table(
        ["stored as", "bytes per token", "p50, ms", "nDCG@10", "recall@10"],
        (
            [
                row["engine"],
                f"{row['bytes_per_token']:.1f}",
                f"{row['p50_ms']:.1f}",
                f"{100 * row['ndcg_at_10']:.1f}",
                f"{row['recall_at_10']:.3f}",
            ]
            for row in results["searched"]
            if (row["k"], row["setting"]) == (10, "default")
        ),
    )


def xtr(results: Any) -> Iterator[str]:
    """Quality by the number of tokens retrieved, beside exact MaxSim."""
    sizes = [row["k_token"] for row in results["rows"][0]["xtr"]]

    def cell(row: Any) -> str:
        return f"{difference(row)} ({row['documents_retrieved']:.0%})"

    yield from table(
        ["collection", "queries", "MaxSim", *(f"{size:,} tokens" for size in sizes)],
        (
            [row["collection"], row["queries"], f"{100 * row['maxsim_ndcg_at_10']:.1f}", *map(cell, row["xtr"])]
            for row in results["rows"]
        ),
    )

    def search(row: Any) -> str:
        return f"{difference(row)}, {row['recall_at_10']:.3f}, {row['milliseconds']:.2f}"

    yield (
        '\n`Index.search(mode="xtr")` over an index of these vectors, beside its staged search (`recall=0.99`): '
        "nDCG@10 in percent, or the difference to the staged search; the share found of the ten best by MaxSim; "
        "milliseconds per query. A search by XTR promises no recall. Where an index has no codes, both read every "
        "vector.\n"
    )
    yield from table(
        ["collection", "codes", "staged search", *(f"{size:,} tokens" for size in sizes)],
        (
            [
                row["collection"],
                "yes" if row["index"]["coded"] else "no",
                f"{100 * staged['ndcg_at_10']:.1f}, {staged['recall_at_10']:.3f}, {staged['milliseconds']:.2f}",
                *map(search, row["index"]["xtr"]),
            ]
            for row in results["rows"]
            if "index" in row
            for staged in [row["index"]["search"]]
        ),
    )
    if busy := results.get("timed_on"):
        yield f"\nMilliseconds are of {busy}."


def late_chunking(results: Any) -> Iterator[str]:
    """Quality of late chunking and titles beside ordinary passages, by encoder, collection and length."""

    def cell(row: Any) -> str:
        if row is None:
            return ""
        return f"{100 * row['nDCG@10']:.1f} ({difference(row)})"

    rows = []
    for collection in results["collections"]:
        by_key = {(row["length"], row["system"]): row for row in collection["rows"]}
        for length in dict.fromkeys(row["length"] for row in collection["rows"]):
            chunks, late = by_key[length, "chunks"], by_key[length, "late"]
            rows.append(
                [
                    collection["encoder"],
                    collection["collection"],
                    collection["queries"],
                    f"{collection['tokens_of_a_document']:.0f}",
                    length,
                    f"{100 * chunks['nDCG@10']:.1f}",
                    cell(by_key.get((length, "titles"))),
                    cell(late),
                    difference(late["to_titles"]) if "to_titles" in late else "",
                ]
            )
    columns = ["encoder", "collection", "queries", "tokens a document", "tokens a passage", "alone", "titles", "late"]
    columns.append("late - titles")
    yield from table(columns, rows)


def difference(row: Any) -> str:
    """Return a difference in percent, bold where it is significant."""
    shown = f"{100 * row['difference']:+.1f}"
    return f"**{shown}**" if row["corrected_p"] < 0.05 else shown


def parity(results: Any) -> Iterator[str]:
    """Agreement with PyLate."""
    yield from table(
        ["compared", "agreement"],
        (
            [name, ", ".join(f"{key} {value:.3g}" for key, value in row.items() if key not in ("theirs", "ours"))]
            for name, row in results["measured"].items()
        ),
    )


def min_score(results: Any) -> Iterator[str]:
    """Queries refused and accepted by every threshold."""
    kinds = list(next(iter(results["thresholds"].values())))
    yield from table(
        ["min_score", *kinds],
        ([name, *(f"{row[kind]:.1%}" for kind in kinds)] for name, row in results["thresholds"].items()),
    )


def shards(results: Any) -> Iterator[str]:
    """Latency of simulated shards."""
    service, collection = results["service"], results["collection"]
    load = results["load_average_before"]
    busy = f", while other programs ran (load average {load:.1f})" if load >= 1 else ""
    yield (
        f"Measured: {service['samples']:,} searches of {collection['shards']} shards with {collection['documents']:,} "
        f"documents of {collection['name']} in all, {collection['dim']} dimensions: "
        f"p50 {service['p50_ms']:.2f} ms, p99 {service['p99_ms']:.2f} ms, slowest "
        f"{service['max_ms']:.2f} ms of processor time{busy}. No simulated shard is slower than the slowest of the "
        f"{service['samples'] // collection['queries']} times of its query, but for its queue and its condition.\n"
    )
    modes = {(1, False): "1 replica", (2, False): "2 replicas", (2, True): "2, hedged"}
    by_setting = {(row["condition"], row["shards"], row["replicas"], row["hedged"]): row for row in results["rows"]}
    conditions, sizes = (list(dict.fromkeys(key[position] for key in by_setting)) for position in (0, 1))
    yield from table(
        ["p50 / p99, ms", "shards", *modes.values()],
        (
            [
                condition,
                f"{shards:,}",
                *(
                    f"{row['p50_ms']:.1f} / {row['p99_ms']:.1f}"
                    for row in (by_setting[condition, shards, *mode] for mode in modes)
                ),
            ]
            for condition in conditions
            for shards in sizes
        ),
    )
    merged = ", ".join(f"{row['p50_ms']:.2f} ms of {row['shards']:,}" for row in results["merge"])
    extra = max(row["second_requests"] for row in results["rows"])
    yield f"\nMerging takes {merged} shards, and is included. Hedging sends at most {extra:.1%} more requests."
