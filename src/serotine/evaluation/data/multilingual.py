"""The suite "multilingual": the collections of a folder, grouped by language for a macro average over languages."""

from __future__ import annotations

import re
from dataclasses import replace

from serotine.errors import InputFileError
from serotine.evaluation.data.collection import Collection
from serotine.evaluation.data.sources import Source, find_suite
from serotine.languages import is_named, language_name, main_language

_SUFFIX = re.compile(r".+[-_]([a-z]{2})")


def find_multilingual(folder: str, split: str | None = None) -> tuple[list[Source], list[str]]:
    r"""Return the collections of a folder with their language as their group, and the names of other subfolders.

    The language is that of MIRACL's files or of `meta.json`, else the end of the name, as in "piaf-fr", else that of
    most documents.

    Raises:
        InputFileError: as in `find_suite`; or the language of a collection is not known.

    >>> import json
    >>> from pathlib import Path
    >>> from serotine.evaluation import find_multilingual
    >>> for name, text in (("a-fr", "les chauves-souris"), ("b-de", "die Fledermaus")):
    ...     (Path("suite") / name / "qrels").mkdir(parents=True)
    ...     for file, value in (("corpus", {"_id": "d", "text": text}), ("queries", {"_id": "q", "text": text})):
    ...         _ = Path(f"suite/{name}/{file}.jsonl").write_text(json.dumps(value))
    ...     _ = Path(f"suite/{name}/qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\n")
    >>> sources, _ = find_multilingual("suite")
    >>> [(source.name, source.group) for source in sources]
    [('a-fr', 'French (fr)'), ('b-de', 'German (de)')]
    """
    sources, skipped = find_suite(folder, split)
    return [_with_language(source) for source in sources], skipped


def _with_language(source: Source) -> Source:
    match = _SUFFIX.fullmatch(source.name)
    language = match[1] if match is not None and is_named(match[1]) else None
    if language is None:
        collection = source.load()
        language = collection.language or main_language(collection.documents.values())
    if language is None:
        raise InputFileError(
            f'{source.name}: its language is not known; name the folder "{source.name}-xx", or add "language" to its '
            "meta.json"
        )

    def load() -> Collection:
        loaded = source.load()
        return replace(loaded, language=loaded.language or language)

    group = f"{language_name(language)} ({language})"
    return replace(source, load=load, fingerprint=lambda: f"{source.fingerprint()} {language}", group=group)
