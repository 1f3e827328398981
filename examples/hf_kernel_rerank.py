"""Rerank with the MaxSim kernel through Hugging Face's `kernels`, offline: ``pip install 'kernels>=0.17' torch``.

The lines from `get_kernel` on are those of model cards that use erikkaum/maxsim; LOCAL_KERNELS redirects them to the
folder written here. Vectors are random; candidate 3 contains the query's, and must win.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from serotine.integrations.hf_kernels import write_kernel


def main() -> None:
    """Write the kernel, load it under the other kernel's name, rank five candidates."""
    with tempfile.TemporaryDirectory() as folder:
        kernel = Path(folder) / "maxsim"
        write_kernel(kernel)
        os.environ["LOCAL_KERNELS"] = f"erikkaum/maxsim={kernel}"
        rerank()


def rerank() -> None:
    """Score as a model card does."""
    import torch
    from kernels import get_kernel
    from torch.nn.functional import normalize, pad

    maxsim = get_kernel("erikkaum/maxsim", version=1, trust_remote_code=True)

    torch.manual_seed(0)
    query = normalize(torch.randn(12, 128), dim=-1)
    documents = [normalize(torch.randn(length, 128), dim=-1) for length in (40, 180, 7, 90, 25)]
    documents[3][10:22] = query

    length = max(len(document) for document in documents)
    queries_pad = query[None].half()
    documents_pad = torch.stack([pad(document, (0, 0, 0, length - len(document))) for document in documents])
    documents_pad = documents_pad[None].half()
    query_lengths = torch.tensor([len(query)], dtype=torch.int32)
    doc_lengths = torch.tensor([[len(document) for document in documents]], dtype=torch.int32)

    scores = maxsim.score_candidates_padded(queries_pad, documents_pad, query_lengths, doc_lengths)

    print(f"kernel: {maxsim.__name__}, CPU tensors run on: {maxsim.cpu_backend()}")
    for rank, candidate in enumerate(scores[0].argsort(descending=True).tolist(), 1):
        print(f"{rank}. candidate {candidate}  {scores[0, candidate]:7.3f}  ({len(documents[candidate])} tokens)")


if __name__ == "__main__":
    main()
