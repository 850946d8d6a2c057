"""Other programs' signatures, for switching with one import line."""

from . import rembg

__all__ = ["rembg"]
