"""`maskwright serve`."""

from __future__ import annotations

import os
from typing import Any

import click

from ..errors import Error
from .options import check_model, server_options
from .talk import agree, open_store, talking

__all__ = ["serve"]


@click.command("serve")
@server_options
@click.option("--accept-hash", multiple=True, metavar="SHA256", help="Accept weights with this hash.")
@click.option("--accept-license", is_flag=True, help="Accept the licences of the models named.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def serve(quiet: bool, debug: bool, accept_hash: tuple[str, ...], accept_license: bool, **values: Any) -> None:
    """Serve the HTTP API and a page on this machine.

    Others reach it when --host names an address of the network, and --token says what they must know.
    """
    from ..models import find_card
    from ..server import ServerSettings

    values["token"] = values["token"] or os.environ.get("MASKWRIGHT_TOKEN") or None
    values["models"] = tuple(check_model(name) for name in values["models"]) or ("u2netp",)
    settings = ServerSettings(**values)
    try:
        from ..server.run import serve as run
        from ..server.sessions import Sessions
    except ImportError as error:
        raise Error(
            "the server needs libraries that are not installed", hint='pip install "maskwright[server]"'
        ) from error
    store = open_store(accept_hash, quiet)
    for name in settings.models:
        agree(find_card(name), store, accept_license)
    sessions = Sessions(store, fetch=settings.fetch, device=settings.device, threads=settings.network_threads)
    with talking(
        quiet or settings.log_level in ("critical", "error"), debug or settings.log_level in ("debug", "trace")
    ):
        run(settings, sessions, started=None if quiet else _say_where)


def _say_where(address: str) -> None:
    click.echo(f"maskwright: page at {address}/, API described at {address}/api; end it with Ctrl+C", err=True)
