"""`maskwright models`: list, info, fetch, import and bundle."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import Error, ModelError
from .options import check_model, talk_options
from .talk import agree, open_store, talking

if TYPE_CHECKING:
    from ..models import ModelCard, Store

__all__ = ["models"]


@click.group("models", context_settings={"help_option_names": ["-h", "--help"]})
def models() -> None:
    """The catalog, and the weights on this machine."""


@models.command("list")
@talk_options
def list_models(quiet: bool, as_json: bool, **_: Any) -> None:
    """All models: what they are for, their licence, and whether their weights are here."""
    from ..models import catalog

    store = open_store(quiet=quiet)
    rows = [(card, _is_here(card, store)) for card in catalog()]
    if as_json:
        click.echo(json.dumps([{**asdict(card), "here": here} for card, here in rows]))
        return
    for card, here in rows:
        click.echo(
            f"{'*' if here else ' '} {card.name:<22} {_size_of(card):>7}  {card.license[:14]:<14}  {card.summary}"
        )
    click.echo("* weights are on this machine")


def _is_here(card: ModelCard, store: Store) -> bool:
    return any(store.find(weights) is not None for weights in card.weights)


def _size_of(card: ModelCard) -> str:
    size = next((weights.size for weights in card.weights if weights.size), None)
    return f"{size / 1e6:.0f} MB" if size else ""


@models.command("info")
@click.argument("name")
@talk_options
def info(name: str, as_json: bool, **_: Any) -> None:
    """Everything the catalog knows of a model."""
    from ..models import find_card

    card = find_card(check_model(name))
    values = asdict(card)
    if as_json:
        click.echo(json.dumps(values))
        return
    for key, value in values.items():
        click.echo(f"{key}: {json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, tuple)) else value}")
    for weights in card.weights:
        click.echo(f"hash of {weights.file}: {weights.hash_origin}")


@models.command("fetch")
@click.argument("names", metavar="NAME...", nargs=-1)
@click.option("--accept-hash", multiple=True, metavar="SHA256", help="Accept weights with this hash.")
@click.option("--accept-license", is_flag=True, help="Accept the licences of the models named.")
@talk_options
def fetch(
    names: tuple[str, ...],
    accept_hash: tuple[str, ...],
    accept_license: bool,
    quiet: bool,
    debug: bool,
    as_json: bool,
) -> None:
    """Bring weights to this machine and check them. Without a name: all that may be used commercially.

    One that cannot be had does not keep the others from coming.
    """
    from ..models import catalog, find_card
    from ..segmenters import choose_weights

    cards = [find_card(check_model(name)) for name in names]
    if not names:
        cards = [card for card in catalog() if card.commercial is not False and _is_published(card)]
    store = open_store(accept_hash, quiet)
    failed = 0
    with talking(quiet, debug):
        for card in cards:
            try:
                agree(card, store, accept_license)
                stored = store.ensure(choose_weights(card, store))
            except ModelError as error:
                if len(cards) == 1:
                    raise
                failed += 1
                click.echo(f"maskwright: {card.name}: {' '.join(str(error).split())}", err=True)
                continue
            if as_json:
                click.echo(json.dumps({"model": card.name, "path": str(stored.path), "sha256": stored.sha256}))
            elif not quiet:
                click.echo(f"{card.name}: {stored.path}", err=True)
    if failed:
        raise Error(f"{failed} of {len(cards)} models were not fetched")


def _is_published(card: ModelCard) -> bool:
    return any(weights.sources for weights in card.weights)


@models.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--as", "name", metavar="NAME", help="The model whose weights these are; left out: known by the hash.")
@click.option("--onnx", is_flag=True, help="Export to ONNX too, for machines without PyTorch.")
@talk_options
def import_command(file: Path, name: str | None, onnx: bool, quiet: bool, debug: bool, as_json: bool) -> None:
    """Take weights of your own into the store: a checkpoint, safetensors or ONNX.

    The network is recognised by what the file holds. A checkpoint is converted to safetensors once, and nothing in it
    is run.
    """
    from ..models.importing import import_weights

    with talking(quiet, debug):
        done = import_weights(file, open_store(quiet=quiet), name=check_model(name) if name else None, onnx=onnx)
    files = [str(stored.path) for stored in done.stored]
    if as_json:
        click.echo(json.dumps({"model": done.model, "network": done.network, "sha256": done.sha256, "files": files}))
    elif not quiet:
        click.echo(f"{done.model}: {done.network}, sha256 {done.sha256}: {', '.join(files)}", err=True)


@models.command("bundle")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("names", metavar="[NAME...]", nargs=-1)
@click.option("--accept-hash", multiple=True, metavar="SHA256", help="Accept weights with this hash.")
@click.option("--accept-license", is_flag=True, help="Accept the licences of the models named.")
@talk_options
def bundle(
    folder: Path,
    names: tuple[str, ...],
    accept_hash: tuple[str, ...],
    accept_license: bool,
    quiet: bool,
    debug: bool,
    as_json: bool,
) -> None:
    """Fill a folder with models, their hashes and licences, for a machine without a network.

    Models that are named are fetched first where they are not here. Without a name: all that are here and whose
    licence is accepted.
    """
    from ..models import catalog, find_card
    from ..models.bundle import write_bundle
    from ..segmenters import choose_weights

    store = open_store(accept_hash, quiet)
    cards = [find_card(check_model(name)) for name in names]
    if not names:
        here = (card for card in catalog() if card.weights and _is_here(card, store))
        cards = [card for card in here if card.commercial is not False or store.is_license_accepted(card.name)]
    with talking(quiet, debug):
        for card in cards:
            agree(card, store, accept_license)
        done = write_bundle(folder, [(card, store.ensure(choose_weights(card, store))) for card in cards])
    if as_json:
        click.echo(json.dumps({"folder": str(done.folder), "models": done.models, "size": done.size, "use": done.use}))
    elif not quiet:
        click.echo(f"{', '.join(done.models)}: {done.size / 1e6:.0f} MB in {done.folder}", err=True)
        click.echo(f"on the other machine: {done.use}", err=True)
