"""A checkpoint as ONNX: what ``serotine model export`` writes, and an encoder runs without torch."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from serotine.encoders.encoder import Encoder, files_digest, model_digest
from serotine.encoders.formats.exported import MODEL_FILE, write
from serotine.encoders.projection import folded_layers
from serotine.encoders.quantize import quantise
from serotine.encoders.sample import TEXTS
from serotine.encoders.spec import EncoderSpec
from serotine.encoders.tokenization import TextTokenizer
from serotine.errors import EncoderError

Precision = Literal["float32", "int8"]
# What the export must keep of the vectors: mean cosine between a token's vector and the checkpoint's own.
LEAST_COSINE: dict[Precision, float] = {"float32": 0.99999, "int8": 0.99}
_OUTPUT = "token_vectors"
_MOST_IN_ONE_FILE = 1_900_000_000
_OPSET = 20


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written, and how near it is to the checkpoint.

    Attributes:
        folder: where it is.
        precision: "float32" or "int8".
        bytes: size of the model.
        texts, tokens: how much text the two were compared on.
        mean_cosine, least_cosine: between each token's vector and the checkpoint's own: over all, and of the worst.
    """

    folder: Path
    precision: Precision
    bytes: int
    texts: int
    tokens: int
    mean_cosine: float
    least_cosine: float


def export(
    name_or_path: str | Path,
    folder: str | Path,
    *,
    precision: Precision = "float32",
    texts: list[str] | None = None,
    **options: Any,
) -> ExportReport:
    """Writes a checkpoint as an ONNX encoder folder, and compares the two.

    Args:
        name_or_path: a checkpoint, as `Encoder` takes it.
        folder: where to write; must not be there.
        precision: "int8" stores the matrices of the backbone as 8-bit numbers, one scale a column, and multiplies in
            8 bits, one scale a token: faster on a CPU and smaller. Embeddings are stored in 8 bits too, one scale a
            row; the projection stays in float32.
        texts: real text to compare them on; sixteen sentences in eight languages unless given.
        options: what `Encoder` takes beside the name; not `device`, and not `dim`, which is for who loads it to choose.

    Raises:
        EncoderError: the checkpoint cannot be loaded, something is not installed, or the export's vectors differ from
            the checkpoint's by more than `LEAST_COSINE` allows; nothing is left behind.
        FileExistsError: something is there already.
    """
    target = Path(folder)
    if target.exists():
        raise FileExistsError(f"{target}: is there already; give a new folder")
    for key in ("device", "dim"):
        if key in options:
            raise ValueError(f"{key}: an export has none; give it where the encoder is loaded")
    if precision not in LEAST_COSINE:
        raise ValueError(f"precision: want 'float32' or 'int8', got {precision!r}")
    _require_onnx()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = Encoder(name_or_path, backend="torch", device="cpu", **options)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as place:
        made = Path(place) / "made"
        made.mkdir()
        _write_model(source, made / MODEL_FILE)
        if precision == "int8":
            _quantise(made / MODEL_FILE, source.spec)
        TextTokenizer(source.spec).save(str(made / "tokenizer.json"))
        spec = replace(
            source.spec,
            model=MODEL_FILE,
            output=_OUTPUT,
            model_sha256=model_digest(made / MODEL_FILE),
            source=files_digest(source.spec) if precision == "float32" else None,
        )
        write(made, spec)
        report = _compare(source, made, target, precision, TEXTS if texts is None else texts)
        if report.mean_cosine < LEAST_COSINE[precision]:
            raise EncoderError(
                f"{source.name}: the {precision} export's vectors agree with the checkpoint's to a mean cosine of only "
                f"{report.mean_cosine:.4f} (want {LEAST_COSINE[precision]}); nothing was written"
                + ("; export it as float32" if precision == "int8" else "")
            )
        (made / "README.md").write_text(_card(source, report), "utf-8")
        made.replace(target)
    return report


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise EncoderError(f"export needs {error.name}; run: pip install 'serotine[export]'") from None


def _write_model(source: Encoder, file: Path) -> None:
    import torch

    from serotine.encoders.torch import TorchBackend

    backend = source.backend
    if not isinstance(backend, TorchBackend):
        raise EncoderError(f"{source.name}: is an exported encoder already")
    ids = torch.ones((2, 9), dtype=torch.int64)
    shape = {0: "batch", 1: "tokens"}
    size = sum(parameter.numel() * 4 for parameter in backend.model.parameters())
    with _quietly():
        program = torch.onnx.export(
            backend.model,
            (ids, torch.ones_like(ids)),
            input_names=["input_ids", "attention_mask"],
            output_names=[_OUTPUT],
            dynamic_shapes={"input_ids": shape, "attention_mask": shape},
            opset_version=_OPSET,
            dynamo=True,
            verbose=False,
        )
        if program is None:
            raise EncoderError(f"{source.name}: torch gave no ONNX program")
        program.save(str(file), external_data=size > _MOST_IN_ONE_FILE)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """What torch's exporter tells of its own workings is no business of who exports."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _quantise(file: Path, spec: EncoderSpec) -> None:
    import onnx

    layers, _ = folded_layers(spec)
    model = onnx.load(str(file))
    for old in file.parent.glob(f"{file.name}*"):
        old.unlink()
    # The projections come last, and each is one product, or two with a residual.
    quantise(model, leave=sum(1 + (residual is not None) for _, _, residual in layers))
    size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    onnx.save(model, str(file), save_as_external_data=size > _MOST_IN_ONE_FILE, location=f"{file.name}.data")


def _compare(source: Encoder, made: Path, target: Path, precision: Precision, texts: list[str]) -> ExportReport:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        written = Encoder(made)
    cosines: list[NDArray[np.float32]] = []
    for encode, again in (
        (source.encode_documents, written.encode_documents),
        (source.encode_queries, written.encode_queries),
    ):
        # Pooling would merge different tokens; it is compared before.
        for one, other in zip(encode(texts), again(texts), strict=True):
            if one.shape != other.shape:
                raise EncoderError(f"{source.name}: gives vectors {one.shape} of a text, its export {other.shape}")
            cosines.append(np.einsum("ij,ij->i", one, other))
    every = np.concatenate(cosines) if cosines else np.zeros(1, dtype=np.float32)
    size = sum(file.stat().st_size for file in made.glob(f"{MODEL_FILE}*"))
    return ExportReport(target, precision, size, len(texts), every.size, float(every.mean()), float(every.min()))


def _card(source: Encoder, report: ExportReport) -> str:
    spec = source.spec
    return f"""# {Path(spec.name).name}, {report.precision} ONNX

Made from `{spec.name}` ({spec.origin} format, {spec.backbone}, {spec.dim} numbers a token) by Serotine.

```python
from serotine import Encoder

encoder = Encoder("this folder")
```

| | |
|---|---|
| precision | {report.precision} |
| size | {report.bytes:,} bytes |
| mean cosine with the checkpoint's own vectors | {report.mean_cosine:.5f} |
| least | {report.least_cosine:.5f} |
| over | {report.tokens:,} tokens of {report.texts} real texts, as documents and as queries |

The checkpoint's licence holds for this copy.
"""
