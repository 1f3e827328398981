"""The page people search with: static files, no build step, nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path

STATIC = Path(__file__).with_name("static")
"""The folder that a server shows at ``/``, `index.html` first."""

HEADERS = {
    # Everything from this server, and no code in the page itself: text from documents can never become any.
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # The files change with the package: browsers ask whether theirs is the newest.
    "Cache-Control": "no-cache",
}
"""What every one of these files is to be sent with."""
