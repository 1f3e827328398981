"""Serving indexes: to agents over MCP, to programs over HTTP, to people as a page."""
