"""What judging one system on one collection gave, and the two files it is kept in."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serotine.errors import InputFileError
from serotine.evaluation.metrics import Run
from serotine.evaluation.trec import read_run, write_run


@dataclass(frozen=True, slots=True)
class Result:
    """One system's answers to one collection's questions, judged.

    Attributes:
        system: what answered: an encoder's name, an index's path, "bm25".
        collection: the collection's name.
        split: which judgements.
        metrics: the mean of each metric over all judged queries, by ir-measures' name.
        per_query: metrics by query id.
        run: score by query id and document id.
        record: what a reader must know to compare the numbers: retrieval depth, exact or approximate, dtype, query
            length, marker layout, what is done about identical ids, versions, seconds.
    """

    system: str
    collection: str
    split: str
    metrics: dict[str, float]
    per_query: dict[str, dict[str, float]]
    run: Run
    record: dict[str, Any]

    def save(self, folder: Path) -> None:
        """Writes `<collection>.trec`, then `<collection>.json` in `folder`: with the second, the result is whole."""
        folder.mkdir(parents=True, exist_ok=True)
        # An older result ends here: its figures must not stand beside another's run.
        (folder / f"{self.collection}.json").unlink(missing_ok=True)
        run = folder / f".{self.collection}.trec.tmp"
        write_run(self.run, run, tag=self.system)
        run.replace(folder / f"{self.collection}.trec")
        values = asdict(self)
        del values["run"]
        scratch = folder / f".{self.collection}.json.tmp"
        scratch.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        scratch.replace(folder / f"{self.collection}.json")

    @classmethod
    def load(cls, file: Path) -> Result:
        """Reads what `save` wrote, from the path of its JSON file.

        Raises:
            InputFileError: a file is missing or is not what `save` writes.
        """
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputFileError(f"{file}: no such file") from None
        except ValueError as error:
            raise InputFileError(f"{file}: is not valid JSON ({error})") from None
        wanted = ("system", "collection", "split", "metrics", "per_query", "record")
        if not isinstance(values, dict) or any(name not in values for name in wanted):
            raise InputFileError(f"{file}: is no result of `serotine eval`; it must hold {', '.join(wanted)}")
        run = read_run(file.with_suffix(".trec"))
        # TREC files have no lines for a query that found nothing.
        return cls(**{name: values[name] for name in wanted}, run={query: {} for query in values["per_query"]} | run)
