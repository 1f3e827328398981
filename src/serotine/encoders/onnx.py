"""The ONNX Runtime backend: token ids to token states."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serotine.errors import EncoderError


class OnnxBackend:
    """Runs one ONNX model on the CPU.

    Raises:
        EncoderError: the file cannot be loaded, or lacks the output asked for.
    """

    def __init__(self, model: Path, output: str, threads: int | None) -> None:
        # Imported here: it takes a fifth of a second that `import serotine` should not pay.
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        # ONNX Runtime raises its own exception types, all plain Exceptions, for a file it cannot load.
        except Exception as error:
            raise EncoderError(f"{model}: ONNX Runtime cannot load it ({str(error).splitlines()[0]})") from error
        self._inputs = {node.name for node in self._session.get_inputs()}
        outputs = [node.name for node in self._session.get_outputs()]
        if output not in outputs:
            raise EncoderError(f"{model}: has no output {output!r}, only {', '.join(outputs)}")
        self._output = output

    def run(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Token states float32 (batch, tokens, dim) of int64 ids and mask (batch, tokens)."""
        feeds = {"input_ids": ids, "attention_mask": mask}
        if "token_type_ids" in self._inputs:
            feeds["token_type_ids"] = np.zeros_like(ids)
        states: NDArray[np.float32] = self._session.run([self._output], feeds)[0]
        return states
