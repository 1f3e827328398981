"""A LangChain chain that retrieves and reranks passages; needs the extra [langchain] and serotine-mini."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda, RunnablePassthrough

from serotine import Encoder, Index
from serotine.integrations.langchain import SerotineReranker, SerotineRetriever

TEXTS = {
    "flutter": "Flutter is a vibration of a wing that feeds itself from the air flowing past.",
    "sweep": "A swept wing meets the air at an angle, which delays the drag rise near the speed of sound.",
    "reentry": "A blunt body keeps most of the heat of reentry in the air in front of it.",
    "bicycle": "A bicycle stays upright because it steers into the fall.",
}


def main() -> None:
    """Index four passages, then retrieve the best two in a chain to which a language model can be added."""
    encoder = Encoder()
    with tempfile.TemporaryDirectory() as folder, Index.create(Path(folder) / "wings", encoder=encoder) as index:
        index.add(ids=list(TEXTS), texts=list(TEXTS.values()), metadata=[{"year": 2000 + i} for i in range(4)])

        retriever = SerotineRetriever(index=index, k=3, where={"year": {"<": 2003}})
        reranker = SerotineReranker(encoder=encoder, top_n=2)

        def rerank(inputs: dict[str, Any]) -> list[Document]:
            return reranker.compress_documents(inputs["documents"], inputs["query"])

        chain = {"documents": retriever, "query": RunnablePassthrough()} | RunnableLambda(rerank)

        for document in chain.invoke("why do wings vibrate"):
            print(f"{document.metadata['relevance_score']:6.2f}  {document.id}: {document.page_content}")


if __name__ == "__main__":
    main()
