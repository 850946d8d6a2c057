"""What saved workflows depend on in the nodes; `python -m tests.support.schemas` freezes it and prints the change."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

FROZEN = Path(__file__).parents[1] / "golden" / "comfyui" / "schemas.json"
_HINTS = {"tooltip"}
# Combos of what lies in a folder, or of what ComfyUI and other packs have.
VARYING = {"model_name": "files", "sampler_name": "installed", "scheduler": "installed"}


def read_schemas(reported: dict[str, Any]) -> dict[str, Any]:
    """Inputs in their order, outputs, category and kind, of what ComfyUI reports of nodes."""
    return {
        name: {
            "category": one["category"],
            "output_node": one["output_node"],
            "inputs": _inputs(one["input"]),
            "outputs": _outputs(one),
        }
        for name, one in sorted(reported.items())
    }


def _inputs(declared: dict[str, Any]) -> list[list[Any]]:
    return [
        [name, section, _kind(name, kind), {key: value for key, value in options.items() if key not in _HINTS}]
        for section in ("required", "optional")
        for name, (kind, options) in declared.get(section, {}).items()
    ]


def _kind(name: str, kind: Any) -> Any:
    return kind if isinstance(kind, str) else VARYING.get(name) or list(kind)


def _outputs(one: dict[str, Any]) -> list[list[Any]]:
    """[name, type, whether it is a list] of each."""
    return [list(each) for each in zip(one["output_name"], one["output"], one["output_is_list"], strict=True)]


def describe(nodes: dict[str, Any]) -> dict[str, Any]:
    """What ComfyUI would report of node classes."""
    return {
        name: {
            "category": node.CATEGORY,
            "input": node.INPUT_TYPES(),
            "output": node.RETURN_TYPES,
            "output_name": node.RETURN_NAMES,
            "output_is_list": getattr(node, "OUTPUT_IS_LIST", [False] * len(node.RETURN_TYPES)),
            "output_node": getattr(node, "OUTPUT_NODE", False),
        }
        for name, node in nodes.items()
    }


def main() -> None:
    from maskwright.comfyui import NODE_CLASS_MAPPINGS

    fresh = json.dumps(read_schemas(describe(NODE_CLASS_MAPPINGS)), indent=1) + "\n"
    before = FROZEN.read_text(encoding="utf-8") if FROZEN.is_file() else ""
    print("".join(difflib.unified_diff(before.splitlines(True), fresh.splitlines(True), "frozen", "now")))
    FROZEN.write_text(fresh, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
