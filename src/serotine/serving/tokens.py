"""Bearer tokens: where they come from, and what each may do."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from serotine.errors import InputFileError

Scope = Literal["read", "write"]
SCOPES: tuple[Scope, ...] = ("read", "write")
_SHORTEST = 16
_VARIABLES: dict[Scope, str] = {"read": "SEROTINE_READ_TOKENS", "write": "SEROTINE_WRITE_TOKENS"}


@dataclass(frozen=True, slots=True)
class Token:
    """One token, kept as its SHA-256 only.

    Attributes:
        digest: of the token.
        scope: "read", or "write", which may read too.
    """

    digest: bytes
    scope: Scope

    @classmethod
    def of(cls, secret: str, scope: Scope) -> Token:
        """The token of a secret."""
        return cls(_digest(secret), scope)


def scope_of(tokens: Sequence[Token], secret: str) -> Scope | None:
    """What a secret may do, or None; the time it takes tells nothing of the tokens."""
    digest = _digest(secret)
    found: Scope | None = None
    for token in tokens:
        if hmac.compare_digest(token.digest, digest) and found != "write":
            found = token.scope
    return found


def read_tokens(file: Path | None, environment: Mapping[str, str] = os.environ) -> tuple[Token, ...]:
    """The tokens of a file and of the environment.

    A file has one token a line, `read TOKEN` or `write TOKEN`; blank lines and lines that begin with # count for
    nothing. The variables SEROTINE_READ_TOKENS and SEROTINE_WRITE_TOKENS hold tokens separated by commas.

    Raises:
        InputFileError: a file that cannot be read or has another line, a token that is too short, or none at all where
            a file was named.
    """
    tokens = [
        _checked(secret.strip(), scope, variable)
        for scope, variable in _VARIABLES.items()
        for secret in environment.get(variable, "").split(",")
        if secret.strip()
    ]
    if file is not None:
        found = _of_file(file)
        if not found:
            raise InputFileError(f"{file}: holds no token; write lines such as: read TOKEN")
        tokens += found
    return tuple(tokens)


def _of_file(file: Path) -> list[Token]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputFileError(f"{file}: cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8'})") from None
    tokens = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2 or words[0] not in SCOPES:
            # The line itself may be a secret, so it is not shown.
            raise InputFileError(f"{file}:{number}: want 'read TOKEN' or 'write TOKEN'")
        tokens.append(_checked(words[1], "read" if words[0] == "read" else "write", f"{file}:{number}"))
    return tokens


def _checked(secret: str, scope: Scope, place: str) -> Token:
    if len(secret) < _SHORTEST or not secret.isascii() or not secret.isprintable():
        raise InputFileError(
            f"{place}: a token has at least {_SHORTEST} printable ASCII characters; make one with: openssl rand -hex 32"
        )
    return Token.of(secret, scope)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
