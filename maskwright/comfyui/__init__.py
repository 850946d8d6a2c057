"""The nodes for ComfyUI. Importing them reads no file, reaches no network and needs no library but NumPy and Pillow."""

from .nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
