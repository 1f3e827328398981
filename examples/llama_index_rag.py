"""A LlamaIndex query engine that retrieves and reranks; needs the extra [llama-index] and serotine-mini."""

from __future__ import annotations

import tempfile
from pathlib import Path

from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine

from serotine import Encoder, Index
from serotine.integrations.llama_index import SerotineReranker, SerotineRetriever

TEXTS = {
    "flutter": "Flutter is a vibration of a wing that feeds itself from the air flowing past.",
    "sweep": "A swept wing meets the air at an angle, which delays the drag rise near the speed of sound.",
    "reentry": "A blunt body keeps most of the heat of reentry in the air in front of it.",
    "bicycle": "A bicycle stays upright because it steers into the fall.",
}


def main() -> None:
    """Index four passages and query an engine with a mock language model."""
    encoder = Encoder()
    with tempfile.TemporaryDirectory() as folder, Index.create(Path(folder) / "wings", encoder=encoder) as index:
        index.add(ids=list(TEXTS), texts=list(TEXTS.values()))

        engine = RetrieverQueryEngine.from_args(
            SerotineRetriever(index, similarity_top_k=3),
            llm=MockLLM(),
            node_postprocessors=[SerotineReranker(encoder=encoder, top_n=2)],
        )
        response = engine.query("why do wings vibrate")

        for node in response.source_nodes:
            print(f"{node.get_score():6.2f}  {node.node_id}: {node.text}")


if __name__ == "__main__":
    main()
