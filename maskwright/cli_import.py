"""`maskwright models import`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from .cli_options import check_model, talk_options
from .cli_talk import open_store, talking

__all__ = ["import_command"]


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--as", "name", metavar="NAME", help="The model whose weights these are; left out: known by the hash.")
@click.option("--onnx", is_flag=True, help="Export to ONNX too, for machines without PyTorch.")
@talk_options
def import_command(file: Path, name: str | None, onnx: bool, quiet: bool, debug: bool, as_json: bool) -> None:
    """Take weights of your own into the store: a checkpoint, safetensors or ONNX.

    The network is recognised by what the file holds. A checkpoint is converted to safetensors once, and nothing in it
    is run.
    """
    from .models.importing import import_weights

    with talking(quiet, debug):
        done = import_weights(file, open_store(quiet=quiet), name=check_model(name) if name else None, onnx=onnx)
    files = [str(stored.path) for stored in done.stored]
    if as_json:
        click.echo(json.dumps({"model": done.model, "network": done.network, "sha256": done.sha256, "files": files}))
    elif not quiet:
        click.echo(f"{done.model}: {done.network}, sha256 {done.sha256}: {', '.join(files)}", err=True)
