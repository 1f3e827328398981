"""Pages as images: an index of patch vectors, as ColPali and its kind compute them.

Serotine has no encoder for images. It indexes the vectors of one: an array (patches, dim) for every page, and an array
(tokens, dim) for every query. Here they are random, except that one page has two patches like the query's tokens:

    pages = [model(**processor.process_images([image])).embeddings[0] for image in images]       # in place of `page`
    query = model(**processor.process_queries(["the budget of 2025"])).embeddings[0]
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serotine import Index

# ColPali cuts a page into 32 x 32 patches and gives each a vector of 128 dimensions.
SIDE, DIM, PAGES = 32, 128, 12


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows of length 1."""
    norms: NDArray[np.float32] = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / norms


def main() -> None:
    """Index pages of two files, find the page of a query, and the patches that its tokens matched."""
    random = np.random.default_rng(1)
    query = unit(random.standard_normal((2, DIM), dtype=np.float32))
    pages = [unit(random.standard_normal((SIDE * SIDE, DIM), dtype=np.float32)) for _ in range(PAGES)]
    noise = unit(random.standard_normal((2, DIM), dtype=np.float32))
    pages[7][[3 * SIDE + 10, 20 * SIDE + 5]] = unit(query + 0.5 * noise)

    with tempfile.TemporaryDirectory() as folder, Index.create(Path(folder) / "pages", dim=DIM) as index:
        index.add(
            ids=[f"{number // 6}.pdf#{number % 6 + 1}" for number in range(PAGES)],
            vectors=pages,
            metadata=[{"file": f"{number // 6}.pdf", "page": number % 6 + 1} for number in range(PAGES)],
        )
        (hit,) = index.search(query, k=1, where={"file": "1.pdf"})
        print(f"{hit.metadata['file']}, page {hit.metadata['page']}: {hit.score_per_token:.2f}")
        patches = np.argmax(query @ index.vectors(hit.id).T.astype(np.float32), axis=1)
        for token, patch in enumerate(patches):
            print(f"token {token}: row {patch // SIDE}, column {patch % SIDE}")


if __name__ == "__main__":
    main()
