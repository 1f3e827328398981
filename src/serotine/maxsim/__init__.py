"""MaxSim scoring (placeholder while the native core is built; same signature)."""
import numpy as np
from serotine.maxsim import reference


def score(query, documents, document_offsets=None, *, allow_nonfinite=False):
    if document_offsets is not None:
        documents = [documents[a:b] for a, b in zip(document_offsets[:-1], document_offsets[1:])]
    return np.array([reference.score(query, d) for d in documents], dtype=np.float32)
