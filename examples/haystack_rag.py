"""A Haystack pipeline that retrieves and reranks, and its YAML; needs the extra [haystack] and serotine-mini."""

from __future__ import annotations

import tempfile
from pathlib import Path

from haystack import Pipeline

from serotine import Encoder, Index
from serotine.integrations.haystack import SerotineRanker, SerotineRetriever

TEXTS = {
    "flutter": "Flutter is a vibration of a wing that feeds itself from the air flowing past.",
    "sweep": "A swept wing meets the air at an angle, which delays the drag rise near the speed of sound.",
    "reentry": "A blunt body keeps most of the heat of reentry in the air in front of it.",
    "bicycle": "A bicycle stays upright because it steers into the fall.",
}


def main() -> None:
    """Index four passages, save the pipeline, load it again and run it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "wings.serotine"
        with Index.create(path, encoder=Encoder()) as index:
            index.add(ids=list(TEXTS), texts=list(TEXTS.values()))

        pipeline = Pipeline()
        pipeline.add_component("retriever", SerotineRetriever(path, top_k=3))
        pipeline.add_component("ranker", SerotineRanker(top_k=2))
        pipeline.connect("retriever.documents", "ranker.documents")

        query = "why do wings vibrate"
        # Haystack loads components of other packages only from modules that are named.
        restored = Pipeline.loads(pipeline.dumps(), allowed_modules=["serotine.integrations.haystack"])
        result = restored.run({"retriever": {"query": query}, "ranker": {"query": query}})

        for document in result["ranker"]["documents"]:
            print(f"{document.score:6.2f}  {document.id}: {document.content}")


if __name__ == "__main__":
    main()
