"""The HTTP server: the API, the page, and who may use them."""

from __future__ import annotations

from .settings import ServerSettings

__all__ = ["ServerSettings"]
