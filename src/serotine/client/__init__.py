"""A server's index, used like one on disk: `serotine.Client`."""

from serotine.client.client import Client

__all__ = ["Client"]
