"""Write what ComfyUI shows of the nodes: help pages, and the texts in all languages.

    python scripts/make_comfyui_pages.py            write them
    python scripts/make_comfyui_pages.py --check    write nothing; exit 1 where one is stale or a translation is missing
    python scripts/make_comfyui_pages.py --missing LANGUAGE    print the texts that language lacks, as JSON

`web/docs/` and `locales/` are made from the nodes' own declarations; the other languages by way of the phrase books
`scripts/phrases/LANGUAGE.json`, which hold each English text once with its translation.
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

PHRASES = ROOT / "scripts" / "phrases"
LANGUAGES = ("zh", "ja", "ko", "fr", "es", "de", "ru")
_RANGE = ("min", "max")
_INSTALLED = ("sampler_name", "scheduler")  # words that ComfyUI and other packs bring


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
    return shown, f"`{'COMBO' if isinstance(kind, list) else kind}`", _values(name, kind, options), options["tooltip"]


def _values(name: str, kind: Any, options: dict[str, Any]) -> str:
    if name in _INSTALLED:
        return "what ComfyUI has"
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


def translate(texts: Any, phrases: dict[str, str]) -> Any:
    """The same texts in another language; the names of inputs and outputs stay, because workflows show them so."""
    if isinstance(texts, dict):
        return {key: value if key == "name" else translate(value, phrases) for key, value in texts.items()}
    return phrases[texts]


def list_texts(texts: Any) -> list[str]:
    """Every text to be translated, once."""
    found: dict[str, None] = {}
    for key, value in texts.items():
        if isinstance(value, dict):
            found |= dict.fromkeys(list_texts(value))
        elif key != "name":
            found[value] = None
    return list(found)


def load_phrases(language: str) -> dict[str, str]:
    """A language's phrase book."""
    path = PHRASES / f"{language}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def english_texts() -> dict[str, Any]:
    """The texts of all nodes."""
    nodes, names = load_nodes()
    return {node_id: node_texts(node, names[node_id]) for node_id, node in nodes.items()}


def find_missing(language: str) -> list[str]:
    """The texts that a phrase book lacks."""
    phrases = load_phrases(language)
    return [text for text in list_texts(english_texts()) if not phrases.get(text)]


def make_pages() -> dict[Path, str]:
    """Every file that is made from the nodes, with its text; languages with gaps in their phrase books are left out."""
    nodes, names = load_nodes()
    pages = {
        ROOT / "web" / "docs" / f"{node_id}.md": help_page(node, names[node_id]) for node_id, node in nodes.items()
    }
    english = english_texts()
    versions = {"en": english}
    versions |= {one: translate(english, load_phrases(one)) for one in LANGUAGES if not find_missing(one)}
    for language, texts in versions.items():
        written = json.dumps(texts, indent=2, ensure_ascii=False) + "\n"
        pages[ROOT / "locales" / language / "nodeDefs.json"] = written
    return pages


def find_gaps() -> list[str]:
    """What the phrase books lack, or have too much."""
    known = set(list_texts(english_texts()))
    gaps = []
    for language in LANGUAGES:
        gaps += [f"{language} lacks: {text}" for text in find_missing(language)]
        gaps += [
            f"{language} translates what no node says: {text}" for text in load_phrases(language) if text not in known
        ]
    return gaps


def main() -> int:
    """Write the pages, or say which are stale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--missing", metavar="LANGUAGE", choices=LANGUAGES)
    arguments = parser.parse_args()
    if arguments.missing:
        print(json.dumps(dict.fromkeys(find_missing(arguments.missing), ""), indent=1, ensure_ascii=False))
        return 0
    check = arguments.check
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
