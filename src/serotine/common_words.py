"""Words too common to say what a text is about: matches of them are shown faintly.

A word is common if it is a function word of a European language, or if most documents have it. The second needs no
list and works in every language, but only in collections large enough to count in; the first works in a collection of
three documents. Words that mean something else in another of these languages ("die", "war", "son") are not listed.
"""

from __future__ import annotations

FAINTEST = 0.1
"""The rarity of a word that every document has."""

# Documents that every word is missing from, added to the count: in a small collection a word of all documents may well
# be its subject.
_PRIOR_DOCUMENTS = 20
# Up to this share of the documents a word is as good as any.
_RARE_SHARE = 0.25

_ENGLISH_WORDS = """
a about after all also am an and any are as at be been but by can could did do does each for from had has have he her
his how i if in into is it its me more most my nor not of on or our over she should so some such than that the their
them then there these they this those to under up was we were what when where which while who whom whose why will with
would you your
"""
_GERMAN = """
aber auch auf aus bei bis das dass dem der des durch ein eine einem einen einer eines er es für ich im ist mit nach
nicht noch oder sich sie sind um und von vor wenn werden wie wird wo zu zum zur über
"""
_FRENCH = """
au aux avec ce ces cette dans de du elle en est et il ils je la le les leur mais ne nous ou où par pas qu que qui
sa se ses sont sur un une vous
"""
_SOUTHERN = """
al ao aos che como cual da dal degli dei del della delle di e el essa este esta gli lo los las na não nel nella os para
più por quien su sua também um uma una uno y
"""
_DUTCH = "dat deze een het hij ik niet ook te voor zijn"
# What an apostrophe splits off: "it's", "don't", "we'll", "l'eau".
_SPLIT_OFF = "l ll re s t ve"
ENGLISH = frozenset(_ENGLISH_WORDS.split())
"""Function words of English."""

_FUNCTION_WORDS = frozenset(f"{_ENGLISH_WORDS} {_GERMAN} {_FRENCH} {_SOUTHERN} {_DUTCH} {_SPLIT_OFF}".split())


def is_function_word(word: str) -> bool:
    """Return whether a word, in any case, is a function word of a European language."""
    return word.casefold() in _FUNCTION_WORDS


def rarity(word: str, documents: int = 0, frequency: int = 0) -> float:
    """Return how much a match of a word says: 1 for a rare word, down to 0.1 for one that occurs everywhere.

    Args:
        word: one word, in any case.
        documents: number of documents in the collection; 0 where it is unknown.
        frequency: number of those that have the word.
    """
    if is_function_word(word):
        return FAINTEST
    share = frequency / (documents + _PRIOR_DOCUMENTS)
    return 1 - (1 - FAINTEST) * max(share - _RARE_SHARE, 0.0) / (1 - _RARE_SHARE)
