"""What sentence-transformers' trainer notes of a training, for a model whose card is not written."""

from __future__ import annotations

from typing import Any

from sentence_transformers import SentenceTransformerModelCardData


class ModelCardData(SentenceTransformerModelCardData):
    """Notes without the datasets' statistics, for which the library would tokenise them with a model of its own."""

    def extract_dataset_metadata(self, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        """None."""
        return []

    def set_widget_examples(self, *args: Any, **kwargs: Any) -> None:
        """None."""
