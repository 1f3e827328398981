"""The HTTP server: `serotine serve`."""
