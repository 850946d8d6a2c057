"""ComfyUI loads the repository as a pack through this file; the library itself is the `maskwright` package."""

import sys

if __name__ == "maskwright" and "folder_paths" not in sys.modules:
    # Not ComfyUI: Python runs in the folder above a checkout of this name, whose package this file would hide.
    from importlib.util import module_from_spec, spec_from_file_location
    from pathlib import Path

    _spec = spec_from_file_location(__name__, Path(__file__).with_name(__name__) / "__init__.py")
    sys.modules[__name__] = module_from_spec(_spec)  # an import gives what stands there at its end
    _spec.loader.exec_module(sys.modules[__name__])
elif __package__:  # loaded by ComfyUI; test runners and tools import this file by its path
    from .maskwright.comfyui import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

    WEB_DIRECTORY = "./web"
    __all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS", "WEB_DIRECTORY"]
