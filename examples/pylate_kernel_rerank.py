"""The reranking program of pplx-embed-v1-late-0.6b's model card, with PyLate's import line changed.

    make hf-kernels
    LOCAL_KERNELS="erikkaum/maxsim=$PWD/dist/hf-kernels" python examples/pylate_kernel_rerank.py [MODEL]

LOCAL_KERNELS redirects `get_kernel` to Serotine's kernel (docs/hf-kernels.md), which scores on the CPU too; without it
the card's own kernel is downloaded from the hub, for GPUs. Without a network, MODEL is a folder.
"""

import sys

import torch
from kernels import get_kernel

from serotine.integrations.pylate import models  # the card: from pylate import models

MODEL = sys.argv[1] if len(sys.argv) > 1 else "perplexity-ai/pplx-embed-v1-late-0.6b"

model = models.ColBERT(
    model_name_or_path=MODEL,
    trust_remote_code=True,
)
maxsim = get_kernel("erikkaum/maxsim", version=1, trust_remote_code=True)

documents = [
    "Scientists explore the universe driven by curiosity.",
    "Children learn through curious exploration.",
    "Historical discoveries began with curious questions.",
]
q_emb = model.encode(["What motivates scientific discovery?"], is_query=True, convert_to_tensor=True)
d_emb = model.encode(documents, is_query=False, convert_to_tensor=True)

queries_pad = torch.nn.utils.rnn.pad_sequence(q_emb, batch_first=True)  # [1, Lq, D]
documents_pad = torch.nn.utils.rnn.pad_sequence(d_emb, batch_first=True).unsqueeze(0)  # [1, C, Ld, D]
query_lengths = torch.tensor([len(q) for q in q_emb], dtype=torch.int32, device=queries_pad.device)
doc_lengths = torch.tensor([[len(d) for d in d_emb]], dtype=torch.int32, device=queries_pad.device)

scores = maxsim.score_candidates_padded(queries_pad, documents_pad, query_lengths, doc_lengths)
print(scores)
