"""Names of BERT's tensors within a layer, in the order in which a layer computes them."""

from __future__ import annotations

MATRICES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_out": "attention.output.dense",
    "feed_in": "intermediate.dense",
    "feed_out": "output.dense",
}
NORMS = {"attention_norm": "attention.output.LayerNorm", "feed_norm": "output.LayerNorm"}
