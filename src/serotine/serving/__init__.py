"""The HTTP server: `serotine serve`. Nothing is imported here, so that the client can share the wire's small parts."""
