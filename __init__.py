"""ComfyUI loads the repository as a pack through this file; the library itself is the `maskwright` package."""
