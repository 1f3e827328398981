"""What goes over the wire, as pydantic models: they check requests and make the OpenAPI schema."""
