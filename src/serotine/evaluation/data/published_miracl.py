"""Published figures of MIRACL: nDCG@10 on the dev queries of version 1.0, over each language's whole corpus.

From Pyserini's two-click reproductions, https://castorini.github.io/pyserini/2cr/miracl.html (pyserini/2cr/miracl.yaml
at commit 0a0be29): its conditions `bm25` and `mdpr-tied-pft-msmarco`.
"""

from __future__ import annotations

from serotine.evaluation.data.benchmarks import MIRACL18

METRIC = "nDCG@10"
# In the order of MIRACL18.
_BM25 = (
    *(0.4809, 0.5079, 0.2262, 0.3506, 0.3193, 0.3568, 0.5513, 0.1832, 0.4578),
    *(0.4486, 0.3689, 0.4533, 0.3342, 0.3826, 0.4942, 0.4838, 0.4059, 0.1801),
)
_MDPR = (
    *(0.4993, 0.4427, 0.4895, 0.3938, 0.4777, 0.4800, 0.4721, 0.4352, 0.3830),
    *(0.2719, 0.4390, 0.4189, 0.4073, 0.2990, 0.3557, 0.3578, 0.4439, 0.5116),
)
PUBLISHED = {
    "BM25, published": dict(zip(MIRACL18, _BM25, strict=True)),
    "mDPR, published": dict(zip(MIRACL18, _MDPR, strict=True)),
}
"""The figure of a language, by system."""
