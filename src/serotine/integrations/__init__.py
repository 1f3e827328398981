"""Serotine inside other people's frameworks. Each module here is optional and imports only what it serves."""
