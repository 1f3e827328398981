"""Indexes as tools for agents, over the Model Context Protocol: search, expand, list.

Requires the mcp extra: ``pip install 'serotine[mcp]'``.
"""
