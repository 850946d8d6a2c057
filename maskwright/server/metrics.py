"""Numbers for Prometheus, in its text format."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # seconds


class Metrics:
    """What was counted since the start, and what is the case now.

    Args:
        gauges: Name to help and the function that gives the value of now. A name that ends in `_total` only grows.
    """

    def __init__(self, gauges: Mapping[str, tuple[str, Callable[[], float]]]) -> None:
        self._gauges = gauges
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._buckets: Counter[tuple[str, float]] = Counter()
        self._seconds: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered.

        Args:
            method: Such as `POST`.
            route: The path as the routes name it, so that callers cannot invent labels.
            status: The HTTP status.
            seconds: From its first line to the answer's last byte.
        """
        self._requests[(method, route, status)] += 1
        self._buckets.update((route, bound) for bound in _BOUNDS if seconds <= bound)
        self._seconds[route] += seconds  # type: ignore[assignment]  # a Counter adds floats too
        self._counts[route] += 1

    def text(self) -> str:
        """All numbers."""
        lines = _head("maskwright_requests_total", "counter", "Requests answered.")
        lines += [
            f'maskwright_requests_total{{method="{method}",route="{route}",status="{status}"}} {count}'
            for (method, route, status), count in sorted(self._requests.items())
        ]
        lines += _head("maskwright_request_seconds", "histogram", "How long answers took.")
        for route in sorted(self._counts):
            lines += [
                f'maskwright_request_seconds_bucket{{route="{route}",le="{bound:g}"}} {self._buckets[(route, bound)]}'
                for bound in _BOUNDS
            ]
            lines.append(f'maskwright_request_seconds_bucket{{route="{route}",le="+Inf"}} {self._counts[route]}')
            lines.append(f'maskwright_request_seconds_sum{{route="{route}"}} {self._seconds[route]:.6f}')
            lines.append(f'maskwright_request_seconds_count{{route="{route}"}} {self._counts[route]}')
        for name, (help_, value) in {**self._gauges, **_PROCESS}.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += [*_head(name, kind, help_), f"{name} {value():g}"]
        return "\n".join([*lines, ""])


def _head(name: str, kind: str, help_: str) -> list[str]:
    return [f"# HELP {name} {help_}", f"# TYPE {name} {kind}"]


def _resident_bytes() -> float:
    """Memory of this process; 0 where the system does not say."""
    if sys.platform != "linux":
        return 0.0
    return float(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


_PROCESS = {"process_resident_memory_bytes": ("Memory of the process.", _resident_bytes)}
