"""The command line, one file a command: it parses and calls the library."""

from __future__ import annotations

from .app import app, main

__all__ = ["app", "main"]
