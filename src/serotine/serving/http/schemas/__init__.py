"""Request and response bodies: they validate requests and define the OpenAPI schema."""
