"""The client: a served index, used like one on disk."""

from serotine.client.client import Client

__all__ = ["Client"]
