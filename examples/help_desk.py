"""A help desk that is asked in any language and answers in the asker's, where there is a translation.

Needs the package serotine-multi: pip install ./models/serotine-multi
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from serotine import Encoder, Index

# The id of a text is its article and its language. An article need not be there in every language.
ARTICLES = {
    "password:en": "Forgot your password? Open Settings, choose Security and press Reset. A link arrives by e-mail.",
    "password:de": "Passwort vergessen? Öffnen Sie die Einstellungen, dort Sicherheit, und drücken Sie Zurücksetzen.",
    "refund:en": "You can return a product within 30 days. The money is refunded to your card within a week.",
    "refund:fr": "Vous pouvez retourner un produit sous 30 jours. Il est remboursé sur votre carte en une semaine.",
    "delivery:en": "Orders are delivered within three to five working days. You can track the parcel in your account.",
    "delivery:es": "Los pedidos llegan en tres a cinco días laborables. Puede seguir el paquete en su cuenta.",
}
QUERIES = [
    ("de", "Wie bekomme ich mein Geld zurück?"),
    ("de", "Ich komme nicht mehr in mein Konto, das Kennwort ist weg."),
    ("es", "¿cuándo llega mi pedido?"),
    ("fr", "Quand mon colis sera-t-il livré ?"),
    ("zh", "我忘记了密码"),
]


def answer(index: Index, query: str, language: str) -> tuple[str, str]:
    """Return the id and the text of the article that answers a query, in its language if the article has it."""
    (best,) = index.search(query, k=1)
    article = best.id.partition(":")[0]
    translated, english = index.get([f"{article}:{language}", f"{article}:en"], missing="none")
    hit = translated or english or best
    return hit.id, hit.text or ""


def main() -> None:
    """Index the articles and answer queries in four languages."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "help.serotine"
        with Index.create(path, encoder=Encoder("multilingual")) as index:
            index.add(ids=list(ARTICLES), texts=list(ARTICLES.values()))
            for language, query in QUERIES:
                id_, text = answer(index, query, language)
                print(f"{query}\n    {id_}: {text}")


if __name__ == "__main__":
    main()
