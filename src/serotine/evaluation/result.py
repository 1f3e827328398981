"""The result of one system on one collection, and the two files it is stored in."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serotine.errors import InputFileError, reason
from serotine.evaluation.metrics import Run
from serotine.evaluation.trec import read_run, write_run
from serotine.files import write_atomically


@dataclass(frozen=True, slots=True)
class Result:
    """The run and the metrics of one system on one collection.

    Attributes:
        system: the name of the system: an encoder's name, an index's path, "bm25".
        collection: the collection's name.
        split: the split of the judgements.
        metrics: the mean of each metric over all judged queries, by its name in ir-measures.
        per_query: metrics by query id.
        run: score by query id and document id.
        record: the settings that make figures comparable: retrieval depth, exact or approximate, dtype, query length,
            marker position, rule for identical ids, versions, seconds.

    >>> from serotine.evaluation import Result
    >>> result = Result("bm25", "toy", "test", {"RR": 1.0}, {"q": {"RR": 1.0}}, {"q": {"d": 2.5}}, {})
    >>> result.save("results")
    >>> Result.load("results/toy.json") == result
    True
    """

    system: str
    collection: str
    split: str
    metrics: dict[str, float]
    per_query: dict[str, dict[str, float]]
    run: Run
    record: dict[str, Any]

    def save(self, folder: str | Path) -> None:
        """Write `<collection>.trec`, then `<collection>.json`, to `folder`; the JSON file completes the result."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        # Never leave the figures of an older result beside a newer run.
        (folder / f"{self.collection}.json").unlink(missing_ok=True)
        write_run(self.run, folder / f"{self.collection}.trec", tag=self.system)
        values = asdict(self)
        del values["run"]
        text = json.dumps(values, indent=1, ensure_ascii=False)
        write_atomically(folder / f"{self.collection}.json", f"{text}\n")

    @classmethod
    def load(cls, file: str | Path) -> Result:
        """Read what `save` wrote, from the path of the JSON file.

        Raises:
            InputFileError: a file is missing or not a result.
        """
        file = Path(file)
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputFileError(f"{file}: no such file") from None
        except ValueError as error:
            raise InputFileError(f"{file}: not valid JSON ({reason(error)})") from None
        names = ("system", "collection", "split", "metrics", "per_query", "record")
        if not isinstance(values, dict) or any(name not in values for name in names):
            raise InputFileError(f"{file}: not a result of `serotine eval`; it must contain {', '.join(names)}")
        run = read_run(file.with_suffix(".trec"))
        # TREC files have no lines for a query without hits.
        return cls(**{name: values[name] for name in names}, run={query: {} for query in values["per_query"]} | run)
