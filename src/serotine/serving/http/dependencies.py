"""The services of the application, for its routes."""

from __future__ import annotations

from fastapi import Request

from serotine.serving.services import Services


def services_of(request: Request) -> Services:
    """Return the services of the process that handles a request."""
    services: Services = request.app.state.services
    return services
