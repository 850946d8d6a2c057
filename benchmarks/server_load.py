"""How many pictures a second a server cuts out, beside rembg's; what it does under too much load and over time.

    python benchmarks/server_load.py compare PHOTO... --peer PATH/TO/rembg  requests a second, 4 clients, in turn
    python benchmarks/server_load.py half PHOTO --rate 2.0                  latency at a steady rate
    python benchmarks/server_load.py overload PHOTO                      more than it can do: refusals, memory
    python benchmarks/server_load.py soak PHOTO --seconds 240               memory over time
    python benchmarks/server_load.py fuzz FOLDER                            damaged uploads: never a 500

PHOTO is resized to 4 megapixels and sent as JPEG; PNG comes back. `compare` and `overload` need ab (Debian's
apache2-utils). Run on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

PORTS = {"maskwright": 7311, "rembg": 7312}
BOUNDARY = "maskwright-load"
TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def four_megapixels(photo: Path) -> bytes:
    image = Image.open(photo).convert("RGB")
    scale = (4e6 / (image.width * image.height)) ** 0.5
    buffer = io.BytesIO()
    image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS).save(
        buffer, "JPEG", quality=90
    )
    return buffer.getvalue()


def form(data: bytes, **fields: str) -> bytes:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
        for name, text in fields.items()
    ]
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
    return "".join(parts).encode() + head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()


@contextmanager
def started(command: list[str], port: int, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log)
        try:
            for _ in range(600):
                if ask(port, "GET", "/openapi.json")[0] == 200:
                    break
                time.sleep(0.1)
            else:
                log.seek(0)
                raise SystemExit(log.read().decode())
            yield process
        finally:
            process.terminate()
            process.wait(60)


def ours(*flags: str) -> list[str]:
    return [sys.executable, "-m", "maskwright", "serve", "-p", str(PORTS["maskwright"]), "-l", "error", "-q", *flags]


def ask(port: int, method: str, path: str, body: bytes | None = None, type_: str = TYPE) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    try:
        connection.request(method, path, body, {"Content-Type": type_} if body is not None else {})
        response = connection.getresponse()
        return response.status, response.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()


def resident_mb(process: subprocess.Popen[bytes]) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1000


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def bench(port: int, body: Path, requests: int, clients: int) -> dict[str, float]:
    done = subprocess.run(
        [
            "ab",
            "-q",
            "-s",
            "300",
            "-n",
            str(requests),
            "-c",
            str(clients),
            "-p",
            str(body),
            "-T",
            TYPE,
            f"http://127.0.0.1:{port}/api/remove",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    text = done.stdout
    found = re.search(r"Requests per second:\s+([\d.]+)", text)
    if found is None:
        raise SystemExit(done.stdout + done.stderr)
    wrong = re.search(r"Non-2xx responses:\s+(\d+)", text)
    percentiles = {f"p{number}": float(ms) for number, ms in re.findall(r"^\s+(\d+)%\s+(\d+)", text, re.M)}
    return {"per_second": float(found[1]), "refused": float(wrong[1]) if wrong else 0.0, **percentiles}


def compare(arguments: argparse.Namespace) -> None:
    """Both servers up, asked in turn, photo by photo."""
    threads = str(arguments.threads)
    peer = [arguments.peer, "s", "-h", "127.0.0.1", "-p", str(PORTS["rembg"]), "-t", threads, "--no-ui", "-l", "error"]
    ratios, work = [], []
    with (
        tempfile.TemporaryDirectory() as folder,
        started(ours("-t", threads), PORTS["maskwright"], OMP_NUM_THREADS=threads) as process,
        started(peer, PORTS["rembg"], OMP_NUM_THREADS=threads) as other,
    ):
        processes = {"maskwright": process, "rembg": other}
        body = Path(folder) / "body"
        for number, photo in enumerate(arguments.photos):
            body.write_bytes(form(four_megapixels(photo), model="u2netp"))
            rates, spent = {}, {}
            for name in PORTS if number % 2 else reversed(PORTS):
                bench(PORTS[name], body, 4, 4)  # warm
                before = cpu_seconds(processes[name])
                rates[name] = bench(PORTS[name], body, arguments.requests, 4)["per_second"]
                spent[name] = round((cpu_seconds(processes[name]) - before) / arguments.requests, 2)
            ratios.append(rates["maskwright"] / rates["rembg"])
            work.append(spent["rembg"] / spent["maskwright"])
            print(
                photo.name, json.dumps({"per_second": rates, "ratio": round(ratios[-1], 2), "cpu_s": spent}), flush=True
            )
        print(f"resident: {resident_mb(process):.0f} MB, rembg {resident_mb(other):.0f} MB")
    spread = {"ratio": round(statistics.median(ratios), 2), "from": round(min(ratios), 2), "to": round(max(ratios), 2)}
    print(json.dumps({**spread, "cpu_ratio": round(statistics.median(work), 2)}))


def half(arguments: argparse.Namespace) -> None:
    """One request every 1/rate seconds, whether or not the last one is answered."""
    body = form(four_megapixels(arguments.photo))
    times: list[float] = []
    statuses: Counter[int] = Counter()

    def one() -> None:
        start = time.perf_counter()
        statuses[ask(PORTS["maskwright"], "POST", "/api/remove", body)[0]] += 1
        times.append(time.perf_counter() - start)

    with started(ours(), PORTS["maskwright"]):
        one()
        times.clear()
        threads = []
        end = time.perf_counter() + arguments.seconds
        while time.perf_counter() < end:
            threads.append(threading.Thread(target=one))
            threads[-1].start()
            time.sleep(1 / arguments.rate)
        for thread in threads:
            thread.join()
    times.sort()
    print(
        json.dumps(
            {
                "rate": arguments.rate,
                "count": len(times),
                "statuses": statuses,
                **{f"p{p}": round(times[min(len(times) - 1, int(len(times) * p / 100))], 3) for p in (50, 90, 99)},
            }
        )
    )


def overload(arguments: argparse.Namespace) -> None:
    """So many clients as there are places, and as many again: each asks again at once."""
    body = form(four_megapixels(arguments.photo))
    answered: dict[int, list[float]] = {}
    lock = threading.Lock()

    with started(ours("--queue", "4"), PORTS["maskwright"]) as process:
        ask(PORTS["maskwright"], "POST", "/api/remove", body)
        before, end = resident_mb(process), time.perf_counter() + arguments.seconds
        peak = before

        def client() -> None:
            while time.perf_counter() < end:
                start = time.perf_counter()
                status, _ = ask(PORTS["maskwright"], "POST", "/api/remove", body)
                with lock:
                    answered.setdefault(status, []).append(time.perf_counter() - start)
                if status == 503:
                    time.sleep(0.25)

        clients = [threading.Thread(target=client) for _ in range(arguments.clients)]
        for each in clients:
            each.start()
        while any(each.is_alive() for each in clients):
            peak = max(peak, resident_mb(process))
            time.sleep(0.2)
        after = resident_mb(process)
    print(
        json.dumps(
            {
                "clients": arguments.clients,
                "seconds": arguments.seconds,
                "mb": [round(before), round(peak), round(after)],
                "statuses": {
                    status: {
                        "count": len(each),
                        "per_second": round(len(each) / arguments.seconds, 2),
                        "median_s": round(statistics.median(each), 3),
                        "worst_s": round(max(each), 3),
                    }
                    for status, each in answered.items()
                },
            }
        )
    )


def soak(arguments: argparse.Namespace) -> None:
    body = form(four_megapixels(arguments.photo))
    statuses: Counter[int] = Counter()
    with started(ours(), PORTS["maskwright"]) as process:
        end = time.perf_counter() + arguments.seconds

        def client() -> None:
            while time.perf_counter() < end:
                statuses[ask(PORTS["maskwright"], "POST", "/api/remove", body)[0]] += 1

        clients = [threading.Thread(target=client) for _ in range(4)]
        for each in clients:
            each.start()
        memory = []
        while any(each.is_alive() for each in clients):
            memory.append(round(resident_mb(process)))
            time.sleep(arguments.seconds / 12)
    print(json.dumps({"seconds": arguments.seconds, "statuses": statuses, "mb": memory}))


def fuzz(arguments: argparse.Namespace) -> None:
    """Every file as it is, cut off, and with bytes changed."""
    chance = random.Random(0)  # noqa: S311 - it hides no secret
    statuses: Counter[int] = Counter()
    with started(ours("--max-pixels", "8000000"), PORTS["maskwright"]):
        for path in sorted(arguments.folder.rglob("*")):
            if not path.is_file() or path.stat().st_size > 5e6:
                continue
            data = path.read_bytes()
            cases = [data, *(data[: chance.randrange(len(data))] for _ in range(arguments.times) if data)]
            for _ in range(arguments.times if data else 0):
                changed = bytearray(data)
                for _ in range(chance.choice((1, 8, 64))):
                    changed[chance.randrange(len(changed))] = chance.randrange(256)
                cases.append(bytes(changed))
            for case in cases:
                status, text = ask(PORTS["maskwright"], "POST", "/api/remove", form(case))
                statuses[status] += 1
                if status not in (200, 400, 413, 415, 422):
                    print(path, status, text[:300])
        ready = ask(PORTS["maskwright"], "GET", "/readyz")[0]
    print(json.dumps({"statuses": statuses, "ready_afterwards": ready}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for run in (compare, half, overload, soak, fuzz):
        command = commands.add_parser(run.__name__)
        command.set_defaults(run=run)
        if run is compare:
            command.add_argument("photos", type=Path, nargs="+")
        else:
            command.add_argument("folder" if run is fuzz else "photo", type=Path)
        command.add_argument("--seconds", type=float, default=60)
        command.add_argument("--rate", type=float, default=1.0)
        command.add_argument("--clients", type=int, default=12)
        command.add_argument("--threads", type=int, default=2)
        command.add_argument("--requests", type=int, default=24)
        command.add_argument("--times", type=int, default=4)
        command.add_argument("--peer", default="rembg")
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
