"""The search page: static files, no build step, nothing from other hosts."""

from __future__ import annotations

from pathlib import Path

STATIC = Path(__file__).with_name("static")
"""The folder of the page's files; a server serves `index.html` at ``/``."""

HEADERS = {
    # Everything from this server and no inline code: text from documents can never run.
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # The files change with the package: browsers must revalidate.
    "Cache-Control": "no-cache",
}
"""The HTTP headers of every file."""
