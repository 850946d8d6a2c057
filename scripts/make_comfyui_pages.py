"""Write what ComfyUI shows of the nodes: help pages, the English texts, the example workflows.

    python scripts/make_comfyui_pages.py            write them
    python scripts/make_comfyui_pages.py --check    write nothing; exit 1 where one is stale or a translation is missing

`web/docs/` and `locales/en/` are made from the nodes' own declarations. The other languages in `locales/` are written
by hand; their files must name the same nodes, inputs and outputs.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

LANGUAGES = ("zh", "ja", "ko", "fr", "es", "de", "ru")
_RANGE = ("min", "max")


def load_nodes() -> tuple[dict[str, type], dict[str, str]]:
    """The node classes and their display names, all ids included."""
    pack = importlib.import_module("maskwright.comfyui")
    return pack.NODE_CLASS_MAPPINGS, pack.NODE_DISPLAY_NAME_MAPPINGS


def list_inputs(node: type) -> dict[str, tuple[Any, dict[str, Any], bool]]:
    """Kind, options and whether it must be given, of each input by name."""
    declared = node.INPUT_TYPES()  # type: ignore[attr-defined]
    return {
        name: (one[0], one[1], section == "required")
        for section in ("required", "optional")
        for name, one in declared.get(section, {}).items()
    }


def help_page(node: type, name: str) -> str:
    """The Markdown that ComfyUI shows for a node."""
    rows = [_input_row(*item) for item in list_inputs(node).items()]
    outputs = zip(node.RETURN_NAMES, node.RETURN_TYPES, node.OUTPUT_TOOLTIPS, strict=True)  # type: ignore[attr-defined]
    lines = [
        f"# {name}",
        "",
        node.DESCRIPTION,  # type: ignore[attr-defined]
        "",
        "## Inputs",
        "",
        *_table(("Input", "Type", "Values", "What it does"), rows),
        "",
        "## Outputs",
        "",
        *_table(("Output", "Type", "What it is"), [(f"`{title}`", f"`{kind}`", text) for title, kind, text in outputs]),
    ]
    notes = getattr(node, "HELP", "")
    return "\n".join([*lines, *(["", notes.strip()] if notes else [])]) + "\n"


def _input_row(name: str, declared: tuple[Any, dict[str, Any], bool]) -> tuple[str, str, str, str]:
    kind, options, required = declared
    shown = f"`{name}`" if required else f"`{name}` (optional)"
    return shown, f"`{'COMBO' if isinstance(kind, list) else kind}`", _values(kind, options), options["tooltip"]


def _values(kind: Any, options: dict[str, Any]) -> str:
    if isinstance(kind, list):
        return ", ".join(f"`{value}`" for value in kind) or "files on this machine"
    if "default" not in options:
        return ""
    low, high = (options.get(end) for end in _RANGE)
    span = f", {low} to {high}" if None not in (low, high) else f", at most {high}" if high is not None else ""
    return f"{options['default']}{span}"


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return [_line(header), _line(["---"] * len(header)), *map(_line, escaped)]


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def node_texts(node: type, name: str) -> dict[str, Any]:
    """The texts of a node in the form of ComfyUI's `nodeDefs.json`."""
    outputs = zip(node.RETURN_NAMES, node.OUTPUT_TOOLTIPS, strict=True)  # type: ignore[attr-defined]
    return {
        "display_name": name,
        "description": node.DESCRIPTION,  # type: ignore[attr-defined]
        "inputs": {
            key: {"name": key, "tooltip": options["tooltip"]} for key, (_, options, _) in list_inputs(node).items()
        },
        "outputs": {str(n): {"name": title, "tooltip": text} for n, (title, text) in enumerate(outputs)},
    }


def make_pages() -> dict[Path, str]:
    """Every file that is made from the nodes, with its text."""
    nodes, names = load_nodes()
    pages = {
        ROOT / "web" / "docs" / f"{node_id}.md": help_page(node, names[node_id]) for node_id, node in nodes.items()
    }
    texts = {node_id: node_texts(node, names[node_id]) for node_id, node in nodes.items()}
    pages[ROOT / "locales" / "en" / "nodeDefs.json"] = json.dumps(texts, indent=2, ensure_ascii=False) + "\n"
    return pages


def find_gaps() -> list[str]:
    """What the translations lack, or have too much."""
    english = json.loads(make_pages()[ROOT / "locales" / "en" / "nodeDefs.json"])
    gaps = []
    for language in LANGUAGES:
        path = ROOT / "locales" / language / "nodeDefs.json"
        have = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        differing = _paths(english) ^ _paths(have)
        gaps += [f"{language}: {'.'.join(one)}" for one in sorted(differing)]
    return gaps


def _paths(texts: Any, above: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """The way to each text."""
    if not isinstance(texts, dict):
        return {above}
    return {path for key, value in texts.items() for path in _paths(value, (*above, key))}


def main() -> int:
    """Write the pages, or say which are stale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    pages = make_pages()
    stale = [path for path, text in pages.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    stale += [path for path in (ROOT / "web" / "docs").glob("*.md") if path not in pages]
    if check:
        said = [f"stale: {path.relative_to(ROOT)}" for path in stale] + find_gaps()
        print("\n".join(said) or "all pages are as the nodes say")
        return 1 if said else 0
    for path in stale:
        if path not in pages:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(pages[path], encoding="utf-8", newline="\n")
    print(f"{len(stale)} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
