"""The retrieval program of pplx-embed-v1-late-0.6b's model card, with one import line changed.

``python examples/pylate_retrieval.py [MODEL]``; without a network, MODEL is a folder. The card's
``trust_remote_code=True`` is unchanged, and a warning says that it has no effect: no code of a checkpoint is run.
"""

import sys

from serotine.integrations.pylate import indexes, models, retrieve  # the card: from pylate import …

MODEL = sys.argv[1] if len(sys.argv) > 1 else "perplexity-ai/pplx-embed-v1-late-0.6b"

model = models.ColBERT(
    model_name_or_path=MODEL,
    trust_remote_code=True,
)

documents_ids = ["1", "2", "3"]
documents = [
    "Scientists explore the universe driven by curiosity.",
    "Children learn through curious exploration.",
    "Historical discoveries began with curious questions.",
]

index = indexes.PLAID(
    index_folder="pylate-index",
    index_name="pplx-embed-v1-late-0.6b",
    override=True,
)
documents_embeddings = model.encode(documents, batch_size=32, is_query=False, show_progress_bar=True)
index.add_documents(documents_ids=documents_ids, documents_embeddings=documents_embeddings)

retriever = retrieve.ColBERT(index=index)
queries_embeddings = model.encode(
    ["What motivates scientific discovery?"], batch_size=32, is_query=True, show_progress_bar=True
)
scores = retriever.retrieve(queries_embeddings=queries_embeddings, k=3)
print(scores)
