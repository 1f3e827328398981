"""A LangChain chain that retrieves, reranks and answers; needs the extra [langchain] and serotine-mini."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from langchain_core.documents import Document
from langchain_core.language_models.fake_chat_models import ParrotFakeChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough

from serotine import Encoder, Index
from serotine.integrations.langchain import SerotineReranker, SerotineRetriever

TEXTS = {
    "flutter": "Flutter is a vibration of a wing that feeds itself from the air flowing past.",
    "sweep": "A swept wing meets the air at an angle, which delays the drag rise near the speed of sound.",
    "reentry": "A blunt body keeps most of the heat of reentry in the air in front of it.",
    "bicycle": "A bicycle stays upright because it steers into the fall.",
}
PROMPT = "Answer from these passages, and cite their ids:\n{passages}\nQuestion: {query}"


def main() -> None:
    """Index four passages, and answer a question from the best two of them."""
    encoder = Encoder()
    with tempfile.TemporaryDirectory() as folder, Index.create(Path(folder) / "wings", encoder=encoder) as index:
        index.add(ids=list(TEXTS), texts=list(TEXTS.values()), metadata=[{"year": 2000 + i} for i in range(4)])

        retriever = SerotineRetriever(index=index, k=3, where={"year": {"<": 2003}})
        reranker = SerotineReranker(encoder=encoder, top_n=2)

        def rerank(inputs: dict[str, Any]) -> list[Document]:
            return list(reranker.compress_documents(inputs["documents"], inputs["query"]))

        def show(documents: list[Document]) -> str:
            return "\n".join(f"{document.id}: {document.page_content}" for document in documents)

        find = {"documents": retriever, "query": RunnablePassthrough()} | RunnableLambda(rerank)
        # A fake model that repeats its prompt: put `ChatOllama(model=...)` or another chat model in its place.
        model = ParrotFakeChatModel()
        prompt = ChatPromptTemplate.from_template(PROMPT)
        chain = {"passages": find | show, "query": RunnablePassthrough()} | prompt | model | StrOutputParser()

        print(chain.invoke("why do wings vibrate"))


if __name__ == "__main__":
    main()
