"""The ONNX Runtime backend: token ids to token vectors, without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serotine.errors import EncoderError

_REQUIRED = {"input_ids", "attention_mask"}
_SEGMENTS = "token_type_ids"


class OnnxBackend:
    """Runs one ONNX model on the CPU.

    Raises:
        EncoderError: the file cannot be loaded, takes other inputs, or lacks the output asked for.
    """

    def __init__(self, model: Path, output: str, threads: int | None) -> None:
        # Imported here: it takes a fifth of a second that `import serotine` should not pay.
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # Fatal only: an error comes back as an exception, and need not be printed besides.
        options.log_severity_level = 4
        # Threads that spin while they wait take the processor from what comes next, the scoring above all. Measured on
        # 2 cores with other work on them: documents 1.3x, questions 2x, scoring after them 1.5x to 3x faster without.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        # ONNX Runtime raises its own exception types, all plain Exceptions, for a file it cannot load.
        except Exception as error:
            raise EncoderError(f"{model}: ONNX Runtime cannot load it ({str(error).splitlines()[0]})") from error
        inputs = {node.name for node in self._session.get_inputs()}
        if not _REQUIRED.issubset(inputs) or not inputs.issubset(_REQUIRED | {_SEGMENTS}):
            raise EncoderError(
                f"{model}: wants the inputs {', '.join(sorted(inputs))}; "
                f"an encoder takes {', '.join(sorted(_REQUIRED))} and, if need be, {_SEGMENTS}"
            )
        outputs = [node.name for node in self._session.get_outputs()]
        if output not in outputs:
            raise EncoderError(f"{model}: has no output {output!r}, only {', '.join(outputs)}")
        self._model = model
        self._segments = _SEGMENTS in inputs
        self._output = output

    def run(self, ids: NDArray[np.int64], attention: NDArray[np.int64]) -> NDArray[np.float32]:
        """As `Backend.run`."""
        feeds = {"input_ids": ids, "attention_mask": attention}
        if self._segments:
            feeds[_SEGMENTS] = np.zeros_like(ids)
        try:
            states: NDArray[np.float32] = self._session.run([self._output], feeds)[0]
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise EncoderError(f"{self._model}: fails on {ids.shape[1]} tokens a text ({reason})") from error
        return np.asarray(states, dtype=np.float32)
