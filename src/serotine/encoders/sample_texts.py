"""Texts to compare a model with its export on: the Universal Declaration of Human Rights (1948), public domain."""
# ruff: noqa: E501, RUF001

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from serotine.errors import TruncatedTextWarning, UnknownTextWarning

TEXTS = [
    "All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience and "
    "should act towards one another in a spirit of brotherhood.",
    "Everyone has the right to life, liberty and security of person.",
    "No one shall be held in slavery or servitude; slavery and the slave trade shall be prohibited in all their forms.",
    "Everyone charged with a penal offence has the right to be presumed innocent until proved guilty according to law "
    "in a public trial at which he has had all the guarantees necessary for his defence.",
    "No one shall be subjected to arbitrary interference with his privacy, family, home or correspondence, nor to "
    "attacks upon his honour and reputation.",
    "Everyone has the right to freedom of opinion and expression; this right includes freedom to hold opinions without "
    "interference and to seek, receive and impart information and ideas through any media and regardless of frontiers.",
    "Everyone has the right to education. Education shall be free, at least in the elementary and fundamental stages. "
    "Elementary education shall be compulsory.",
    "Everyone has the right freely to participate in the cultural life of the community, to enjoy the arts and to share "
    "in scientific advancement and its benefits.",
    "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison et de conscience "
    "et doivent agir les uns envers les autres dans un esprit de fraternité.",
    "Tout individu a droit à la vie, à la liberté et à la sûreté de sa personne.",
    "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt und "
    "sollen einander im Geist der Brüderlichkeit begegnen.",
    "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como están de razón y conciencia, "
    "deben comportarse fraternalmente los unos con los otros.",
    "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。",
    "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق، وقد وهبوا عقلا وضميرا وعليهم أن يعامل بعضهم بعضا بروح الإخاء.",
    "Все люди рождаются свободными и равными в своем достоинстве и правах.",
]


@contextmanager
def no_text_warnings() -> Iterator[None]:
    """Silence warnings about texts: these are in scripts that an encoder may not know, and only compare two models."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncatedTextWarning)
        warnings.simplefilter("ignore", UnknownTextWarning)
        yield
