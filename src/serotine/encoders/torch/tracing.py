"""Tracing of a torch model to ONNX."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch

from serotine.encoders.torch.model import TokenEncoder
from serotine.errors import EncoderError

_OPSET = 20


def trace(name: str, model: TokenEncoder, file: Path, *, output: str, max_single_file: int) -> None:
    """Write a model as ONNX.

    Args:
        name: the encoder's name, for messages.
        model: on the CPU, in float32.
        file: the ONNX file; weights of more than `max_single_file` bytes go to a file beside it.
        output: name of the output with the token vectors.
        max_single_file: in bytes.

    Raises:
        EncoderError: torch cannot trace it.
    """
    ids = torch.ones((2, 9), dtype=torch.int64)
    shape = {0: "batch", 1: "tokens"}
    size = sum(parameter.numel() * 4 for parameter in model.parameters())
    with _silent():
        program = torch.onnx.export(
            model,
            (ids, torch.ones_like(ids)),
            input_names=["input_ids", "attention_mask"],
            output_names=[output],
            dynamic_shapes={"input_ids": shape, "attention_mask": shape},
            opset_version=_OPSET,
            dynamo=True,
            verbose=False,
        )
        if program is None:
            raise EncoderError(f"{name}: torch returned no ONNX program")
        # Where in which file each node was traced: a megabyte, and paths of this machine.
        for node in program.model.graph:
            node.metadata_props.clear()
        program.save(str(file), external_data=size > max_single_file)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Silence the exporter's warnings and logging below errors."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
