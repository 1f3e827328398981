"""Bearer tokens: their sources and scopes."""

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
_MIN_LENGTH = 16
_VARIABLES: dict[Scope, str] = {"read": "SEROTINE_READ_TOKENS", "write": "SEROTINE_WRITE_TOKENS"}


@dataclass(frozen=True, slots=True)
class Token:
    """One token, stored as its SHA-256 only.

    Attributes:
        digest: SHA-256 of the token.
        scope: "read", or "write", which may read too.
    """

    digest: bytes
    scope: Scope

    @classmethod
    def of(cls, secret: str, scope: Scope) -> Token:
        """Return the token of a secret."""
        return cls(_digest(secret), scope)


def scope_of(tokens: Sequence[Token], secret: str) -> Scope | None:
    """Return the scope of a secret, or None; takes the same time for every secret."""
    digest = _digest(secret)
    scope: Scope | None = None
    for token in tokens:
        if hmac.compare_digest(token.digest, digest) and scope != "write":
            scope = token.scope
    return scope


def read_tokens(file: Path | None, environment: Mapping[str, str] = os.environ) -> tuple[Token, ...]:
    """Read the tokens of a file and of the environment.

    A file has one token per line, `read TOKEN` or `write TOKEN`; blank lines and lines that begin with # are
    ignored. The variables SEROTINE_READ_TOKENS and SEROTINE_WRITE_TOKENS hold tokens separated by commas.

    Raises:
        InputFileError: the file cannot be read, has no token or any other line; or a token is too short.
    """
    tokens = [
        _token(secret.strip(), scope, variable)
        for scope, variable in _VARIABLES.items()
        for secret in environment.get(variable, "").split(",")
        if secret.strip()
    ]
    if file is not None:
        file_tokens = _from_file(file)
        if not file_tokens:
            raise InputFileError(f"{file}: has no token; write lines such as: read TOKEN")
        tokens += file_tokens
    return tuple(tokens)


def _from_file(file: Path) -> list[Token]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputFileError(f"{file}: cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8'})") from None
    tokens = []
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        if len(fields) != 2 or fields[0] not in SCOPES:
            # Not shown: the line may be a secret.
            raise InputFileError(f"{file}:{number}: must be 'read TOKEN' or 'write TOKEN'")
        tokens.append(_token(fields[1], "read" if fields[0] == "read" else "write", f"{file}:{number}"))
    return tokens


def _token(secret: str, scope: Scope, origin: str) -> Token:
    if len(secret) < _MIN_LENGTH or not secret.isascii() or not secret.isprintable():
        raise InputFileError(
            f"{origin}: a token must have at least {_MIN_LENGTH} printable ASCII characters; "
            "create one with: openssl rand -hex 32"
        )
    return Token.of(secret, scope)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
