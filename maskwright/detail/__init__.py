"""Redrawing inside masks across frames: segments, the detailer, sampling."""

from __future__ import annotations
