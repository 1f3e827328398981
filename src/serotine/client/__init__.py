"""The client: use a served index like one on disk."""

from serotine.client.client import Client

__all__ = ["Client"]
