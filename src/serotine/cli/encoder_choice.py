"""The encoder of a new index where none is named: by the languages of a sample of its texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from serotine.cli.output import warn
from serotine.coverage import UNKNOWN_SHARE, is_wordless, text_coverage
from serotine.languages import detect_language, language_name, script_counts
from serotine.model_packages import MINI, MULTI, multilingual_advice

if TYPE_CHECKING:
    from serotine.encoders import Encoder
    from serotine.ingest import FileSelection, SourceFile

# Of the sampled texts, for the default to be the wrong choice: the other encoder costs English texts little.
_MAX_SHARE = 0.2
_MAX_NAMED = 3


def choose_encoder(sources: Sequence[Path | SourceFile], default: Encoder, **arguments: Any) -> str:
    """Return the name of the encoder for files, and say so in one line where it is not the default.

    Args:
        sources: as in `Ingest`.
        default: the default encoder.
        **arguments: the arguments `selection` and `fields` of `Ingest`; others are ignored.

    Raises:
        InputFileError: a source does not exist, or none can be read.
    """
    from serotine.ingest import sample_texts

    selection: FileSelection | None = arguments.get("selection")
    texts = sample_texts(sources, selection=selection, fields=arguments.get("fields"))
    languages = unfamiliar(texts, default)
    count = languages.total()
    if count <= _MAX_SHARE * len(texts):
        return default.name
    named = ", ".join(f"{name} {number:,}" for name, number in languages.most_common(_MAX_NAMED))
    fault = f"sampled texts in languages that {MINI.name} does not know: {count:,} of {len(texts):,} ({named})"
    if MULTI.folder() is None:
        advice = multilingual_advice("index with --encoder multilingual")
        warn(f"encoder: {fault}; {advice}")
        return default.name
    click.echo(f"The encoder is {MULTI.name}: {fault}; --encoder chooses another.", err=True)
    return MULTI.name


def unfamiliar(texts: Sequence[str], encoder: Encoder) -> Counter[str]:
    """Count the texts that an English encoder does not know, by language, or by script where that is uncertain.

    These are texts in another language, texts mostly in other letters than Latin, and texts more than 20% outside the
    encoder's vocabulary. Code, names and numbers are known.
    """
    counts: Counter[str] = Counter()
    coverages = text_coverage(encoder, texts, query=False)
    for i, text in enumerate(texts):
        language = detect_language(text)
        script, _ = (script_counts(text).most_common(1) or [("", 0)])[0]
        if language not in (None, "en"):
            counts[language_name(language or "")] += 1
        elif script not in ("", "Latin"):
            counts[script] += 1
        elif coverages is not None and coverages[i].unknown_share(text) > UNKNOWN_SHARE:
            main = next(iter(coverages[i].unknown_scripts(text)), "other")
            # No encoder for more languages is chosen for these.
            if not is_wordless(main):
                counts[main] += 1
    return counts
