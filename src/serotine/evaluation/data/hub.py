"""BEIR and MIRACL collections from the Hugging Face hub: downloaded once, into its own cache."""

from __future__ import annotations

from pathlib import Path

from serotine.errors import InputFileError, reason
from serotine.evaluation.data.beir import BeirFiles
from serotine.evaluation.data.benchmarks import default_split
from serotine.evaluation.data.miracl import MiraclFiles, find_miracl

_CORPUS = ("corpus.jsonl*", "queries.jsonl*", "corpus/*.parquet", "queries/*.parquet", "qrels/*.tsv")


def beir(name: str, split: str | None) -> BeirFiles:
    """A collection of BEIR as its authors uploaded it: `BeIR/<name>`, judgements in `BeIR/<name>-qrels`.

    CQADupStack's forums, which stand there in one piece, come from MTEB's copies of each.

    Raises:
        InputFileError: it is not there, or the hub cannot be reached.
    """
    if name.startswith("cqadupstack-"):
        folder = _snapshot(f"mteb/{name}", _CORPUS, f"beir/{name}")
        return BeirFiles.find(folder, split, name=name)
    folder = _snapshot(f"BeIR/{name}", _CORPUS, f"beir/{name}")
    qrels = _snapshot(f"BeIR/{name}-qrels", ("*.tsv",), f"beir/{name}")
    return BeirFiles.find(folder, split or default_split(name, "beir"), name=name, qrels=qrels)


def miracl(language: str, split: str | None) -> MiraclFiles:
    """A language of MIRACL: topics and judgements from `miracl/miracl`, the corpus from `miracl/miracl-corpus`.

    Raises:
        InputFileError: as `beir`; the topics are shown only to who has agreed to their terms.
    """
    name = f"miracl/{language}"
    judged = _snapshot("miracl/miracl", (f"miracl-v1.0-{language}/topics/*", f"miracl-v1.0-{language}/qrels/*"), name)
    corpus = _snapshot("miracl/miracl-corpus", (f"miracl-corpus-v1.0-{language}/*",), name)
    return find_miracl(judged, language, split, corpus=corpus)


def _snapshot(repository: str, patterns: tuple[str, ...], name: str) -> Path:
    import huggingface_hub
    from huggingface_hub import errors

    told = f"{name}: {repository} of the hub"
    try:
        return Path(huggingface_hub.snapshot_download(repository, repo_type="dataset", allow_patterns=list(patterns)))
    except errors.GatedRepoError:
        raise InputFileError(
            f"{told} is shown only to who has agreed to its terms; do so at "
            f"https://huggingface.co/datasets/{repository}, then run `hf auth login`"
        ) from None
    except errors.RepositoryNotFoundError:
        raise InputFileError(f"{told} does not exist, or is shown only to who is logged in (`hf auth login`)") from None
    except errors.LocalEntryNotFoundError:
        raise InputFileError(
            f"{told} is not on this machine, and the hub cannot be reached; download it where there is a network "
            "and name its folder"
        ) from None
    # Everything else that a network can do: the hub's library lets through what its own libraries raise.
    except Exception as error:
        raise InputFileError(f"{told} cannot be downloaded ({reason(error)})") from None
