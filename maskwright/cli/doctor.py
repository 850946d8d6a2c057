"""`maskwright doctor`."""

from __future__ import annotations

import json
from typing import Any

import click

from .options import talk_options
from .talk import open_store

__all__ = ["doctor"]


@click.command("doctor")
@talk_options
def doctor(as_json: bool, **_: Any) -> None:
    """What is installed and what is missing: engines, devices, the store, extras."""
    from ..doctor import examine

    report = examine(open_store(quiet=True))
    if as_json:
        click.echo(json.dumps(report))
        return
    for section, lines in report.items():
        click.echo(f"{section}:")
        for name, value in lines.items():
            click.echo(f"  {name}: {value}")
