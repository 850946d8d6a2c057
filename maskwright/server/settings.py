"""How a server behaves: the one definition of its settings, for the command line and for `make_app`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ..errors import OptionError
from ..options import check_options, describe_options, option

__all__ = ["LOOPBACK", "ServerSettings", "is_loopback"]

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_LEVELS = ("critical", "error", "warning", "info", "debug", "trace")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens there.

    >>> is_loopback("127.0.0.2"), is_loopback("0.0.0.0")
    (True, False)
    """
    return host in LOOPBACK or (host.startswith("127.") and host.replace(".", "").isdigit())


@describe_options
@dataclass(frozen=True)
class ServerSettings:
    """How a server behaves. The names are the command line's long flags, with hyphens.

    Raises:
        OptionError: A value outside its range, or an address of the network without a token.
    """

    host: str = option(
        "127.0.0.1",
        "The address to listen on. Any but this machine's own needs a token, or insecure.",
        group="address",
        unit="ADDRESS",
    )
    port: int = option(7000, "The port to listen on; 0 takes a free one.", group="address", low=0, high=65535)
    token: str | None = option(
        None,
        "What callers must send as Authorization: Bearer TOKEN. None: nothing is asked.",
        group="access",
        unit="TOKEN",
    )
    insecure: bool = option(False, "Serve other machines without a token.", group="access")
    allow_host: tuple[str, ...] = option(
        (),
        "A further name by which callers may address the server; * for any. May be repeated.",
        group="access",
        unit="NAME",
    )
    allow_origin: tuple[str, ...] = option(
        (),
        "A web origin whose pages may call the server, such as https://shop.example. May be repeated.",
        group="access",
        unit="ORIGIN",
    )
    allow_urls: bool = option(
        False, "Fetch pictures from public web addresses that callers name, for GET /api/remove.", group="access"
    )
    no_ui: bool = option(False, "Serve no page, the API alone.", group="access")
    models: tuple[str, ...] = option(
        ("u2netp",),
        "A model to make ready at the start; its weights are fetched where they are missing. The first is what "
        "callers get who name none. May be repeated.",
        group="models",
        unit="NAME",
    )
    fetch: bool = option(
        False,
        "Let callers have weights fetched. Without it they get the models whose weights are here.",
        group="models",
    )
    device: str = option("auto", "Where networks run, as for cut.", group="models", unit="DEVICE")
    threads: int = option(
        0, "Pictures worked on at once; 0: one for each processor core.", group="load", unit="pictures", low=0
    )
    queue: int = option(
        16, "Requests that may wait for their turn; the next ones are told to come back.", group="load", low=0
    )
    timeout: float = option(
        120, "How long a request may take, upload and waiting included.", group="load", unit="seconds", low=0.1
    )
    grace: float = option(
        20, "How long a stopping server goes on with what it has begun.", group="load", unit="seconds", low=0
    )
    max_upload: float = option(
        64, "The largest request about one picture.", group="limits", unit="megabytes", low=0.001
    )
    max_pixels: int = option(64_000_000, "The largest picture.", group="limits", unit="pixels", low=1)
    max_jobs: int = option(16, "Jobs kept at once, waiting, running or done.", group="jobs", low=0)
    max_job_upload: float = option(1024, "The largest upload of a job.", group="jobs", unit="megabytes", low=0.001)
    max_job_files: int = option(500, "Pictures in one job.", group="jobs", low=1)
    max_job_unpacked: float = option(
        4096,
        "What the pictures in a job's zip may hold unpacked, and its results.",
        group="jobs",
        unit="megabytes",
        low=0.001,
    )
    keep_results: float = option(3600, "How long a job that has ended is kept.", group="jobs", unit="seconds", low=1)
    log_level: str = option("info", "How much is logged.", group="talk", choices=_LEVELS)

    def __post_init__(self) -> None:
        check_options(self)
        if not self.models:
            raise OptionError("models", expected="one or more names", got="none", hint="leave it out for u2netp")
        if not (is_loopback(self.host) or self.token or self.insecure):
            raise OptionError(
                f"address {self.host} can be reached by other machines",
                hint="give --token TOKEN (or MASKWRIGHT_TOKEN), or --insecure if everybody there may use it",
            )
        if self.token is not None and not (self.token.isascii() and self.token.isprintable() and self.token.strip()):
            raise OptionError("token", expected="printable ASCII, not empty", got="another text", hint="choose another")

    @property
    def workers(self) -> int:
        """How many pictures are worked on at once."""
        return self.threads or _cores()

    @property
    def network_threads(self) -> int | None:
        """Threads for one run of a network, so that all workers together fill the machine; None: the environment's."""
        if os.environ.get("MASKWRIGHT_THREADS") or os.environ.get("OMP_NUM_THREADS"):
            return None
        return max(1, _cores() // self.workers)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names by which the server may be addressed."""
        own = () if self.host in ("0.0.0.0", "::", "") else (self.host,)  # noqa: S104 - compared, not listened on
        return (*LOOPBACK, *own, *self.allow_host)


def _cores() -> int:
    """The processor cores that this process may use."""
    affinity: Any = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
