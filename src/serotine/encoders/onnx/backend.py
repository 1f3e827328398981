"""The ONNX Runtime backend: token ids to token vectors, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serotine.encoders.batching import pad
from serotine.errors import EncoderError, missing_extra, reason

_REQUIRED = {"input_ids", "attention_mask"}
_SEGMENTS = "token_type_ids"


class OnnxBackend:
    """An ONNX model on the CPU.

    Raises:
        EncoderError: ONNX Runtime is not installed; or the file cannot be loaded, takes other inputs, or lacks the
            output.
    """

    # The best of 256 to 4,096 for MiniLM (benchmarks/encoding.py), whose activations then fit in cache.
    batch_tokens = 1024

    def __init__(self, model: Path, output: str, threads: int | None) -> None:
        try:
            # Imported here: it takes a fifth of a second.
            import onnxruntime
        except ImportError:
            raise EncoderError(missing_extra(f"{model}: an ONNX model", "onnx")) from None

        # For programs that imported ONNX Runtime before Serotine: see `serotine.privacy`.
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        # Fatal only: errors are raised, and need not be printed too.
        options.log_severity_level = 4
        # Waiting threads that spin take the processor from what follows, scoring above all. Without, on 2 shared cores:
        # documents 1.3x, queries 2x, scoring after them 1.5x to 3x faster.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        # ONNX Runtime raises its own exception types, all plain Exceptions, for a file it cannot load.
        except Exception as error:
            raise EncoderError(f"{model}: ONNX Runtime cannot load it ({reason(error)})") from error
        inputs = {node.name for node in self._session.get_inputs()}
        if not _REQUIRED.issubset(inputs) or not inputs.issubset(_REQUIRED | {_SEGMENTS}):
            raise EncoderError(
                f"{model}: inputs must be {', '.join(sorted(_REQUIRED))} and optionally {_SEGMENTS}, "
                f"got {', '.join(sorted(inputs))}"
            )
        outputs = [node.name for node in self._session.get_outputs()]
        if output not in outputs:
            raise EncoderError(f"{model}: 'output' must be one of {', '.join(map(repr, outputs))}, got {output!r}")
        self._model = model
        self._segments = _SEGMENTS in inputs
        self._output = output

    def run(
        self, ids: Sequence[NDArray[np.int64]], attention: Sequence[NDArray[np.bool_]]
    ) -> list[NDArray[np.float32]]:
        """Return token vectors, as `Backend.run`."""
        padded_ids, padded_attention = pad(ids, attention)
        feeds = {"input_ids": padded_ids, "attention_mask": padded_attention}
        if self._segments:
            feeds[_SEGMENTS] = np.zeros_like(padded_ids)
        try:
            states: NDArray[np.float32] = self._session.run([self._output], feeds)[0]
        except Exception as error:
            tokens = padded_ids.shape[1]
            raise EncoderError(f"{self._model}: fails on {tokens} tokens per text ({reason(error)})") from error
        return [text[: len(tokens)] for text, tokens in zip(np.asarray(states, dtype=np.float32), ids, strict=True)]
