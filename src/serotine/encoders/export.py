"""Export of an encoder to a folder that runs without torch, native or ONNX: ``serotine model export``."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from serotine.encoders.encoder import Encoder
from serotine.encoders.fingerprint import files_digest, model_digest
from serotine.encoders.formats import read_checkpoint
from serotine.encoders.formats.exported import NATIVE_FILE, ONNX_FILE, write
from serotine.encoders.location import locate
from serotine.encoders.native import (
    TransformerWeights,
    read_checkpoint_weights,
    read_graph_weights,
    reason_not_covered,
    write_weights,
)
from serotine.encoders.onnx import quantize
from serotine.encoders.projection import folded_layers
from serotine.encoders.sample_texts import TEXTS, no_text_warnings
from serotine.encoders.spec import EXPORT_OUTPUT, EncoderSpec
from serotine.encoders.tokenization import TextTokenizer
from serotine.errors import EncoderError, missing_extra, not_one_of
from serotine.files import replace_folder

Precision = Literal["float32", "int8"]
ExportFormat = Literal["onnx", "native"]
# Minimum of the mean cosine between the token vectors of an export and those of its checkpoint.
MIN_MEAN_COSINE: dict[Precision, float] = {"float32": 0.99999, "int8": 0.99}
# A protobuf file may not exceed 2 GB; larger weights go to a file beside it.
_MAX_SINGLE_FILE_BYTES = 1_900_000_000
_log = logging.getLogger("serotine.encoders")


@dataclass(frozen=True, slots=True)
class ExportReport:
    """An export, and how close it is to the checkpoint.

    Attributes:
        folder: its folder.
        format: "onnx" or "native".
        precision: "float32" or "int8".
        bytes: size of the model.
        texts, tokens: number of texts and tokens that the two were compared on.
        mean_cosine, min_cosine: cosine between a token's vector and the source's own: mean and minimum.
    """

    folder: Path
    format: ExportFormat
    precision: Precision
    bytes: int
    texts: int
    tokens: int
    mean_cosine: float
    min_cosine: float


def export_encoder(
    name_or_path: str | Path,
    folder: str | Path,
    *,
    precision: Precision | None = None,
    format: ExportFormat = "onnx",  # noqa: A002
    texts: list[str] | None = None,
    **options: Any,
) -> ExportReport:
    """Export a checkpoint to a folder that runs without torch, and compare the two.

    Args:
        name_or_path: a checkpoint, as for `Encoder`; for "native" also an ONNX export of a BERT, whose levels of 8 bits
            stay as they are.
        folder: the new folder; must not exist.
        format: "onnx", or "native": the weights as the compiled core computes with them, in 8 bits.
        precision: of ONNX, "float32" unless given; "native" is always "int8". "int8" stores the matrices of the
            backbone as 8-bit numbers, one scale per output, and multiplies in 8 bits, one scale per token: faster on a
            CPU and smaller. Embeddings are stored in 8 bits too, one scale per row, or exactly, if they came from
            blocks of 4 bits; projections are stored in float16.
        texts: real texts to compare them on; sixteen sentences in eight languages unless given.
        options: other arguments of `Encoder`, except `device` and `dim`, which are options of loading the export.

    Raises:
        EncoderError: the checkpoint cannot be loaded, a library is not installed, the native backend does not cover it,
            or the export's vectors differ from
            the checkpoint's by more than `MIN_MEAN_COSINE` allows; nothing is written.
        FileExistsError: the folder exists.
    """
    target = Path(folder)
    if target.exists():
        raise FileExistsError(f"{target}: already exists; give a new folder")
    for key in ("device", "dim"):
        if key in options:
            raise ValueError(f"{key}: cannot be exported; pass it when loading the export")
    if precision not in (None, *MIN_MEAN_COSINE):
        raise not_one_of("precision", MIN_MEAN_COSINE, precision)
    if format not in ("onnx", "native"):
        raise not_one_of("format", ("onnx", "native"), format)
    if format == "native" and precision == "float32":
        raise ValueError("precision: a native export has 'int8' only, got 'float32'; leave it out")
    exported = "int8" if format == "native" else precision or "float32"
    source = _source(name_or_path, format, options)
    with replace_folder(target) as building, no_text_warnings():
        if format == "native":
            file = building / NATIVE_FILE
            write_weights(file, _native_weights(source))
        else:
            file = building / ONNX_FILE
            _write_model(source, file)
            if exported == "int8":
                _quantize(file, source.spec)
        TextTokenizer(source.spec).export(building)
        # The native backend's arithmetic is part of the fingerprint, so it may name the files it came from.
        same_weights = format == "native" or exported == "float32"
        spec = replace(
            source.spec,
            model=file.name,
            output=EXPORT_OUTPUT,
            model_sha256=model_digest(file),
            source=files_digest(source.spec) if same_weights else None,
        )
        write(building, spec)
        report = _compare(source, building, target, format, exported, TEXTS if texts is None else texts)
        if report.mean_cosine < MIN_MEAN_COSINE[exported]:
            raise EncoderError(
                f"{source.name}: mean cosine between the {exported} export and the checkpoint must be at least "
                f"{MIN_MEAN_COSINE[exported]}, got {report.mean_cosine:.4f}; nothing was written"
                + ("; export it to ONNX" if format == "native" else "; export it as float32" * (exported == "int8"))
            )
        if format == "native":
            write(building, replace(spec, source_cosine=round(report.mean_cosine, 5)))
        (building / "README.md").write_text(_card(source, report), "utf-8")
    _log.info("exported %s to %s, %s %s: mean cosine %.5f", source.name, target, format, exported, report.mean_cosine)
    return report


def _source(name_or_path: str | Path, format: ExportFormat, options: dict[str, Any]) -> Encoder:  # noqa: A002
    """Return the encoder to export, on the backend that the export is compared with."""
    backend: Literal["onnx", "torch"] = "torch"
    location = locate(name_or_path, revision=options.get("revision"), offline=bool(options.get("offline")))
    location.warn_if_shadowed()
    if format == "native":
        spec = read_checkpoint(location.folder, location.name)
        if spec.model == NATIVE_FILE:
            raise EncoderError(f"{spec.name}: already a native export; use it as it is")
        if spec.model is not None:
            backend = "onnx"
        elif (uncovered := reason_not_covered(spec)) is not None:
            raise EncoderError(f"{spec.name}: {uncovered}; export it to ONNX")
    else:
        _require_onnx()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Encoder(name_or_path, backend=backend, device="cpu", dtype="float32", **options)


def _native_weights(source: Encoder) -> TransformerWeights:
    if source.spec.model is not None:
        return read_graph_weights(source.spec)
    return read_checkpoint_weights(source.spec, TextTokenizer(source.spec).vocabulary)


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401

        import serotine.encoders.torch  # noqa: F401
    except ImportError as error:
        raise EncoderError(f"{missing_extra('model export', 'export')} ({error})") from None


def _write_model(source: Encoder, file: Path) -> None:
    from serotine.encoders.torch import TorchBackend, trace

    if not isinstance(source.backend, TorchBackend):
        raise EncoderError(f"{source.name}: already an exported encoder; export the checkpoint it was exported from")
    trace(source.name, source.backend.model, file, output=EXPORT_OUTPUT, max_single_file=_MAX_SINGLE_FILE_BYTES)


def _quantize(file: Path, spec: EncoderSpec) -> None:
    import onnx

    layers, _ = folded_layers(spec)
    model = onnx.load(str(file))
    for stale in file.parent.glob(f"{file.name}*"):
        stale.unlink()
    # The projections come last; each is one product, or two with a residual.
    quantize(model, float_products=sum(1 + (residual is not None) for _, _, residual in layers))
    size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    onnx.save(model, str(file), save_as_external_data=size > _MAX_SINGLE_FILE_BYTES, location=f"{file.name}.data")


def _compare(
    source: Encoder,
    folder: Path,
    target: Path,
    format: ExportFormat,  # noqa: A002
    precision: Precision,
    texts: list[str],
) -> ExportReport:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = Encoder(folder)
    cosines: list[NDArray[np.float32]] = []
    for encode, encode_exported in (
        (source.encode_documents, exported.encode_documents),
        (source.encode_queries, exported.encode_queries),
    ):
        for expected, vectors in zip(encode(texts), encode_exported(texts), strict=True):
            if expected.shape != vectors.shape:
                raise EncoderError(
                    f"{source.name}: vectors of the export must be {expected.shape}, got {vectors.shape}"
                )
            cosines.append(np.einsum("ij,ij->i", expected, vectors))
    cosine = np.concatenate(cosines) if cosines else np.zeros(1, dtype=np.float32)
    size = sum(file.stat().st_size for file in folder.glob(f"{exported.spec.model}*"))
    return ExportReport(
        target, format, precision, size, len(texts), cosine.size, float(cosine.mean()), float(cosine.min())
    )


def _card(source: Encoder, report: ExportReport) -> str:
    spec = source.spec
    kind = "native" if report.format == "native" else "ONNX"
    return f"""# {Path(spec.name).name}, {report.precision} {kind}

Exported by Serotine from `{spec.name}` ({spec.origin} format, {spec.backbone}, {spec.dim} dimensions).

```python
from serotine import Encoder

encoder = Encoder("this folder")
```

| | |
|---|---|
| precision | {report.precision} |
| size | {report.bytes:,} bytes |
| mean cosine with the checkpoint's own vectors | {report.mean_cosine:.5f} |
| minimum cosine | {report.min_cosine:.5f} |
| compared on | {report.tokens:,} tokens of {report.texts} texts, as documents and as queries |

The checkpoint's license applies.
"""
