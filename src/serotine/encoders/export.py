"""Export of a checkpoint to ONNX, which an encoder runs without torch: ``serotine model export``."""

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
from serotine.encoders.formats.exported import MODEL_FILE, write
from serotine.encoders.onnx import quantize
from serotine.encoders.projection import folded_layers
from serotine.encoders.sample_texts import TEXTS, no_text_warnings
from serotine.encoders.spec import EncoderSpec
from serotine.encoders.tokenization import TextTokenizer
from serotine.errors import EncoderError, missing_extra, not_one_of
from serotine.files import replace_folder

Precision = Literal["float32", "int8"]
# Minimum of the mean cosine between the token vectors of an export and those of its checkpoint.
MIN_MEAN_COSINE: dict[Precision, float] = {"float32": 0.99999, "int8": 0.99}
_OUTPUT = "token_vectors"
# A protobuf file may not exceed 2 GB; larger weights go to a file beside it.
_MAX_SINGLE_FILE_BYTES = 1_900_000_000
_log = logging.getLogger("serotine.encoders")


@dataclass(frozen=True, slots=True)
class ExportReport:
    """An export, and how close it is to the checkpoint.

    Attributes:
        folder: its folder.
        precision: "float32" or "int8".
        bytes: size of the model.
        texts, tokens: number of texts and tokens that the two were compared on.
        mean_cosine, min_cosine: cosine between a token's vector and the checkpoint's own: mean and minimum.
    """

    folder: Path
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
    precision: Precision = "float32",
    texts: list[str] | None = None,
    **options: Any,
) -> ExportReport:
    """Export a checkpoint to an ONNX encoder folder, and compare the two.

    Args:
        name_or_path: a checkpoint, as for `Encoder`.
        folder: the new folder; must not exist.
        precision: "int8" stores the matrices of the backbone as 8-bit numbers, one scale per column, and multiplies in
            8 bits, one scale per token: faster on a CPU and smaller. Embeddings are stored in 8 bits too, one scale per
            row, or exactly, if they came from blocks of 4 bits; the projection stays in floating point.
        texts: real texts to compare them on; sixteen sentences in eight languages unless given.
        options: other arguments of `Encoder`, except `device` and `dim`, which are options of loading the export.

    Raises:
        EncoderError: the checkpoint cannot be loaded, a library is not installed, or the export's vectors differ from
            the checkpoint's by more than `MIN_MEAN_COSINE` allows; nothing is written.
        FileExistsError: the folder exists.
    """
    target = Path(folder)
    if target.exists():
        raise FileExistsError(f"{target}: already exists; give a new folder")
    for key in ("device", "dim"):
        if key in options:
            raise ValueError(f"{key}: cannot be exported; pass it when loading the export")
    if precision not in MIN_MEAN_COSINE:
        raise not_one_of("precision", map(repr, MIN_MEAN_COSINE), precision)
    _require_onnx()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = Encoder(name_or_path, backend="torch", device="cpu", **options)
    with replace_folder(target) as building, no_text_warnings():
        _write_model(source, building / MODEL_FILE)
        if precision == "int8":
            _quantize(building / MODEL_FILE, source.spec)
        TextTokenizer(source.spec).export(building)
        spec = replace(
            source.spec,
            model=MODEL_FILE,
            output=_OUTPUT,
            model_sha256=model_digest(building / MODEL_FILE),
            source=files_digest(source.spec) if precision == "float32" else None,
        )
        write(building, spec)
        report = _compare(source, building, target, precision, TEXTS if texts is None else texts)
        if report.mean_cosine < MIN_MEAN_COSINE[precision]:
            raise EncoderError(
                f"{source.name}: mean cosine between the {precision} export and the checkpoint must be at least "
                f"{MIN_MEAN_COSINE[precision]}, got {report.mean_cosine:.4f}; nothing was written"
                + ("; export it as float32" if precision == "int8" else "")
            )
        (building / "README.md").write_text(_card(source, report), "utf-8")
    _log.info("exported %s to %s, %s: mean cosine %.5f", source.name, target, precision, report.mean_cosine)
    return report


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
    trace(source.name, source.backend.model, file, output=_OUTPUT, max_single_file=_MAX_SINGLE_FILE_BYTES)


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


def _compare(source: Encoder, folder: Path, target: Path, precision: Precision, texts: list[str]) -> ExportReport:
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
    size = sum(file.stat().st_size for file in folder.glob(f"{MODEL_FILE}*"))
    return ExportReport(target, precision, size, len(texts), cosine.size, float(cosine.mean()), float(cosine.min()))


def _card(source: Encoder, report: ExportReport) -> str:
    spec = source.spec
    return f"""# {Path(spec.name).name}, {report.precision} ONNX

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
