"""`utils`: PyLate's data collator, distillation datasets, and helpers of its training scripts."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from serotine.integrations.pylate.ignored_parameters import warn_ignored

__all__ = ["ColBERTCollator", "KDProcessing", "convert_to_tensor", "gather", "iter_batch", "rank_and_size"]

T = TypeVar("T")

_IGNORED = {
    "router_mapping": (None, "models have no routers"),
    "include_prompt_lengths": (False, "every token of a prompt is scored"),
    "all_special_ids": (None, "prompt lengths are not used"),
}


class ColBERTCollator:
    """A collator for sentence-transformers' trainer: rows of a dataset to a batch of token ids.

    A column holds queries where its name contains "query" or "anchor", and documents otherwise; a column of lists is
    flattened. Columns whose names contain "_id" are dropped.

    Args:
        tokenize_fn: `ColBERT.tokenize`.
        valid_label_columns: the first of these that exists holds the labels; "label" and "scores" unless given.
        prompts: text to prepend to every text: of all columns, by column, or by dataset and column.
        router_mapping, include_prompt_lengths, all_special_ids: without effect.
    """

    def __init__(
        self,
        tokenize_fn: Callable[..., dict[str, Tensor]],
        valid_label_columns: list[str] | None = None,
        router_mapping: dict[str, Any] | None = None,
        prompts: str | dict[str, Any] | None = None,
        include_prompt_lengths: bool = False,
        all_special_ids: set[int] | None = None,
    ) -> None:
        ignored = {
            "router_mapping": router_mapping or None,
            "include_prompt_lengths": include_prompt_lengths,
            "all_special_ids": all_special_ids or None,
        }
        warn_ignored("utils.ColBERTCollator", _IGNORED, ignored, stacklevel=2)
        self.tokenize_fn = tokenize_fn
        self.valid_label_columns = ["label", "scores"] if valid_label_columns is None else valid_label_columns
        self.prompts = prompts or {}

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        """Return ``<column>_input_ids`` and ``<column>_attention_mask``; "label" and "dataset_name" if rows have them.

        Raises:
            ValueError: prompts are given by dataset, and the rows name none.
        """
        columns = [name for name in features[0] if name != "dataset_name"]
        batch: dict[str, Any] = {"return_loss": True}
        if "dataset_name" in features[0]:
            batch["dataset_name"] = features[0]["dataset_name"]
        label = next((name for name in self.valid_label_columns if name in columns), None)
        if label is not None:
            batch["label"] = torch.tensor([row[label] for row in features])
            columns.remove(label)
        prompts = self._prompts(batch.get("dataset_name"))
        for name in columns:
            if "_id" in name:
                continue
            texts = [row[name] for row in features]
            if isinstance(texts[0], list):
                texts = list(itertools.chain.from_iterable(texts))
            prefix = prompts if isinstance(prompts, str) else prompts.get(name, "")
            tokens = self.tokenize_fn(
                [prefix + text for text in texts], is_query="query" in name or "anchor" in name, pad=True
            )
            batch |= {f"{name}_{key}": value for key, value in tokens.items()}
        return batch

    def _prompts(self, dataset: str | None) -> str | Mapping[str, str]:
        prompts = self.prompts
        if isinstance(prompts, str):
            return prompts
        if dataset is not None and dataset in prompts:
            of_dataset: str | Mapping[str, str] = prompts[dataset]
            return of_dataset
        if any(isinstance(value, Mapping) for value in prompts.values()):
            if dataset is None:
                raise ValueError(
                    f"prompts: given by dataset ({', '.join(prompts)}), but rows have no column 'dataset_name'; add it"
                )
            return {}
        return prompts


class KDProcessing:
    """A transform for `losses.Distillation`: rows of ids and scores to rows of texts.

    Args:
        queries: a dataset (or a dict of datasets by split) with columns "query_id" and "text".
        documents: likewise, with "document_id" and "text".
        split: the split, where these are dicts.
        n_ways: most documents per query.
    """

    def __init__(self, queries: Any, documents: Any, split: str = "train", n_ways: int = 32) -> None:
        self.queries = queries[split] if isinstance(queries, Mapping) else queries
        self.documents = documents[split] if isinstance(documents, Mapping) else documents
        self.n_ways = n_ways
        self.queries_index = {id_: row for row, id_ in enumerate(self.queries["query_id"])}
        self.documents_index = {id_: row for row, id_ in enumerate(self.documents["document_id"])}

    def transform(self, examples: dict[str, Any]) -> dict[str, Any]:
        """Return a batch of rows with "query", "documents" and "scores", for `Dataset.set_transform`.

        Raises:
            KeyError: a query or a document is not in its dataset. (PyLate takes an empty text for it.)
        """
        rows = [self.map({key: examples[key][i] for key in examples}) for i in range(len(examples["query_id"]))]
        return {**examples, **{key: [row[key] for row in rows] for key in ("query", "documents", "scores")}}

    def map(self, example: dict[str, Any]) -> dict[str, Any]:
        """Return the "query", "documents" and "scores" of one row, for `Dataset.map`. Raises as `transform`."""
        scores, ids = (_parse_list(example[key])[: self.n_ways] for key in ("scores", "document_ids"))
        return {
            "scores": scores,
            "query": self._text(self.queries, self.queries_index, example["query_id"], "query"),
            "documents": [self._text(self.documents, self.documents_index, id_, "document") for id_ in ids],
        }

    @staticmethod
    def _text(dataset: Any, rows: Mapping[Any, int], id_: Any, kind: str) -> str:
        if id_ not in rows:
            raise KeyError(f"{kind} {id_!r}: not in its dataset; remove the rows that name it")
        text: str = dataset[rows[id_]]["text"]
        return text


def convert_to_tensor(x: Any) -> Tensor:
    """Convert arrays, lists of arrays or tensors of one shape, or nested lists to a tensor; numbers become float32."""
    if isinstance(x, Tensor):
        return x
    if isinstance(x, np.ndarray):
        return torch.from_numpy(x)
    if len(x) and isinstance(x[0], Tensor):
        return torch.stack(list(x))
    return torch.from_numpy(np.asarray(x, dtype=np.float32))


def iter_batch(X: Sequence[T], batch_size: int, tqdm_bar: bool = True, desc: str = "") -> Iterator[Sequence[T]]:  # noqa: N803
    """Yield slices of `X` of length `batch_size`, with a bar on standard error unless `tqdm_bar` is False."""
    from serotine.progress import progress_bar

    with progress_bar(len(X), desc or "Batches", enabled=tqdm_bar) as advance:
        for start in range(0, len(X), batch_size):
            yield X[start : start + batch_size]
            advance(len(X[start : start + batch_size]))


def rank_and_size() -> tuple[int, int]:
    """Return this process's rank and the number of processes; 0 and 1 without distributed training."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def gather(values: Tensor) -> Tensor:
    """Concatenate the values of all processes along the first axis; gradients flow back to each process."""
    if rank_and_size()[1] == 1:
        return values
    if not values.is_floating_point():
        gathered = [torch.empty_like(values) for _ in range(rank_and_size()[1])]
        torch.distributed.all_gather(gathered, values.contiguous())
        return torch.cat(gathered)
    from torch.distributed.nn.functional import all_gather

    return torch.cat(all_gather(values.contiguous()))


def _parse_list(values: Any) -> list[Any]:
    """Return a list, which may be given as its Python literal."""
    parsed: list[Any] = ast.literal_eval(values) if isinstance(values, str) else list(values)
    return parsed
