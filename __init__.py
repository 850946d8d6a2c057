"""ComfyUI loads the repository as a pack through this file; the library itself is the `maskwright` package."""

if __package__:  # loaded by ComfyUI; test runners and tools import this file by its path
    from .maskwright.comfyui import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

    WEB_DIRECTORY = "./web"
    __all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS", "WEB_DIRECTORY"]
