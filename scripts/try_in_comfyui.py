"""Run this pack in a real ComfyUI: start it headless on the CPU, post workflows, look at what comes back.

    python scripts/try_in_comfyui.py PATH [--python PYTHON] [--packs DIR] [--random] [--thumbnails] [WORKFLOW.json ...]

PATH is a ComfyUI checkout, PYTHON the interpreter that has what it needs. Nothing is written into the checkout: the
pack, the inputs and everything ComfyUI writes lie in a temporary folder. Without a workflow, all of
`example_workflows/` are run. With --random, IS-Net and the anime networks get random weights of the published shapes,
and a tiny diffusion model with a ControlNet is made, so that every node runs without them; what such a network selects
or draws means nothing. It listens on the loopback address
alone.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
_START_SECONDS = 180
_RUN_SECONDS = 600
_FRONTEND_ONLY = {"Note", "MarkdownNote", "Reroute", "PrimitiveNode"}
_CONTROL = {"fixed", "increment", "decrement", "randomize"}  # the frontend's extra widget after a seed


class Comfy:
    """A running ComfyUI.

    Args:
        url: Where it listens.
        folder: The temporary folder with its `input`, `output` and `models`.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder

    def read(self, path: str) -> Any:
        """The JSON at a path."""
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return json.load(answer)

    def run(self, prompt: dict[str, Any], seconds: float = _RUN_SECONDS) -> dict[str, Any]:
        """The history entry of a prompt in API form, once it is done.

        Raises:
            RuntimeError: ComfyUI refused it, a node failed, or it took too long.
        """
        body = json.dumps({"prompt": prompt, "client_id": uuid.uuid4().hex}).encode()
        request = urllib.request.Request(self.url + "/prompt", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                number = json.load(answer)["prompt_id"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"ComfyUI refused the prompt: {error.read().decode()}") from error
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            history = self.read(f"/history/{number}")
            if number in history:
                return _succeeded(history[number])
            time.sleep(0.2)
        raise RuntimeError(f"the prompt took more than {seconds:.0f} seconds")

    def open_outputs(self, entry: dict[str, Any]) -> list[Path]:
        """The files a prompt has written."""
        return [
            self.folder / image["type"] / image["subfolder"] / image["filename"]
            for output in entry["outputs"].values()
            for image in output.get("images", [])
        ]


def _succeeded(entry: dict[str, Any]) -> dict[str, Any]:
    status = entry["status"]
    if status["status_str"] != "success":
        failures = [message for kind, message in status["messages"] if kind == "execution_error"]
        said = "; ".join(f"{one['node_type']}: {one['exception_message'].strip()}" for one in failures)
        raise RuntimeError(said or str(status))
    return entry


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _lay_out(folder: Path, models: Path | None, packs: Path | None) -> list[str]:
    """The packs and the pictures in a temporary base folder; the arguments that make ComfyUI use it."""
    for name in ("custom_nodes", "input", "output", "temp", "user", "models"):
        (folder / name).mkdir()
    (folder / "custom_nodes" / "maskwright").symlink_to(REPOSITORY, target_is_directory=True)
    for pack in () if packs is None else packs.iterdir():
        (folder / "custom_nodes" / pack.name).symlink_to(pack.resolve(), target_is_directory=True)
    for picture in (REPOSITORY / "examples").glob("*.jpg"):
        shutil.copy(picture, folder / "input")
    if models is not None:
        shutil.copytree(models, folder / "models", dirs_exist_ok=True)
    return ["--base-directory", str(folder), "--database-url", "sqlite:///:memory:"]


@contextlib.contextmanager
def running(
    checkout: Path,
    python: str = sys.executable,
    models: Path | None = None,
    *,
    random: bool = False,
    packs: Path | None = None,
) -> Iterator[Comfy]:
    """A ComfyUI with this pack, stopped at the end.

    Args:
        checkout: Where ComfyUI's `main.py` lies.
        python: An interpreter that has what it needs.
        models: A folder laid out like ComfyUI's `models`, to be found by it.
        random: Whether IS-Net, the anime networks and a diffusion model get random weights.
        packs: A folder with checkouts of other packs, to be loaded beside this one.

    Raises:
        RuntimeError: It did not start.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        port = _free_port()
        where = ["--listen", "127.0.0.1", "--port", str(port), "--disable-auto-launch", "--cpu"]
        log = folder / "log.txt"
        arguments = _lay_out(folder, models, packs)
        environment = {**os.environ, "PYTHONPATH": ""}
        if random:
            environment["MASKWRIGHT_HOME"] = str(folder / "store")
            write_random_weights(folder / "store")
            make = [python, str(REPOSITORY / "scripts" / "make_tiny_checkpoint.py"), str(checkout)]
            subprocess.run([*make, str(folder / "models")], check=True, stdout=subprocess.DEVNULL, env=environment)
        with log.open("w") as lines:
            process = subprocess.Popen(
                [python, "main.py", *where, *arguments],
                cwd=checkout,
                env=environment,
                stdout=lines,
                stderr=subprocess.STDOUT,
            )
            try:
                comfy = Comfy(f"http://127.0.0.1:{port}", folder)
                _wait(comfy, process, log)
                yield comfy
            finally:
                process.terminate()
                process.wait(30)


def _wait(comfy: Comfy, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError):
            comfy.read("/system_stats")
            return
        time.sleep(0.5)
    raise RuntimeError(f"ComfyUI did not start:\n{log.read_text()[-3000:]}")


def workflow_to_prompt(workflow: dict[str, Any], nodes: dict[str, Any]) -> dict[str, Any]:
    """The API form of a saved workflow, as ComfyUI's page makes it: widget values are taken by position.

    Args:
        workflow: The file the page saves.
        nodes: What `/object_info` says.
    """
    links = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    prompt = {}
    for node in workflow["nodes"]:
        kind = node["type"]
        if kind in _FRONTEND_ONLY or node.get("mode", 0) != 0:
            continue
        inputs = _widget_inputs(node, nodes[kind])
        for slot in node.get("inputs", []):
            if slot.get("link") is not None:
                inputs[slot["name"]] = links[slot["link"]]
        prompt[str(node["id"])] = {"class_type": kind, "inputs": inputs}
    return prompt


def _widget_inputs(node: dict[str, Any], description: dict[str, Any]) -> dict[str, Any]:
    """Widgets in the order of the node's inputs; sockets have none."""
    declared = {**description["input"].get("required", {}), **description["input"].get("optional", {})}
    widgets = [name for name, declaration in declared.items() if _is_widget(declaration)]
    values = list(node.get("widgets_values") or [])
    inputs: dict[str, Any] = {}
    for name in widgets:
        if not values:
            break  # the workflow is older than this input
        inputs[name] = values.pop(0)
        if name in ("seed", "noise_seed") and values and values[0] in _CONTROL:
            values.pop(0)
    return inputs


def _is_widget(declaration: list[Any]) -> bool:
    kind = declaration[0]
    return isinstance(kind, list) or kind in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")


def write_random_weights(home: Path) -> None:
    """Networks of the published shapes with random weights, imported into the store at `home`."""
    sys.path.insert(0, str(REPOSITORY))
    import torch

    from maskwright.models.importing import import_weights
    from maskwright.models.store import Store
    from maskwright.networks import build_network

    own = Store().home / "models" / "u2netp.onnx"
    (home / "models").mkdir(parents=True)
    if own.is_file():
        shutil.copy(own, home / "models")
    store = Store(home, offline=True)
    torch.manual_seed(0)
    for model, network in (("isnet-general-use", "isnet"), ("isnet-anime", "isnet"), ("anime-face", "anime_unet")):
        path = home / f"{model}.pth"
        torch.save(build_network(network).state_dict(), path)
        import_weights(path, store, name=model)
        if model == "isnet-general-use":  # for the loader of files
            folder = home.parent / "models" / "isnet"
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / "random.pth")
        path.unlink()


def _save_thumbnail(picture: Path, workflow: Path) -> None:
    from PIL import Image

    with Image.open(picture) as opened:
        small = Image.new("RGB", opened.size, "white")
        small.paste(opened, mask=opened.getchannel("A") if opened.mode == "RGBA" else None)
    small.thumbnail((320, 320))
    small.save(workflow.with_suffix(".jpg"), quality=85)


def _main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, metavar="PATH")
    parser.add_argument("workflows", type=Path, nargs="*", metavar="WORKFLOW.json")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--models", type=Path, help="a folder laid out like ComfyUI's models")
    parser.add_argument("--packs", type=Path, help="a folder with checkouts of other packs, to load beside this one")
    parser.add_argument("--random", action="store_true", help="random weights where the real ones cannot be had")
    parser.add_argument("--thumbnails", action="store_true", help="keep each workflow's first picture beside it")
    arguments = parser.parse_intermixed_args()
    workflows = arguments.workflows or sorted((REPOSITORY / "example_workflows").glob("*.json"))
    failed = 0
    settings = {"random": arguments.random, "packs": arguments.packs}
    with running(arguments.path, arguments.python, arguments.models, **settings) as comfy:
        nodes = comfy.read("/object_info")
        for path in workflows:
            start = time.monotonic()
            try:
                entry = comfy.run(workflow_to_prompt(json.loads(path.read_text(encoding="utf-8")), nodes))
                pictures = comfy.open_outputs(entry)
                said = ", ".join(file.name for file in pictures) or "no pictures"
                if arguments.thumbnails and pictures:
                    _save_thumbnail(pictures[0], path)
            except RuntimeError as error:
                failed += 1
                said = f"FAILED: {error}"
            print(f"{path.name}: {said} ({time.monotonic() - start:.1f} s)")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(_main())
