"""MTEB's retrieval and reranking tasks over a Serotine encoder or index.

    import mteb
    from serotine import Encoder
    from serotine.integrations.mteb import IndexSearch

    mteb.evaluate(IndexSearch(Encoder()), mteb.get_tasks(["SciFact"]))

`EncoderModel` evaluates the encoder; MTEB itself searches, exactly. `IndexSearch` evaluates the engine too: every
corpus becomes a Serotine index. MTEB joins titles, instructions and conversations to one text.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from serotine import maxsim
from serotine.encoders import Encoder
from serotine.errors import SerotineError, missing_extra
from serotine.index import Index, SearchOptions
from serotine.issued_warnings import muted_warnings

try:
    import torch
    from mteb._create_dataloaders import create_dataloader
    from mteb.models.model_meta import ModelMeta, ScoringFunction
    from mteb.types import PromptType
except ImportError as error:
    raise ImportError(missing_extra("serotine.integrations.mteb", "mteb")) from error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from serotine.text_encoder import TextEncoder

# Texts encoded and committed at once.
_TEXTS_AT_ONCE = 1024


class EncoderModel:
    """A late-interaction encoder as MTEB's `EncoderProtocol`.

    Args:
        encoder: any Serotine encoder, or a name for `serotine.Encoder`.
        revision: of a hub id.
        device: where torch runs, as for `Encoder`.
        name: its name in MTEB's results, "organization/model"; derived from the encoder's name unless given.
    """

    def __init__(
        self,
        encoder: TextEncoder | str,
        revision: str | None = None,
        *,
        device: str | None = None,
        name: str | None = None,
    ) -> None:
        self.encoder = Encoder(encoder, revision=revision, device=device) if isinstance(encoder, str) else encoder
        self.mteb_model_meta = _model_meta(self.encoder, name, {})

    def encode(self, inputs: Any, *, prompt_type: PromptType | None = None, **_: Any) -> list[NDArray[np.float32]]:
        """Return token vectors, one float32 (tokens, dim) array per text; as queries where `prompt_type` is query."""
        texts = [text for batch in inputs for text in batch["text"]]
        # A benchmark's texts are truncated as the model's card says.
        with muted_warnings():
            if prompt_type == PromptType.query:
                return self.encoder.encode_queries(texts)
            return self.encoder.encode_documents(texts)

    def similarity(self, embeddings1: Sequence[Any], embeddings2: Sequence[Any]) -> torch.Tensor:
        """Score every query in `embeddings1` with every document in `embeddings2`, float32 (queries, documents)."""
        documents = [_array(vectors) for vectors in embeddings2]
        rows = [maxsim.score(_array(query), documents) for query in embeddings1]
        return torch.from_numpy(np.array(rows, dtype=np.float32).reshape(len(embeddings1), len(documents)))

    def similarity_pairwise(self, embeddings1: Sequence[Any], embeddings2: Sequence[Any]) -> torch.Tensor:
        """Score query i with document i, float32 (pairs,)."""
        pairs = zip(embeddings1, embeddings2, strict=True)
        return torch.tensor([maxsim.score(_array(query), _array(document)) for query, document in pairs])


class IndexSearch:
    """MTEB's `SearchProtocol` on Serotine's index: it builds an index of each corpus and searches it.

    Args:
        encoder: any Serotine encoder, or a name for `serotine.Encoder`.
        folder: where the indexes are built and kept for the next run; a temporary folder, which is removed, unless
            given.
        exact: search with ``exact=True``.
        candidates: how many documents are scored over their codes, as in `Index.search`.
        name: its name in MTEB's results, "organization/model"; derived from the encoder's name unless given.
        options: for `Index.create`: `nbits`, `keep_vectors`, `centroids`.

    Raises:
        ValueError: `candidates` is less than 1, or given with `exact`.
    """

    def __init__(
        self,
        encoder: TextEncoder | str,
        *,
        folder: str | Path | None = None,
        exact: bool = False,
        candidates: int | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        # Before hours of encoding.
        SearchOptions(exact=exact, candidates=candidates)
        self.encoder = Encoder(encoder) if isinstance(encoder, str) else encoder
        self._folder = None if folder is None else Path(folder)
        self._exact, self._candidates, self._options = exact, candidates, options
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._index: Index | None = None
        search_options = {key: value for key, value in (("exact", exact), ("candidates", candidates)) if value}
        self.mteb_model_meta = _model_meta(self.encoder, name, {**options, **search_options})

    def index(
        self, corpus: Any, *, task_metadata: Any, hf_split: str, hf_subset: str, encode_kwargs: Any, **_: Any
    ) -> None:
        """Build an index of the corpus, or resume one that an earlier run left in `folder`."""
        self.close()
        root = self._folder
        if root is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="serotine-mteb-")
            root = Path(self._temporary.name)
        # Other texts, another encoder or other options need another index.
        key = repr((task_metadata.dataset, self.encoder.fingerprint, sorted(self._options.items())))
        digest = hashlib.sha256(key.encode()).hexdigest()[:12]
        path = root / "-".join((task_metadata.name, hf_subset, hf_split, digest)).replace("/", "_")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._index = Index.open_or_create(path, encoder=self.encoder, **self._options)
        loader = create_dataloader(
            corpus, task_metadata=task_metadata, prompt_type=PromptType.document, batch_size=_TEXTS_AT_ONCE
        )
        batches = ({"ids": [str(id_) for id_ in batch["id"]], "texts": list(batch["text"])} for batch in loader)
        show_progress = bool(encode_kwargs.get("show_progress_bar", False))
        self._index.add_batches(
            batches, expected_documents=len(corpus), show_progress=show_progress, long_texts="truncate"
        )

    def search(
        self,
        queries: Any,
        *,
        task_metadata: Any,
        top_k: int,
        top_ranked: Mapping[str, Sequence[str]] | None = None,
        **_: Any,
    ) -> dict[str, dict[str, float]]:
        """Return the best documents of every query, or of those in `top_ranked`, by MaxSim.

        Raises:
            SerotineError: nothing was indexed, or a document in `top_ranked` was not.
        """
        if self._index is None:
            raise SerotineError("IndexSearch: call index() before search()")
        loader = create_dataloader(queries, task_metadata=task_metadata, prompt_type=PromptType.query)
        with muted_warnings():
            vectors = self.encoder.encode_queries([text for batch in loader for text in batch["text"]])
        ids = [str(id_) for id_ in queries["id"]]
        if top_ranked is None:
            results = self._index.search_batch(vectors, top_k, exact=self._exact, candidates=self._candidates)
            return {id_: {hit.id: hit.score for hit in hits} for id_, hits in zip(ids, results, strict=True)}
        reranked: dict[str, dict[str, float]] = {}
        for id_, query in zip(ids, vectors, strict=True):
            candidates = list(top_ranked.get(id_, ()))
            scores = maxsim.score(query, [self._index.vectors(document) for document in candidates])
            ranking = sorted(zip(candidates, scores.tolist(), strict=True), key=lambda scored: -scored[1])
            reranked[id_] = dict(ranking[:top_k])
        return reranked

    def close(self) -> None:
        """Close the index; a temporary one is removed."""
        if self._index is not None:
            self._index.close()
            self._index = None
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None


def _array(vectors: Any) -> NDArray[Any]:
    return vectors.numpy(force=True) if isinstance(vectors, torch.Tensor) else np.asarray(vectors)


def _model_meta(encoder: TextEncoder, name: str | None, options: dict[str, Any]) -> ModelMeta:
    """Return MTEB's description of the model; the fingerprint as revision keeps its cache from mixing encoders."""
    short = encoder.name.split("@")[0]
    hub_id = short.count("/") == 1 and not short.startswith(("/", "."))
    name = name or (short if hub_id else f"serotine/{Path(short).name}")
    return ModelMeta.create_empty(
        overwrites={
            "name": name,
            "revision": encoder.fingerprint,
            "embed_dim": encoder.dim,
            "model_type": ["late-interaction"],
            "similarity_fn_name": ScoringFunction.MAX_SIM,
            "experiment_kwargs": options or None,
        }
    )
