"""Train PartsNet on Clothing Co-Parsing; continue where a checkpoint left off."""

from __future__ import annotations

import argparse
import copy
import math
import queue
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from augment import Sampler
from ccp import CLASSES, TRAINING, VALIDATION, Photo, load_photos
from measure import mean_scores
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from maskwright.networks.parts import PartsNet

_FROZEN_BLOCKS = 3  # with the stem: edges and textures that 900 photos would teach no better than ImageNet did
_CLASS_WEIGHTS = (0.8, 1.6, 1.4, 1.0, 1.8)


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    photos = load_photos(options.data, TRAINING)
    held_out = load_photos(options.data, VALIDATION)
    run = _Run(options, len(photos))
    run.resume()
    while run.epoch < run.epochs:
        began = time.monotonic()
        loss = run.train_epoch(photos)
        run.save()
        line = f"epoch {run.epoch}/{run.epochs} side {run.side} loss {loss:.4f} {time.monotonic() - began:.0f} s"
        if run.epoch % options.validate_every == 0 or run.epoch == run.epochs:
            scores = mean_scores(run.average, held_out, options.validation_side)
            line += "  " + " ".join(f"{name} {score:.3f}" for name, score in zip(CLASSES, scores, strict=True))
        print(time.strftime("%H:%M:%S"), line, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="a checkout of the data set: photos/ and annotations/")
    parser.add_argument("run", type=Path, help="folder of the checkpoint")
    parser.add_argument("--encoder", type=Path, help="ImageNet weights of EfficientNet-Lite0, a .pth file")
    parser.add_argument("--start", type=Path, help="a checkpoint whose averaged weights to start from")
    parser.add_argument("--stages", default="14:160,8:224,3:288", help="EPOCHS:SIDE of each stage, in order")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--validate-every", type=int, default=2)
    parser.add_argument("--validation-side", type=int, default=256)
    return parser.parse_args()


class _Run:
    """Network, its running average, optimizer, and how far the schedule has come."""

    def __init__(self, options: argparse.Namespace, count: int) -> None:
        self.options = options
        self.stages = [tuple(map(int, stage.split(":"))) for stage in options.stages.split(",")]
        self.epochs = sum(epochs for epochs, _ in self.stages)
        self.steps = self.epochs * (count // options.batch)
        self.epoch = self.step = 0
        self.network = PartsNet(len(CLASSES)).to(memory_format=torch.channels_last)
        if options.encoder:
            load_encoder(self.network, options.encoder)
        if options.start:
            self.network.load_state_dict(torch.load(options.start, weights_only=True)["average"])
        self.average = copy.deepcopy(self.network).eval().requires_grad_(requires_grad=False)
        _freeze(self.network)
        encoder = [p for p in self.network.encoder.parameters() if p.requires_grad]
        decoder = [p for name, p in self.network.named_parameters() if not name.startswith("encoder.")]
        groups = [{"params": encoder, "peak": options.rate / 3}, {"params": decoder, "peak": options.rate}]
        self.optimizer = torch.optim.AdamW(groups, lr=options.rate, weight_decay=0.02)
        self.weights = torch.tensor(_CLASS_WEIGHTS)

    @property
    def side(self) -> int:
        """The side of a square of the area that this epoch's pictures have."""
        passed = 0
        for epochs, side in self.stages:
            passed += epochs
            if self.epoch <= passed - 1:
                return side
        return self.stages[-1][1]

    def train_epoch(self, photos: list[Photo]) -> float:
        self.network.train()
        self.network.encoder.eval()  # ImageNet's statistics stay: batches here are too small to make better ones
        losses = []
        for images, labels in _prefetched(_batches(photos, self.side, self.options.batch, self.epoch)):
            self._set_rate()
            with torch.autocast("cpu", torch.bfloat16):
                (logits,) = self.network(_to_input(images))
            loss = _loss(logits.float(), torch.from_numpy(labels).long(), self.weights)
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
            self.optimizer.step()
            self.step += 1
            self._update_average()
            losses.append(loss.item())
        self.epoch += 1
        return float(np.mean(losses))

    def _set_rate(self) -> None:
        """Warm up over 3 % of the steps, then down along a cosine."""
        warm = min(1.0, self.step / (0.03 * self.steps))
        factor = warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, self.step / self.steps))))
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor

    def _update_average(self) -> None:
        keep = min(0.998, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mine, new in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
                if mine.is_floating_point():
                    mine.lerp_(new, 1 - keep)
                else:
                    mine.copy_(new)

    def save(self) -> None:
        self.options.run.mkdir(parents=True, exist_ok=True)
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
        }
        temporary = self.options.run / "checkpoint.tmp"
        torch.save(state, temporary)
        temporary.replace(self.options.run / "checkpoint.pt")

    def resume(self) -> None:
        path = self.options.run / "checkpoint.pt"
        if path.exists():
            state = torch.load(path, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.epoch, self.step = state["epoch"], state["step"]


def load_encoder(network: PartsNet, path: Path) -> None:
    """Copy the published weights into the encoder: the same tensors in the same order under other names."""
    published = torch.load(path, weights_only=True)
    own = network.encoder.state_dict()
    network.encoder.load_state_dict(dict(zip(own, published.values(), strict=False)))


def _freeze(network: PartsNet) -> None:
    """Keep what costs much and would change little: the first blocks, and the encoder's 5 by 5 filters.

    In bfloat16 the gradients of such depthwise filters take most of the time of a step on a CPU.
    """
    for frozen in (network.encoder.stem, *network.encoder.blocks[:_FROZEN_BLOCKS]):
        frozen.requires_grad_(requires_grad=False)
    for module in network.encoder.modules():
        if isinstance(module, torch.nn.Conv2d) and module.kernel_size == (5, 5):
            module.requires_grad_(requires_grad=False)
            module.forward = partial(_in_float32, module)


def _in_float32(convolution: torch.nn.Conv2d, features: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", enabled=False):
        return torch.nn.Conv2d.forward(convolution, features.float())


def _to_input(images: np.ndarray) -> torch.Tensor:
    """(N, H, W, 3) uint8 to (N, 3, H, W) in [-1, 1], channels last in memory."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def _loss(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Cross entropy, and one minus the soft Jaccard index of each class that is there."""
    entropy = functional.cross_entropy(logits, labels, weights)
    probabilities = logits.softmax(dim=1)
    truth = functional.one_hot(labels, logits.shape[1]).permute(0, 3, 1, 2).to(logits.dtype)
    common = (probabilities * truth).sum((0, 2, 3))
    joint = (probabilities + truth).sum((0, 2, 3)) - common
    present = truth.sum((0, 2, 3)) > 0
    return entropy + (1 - common / joint)[present].mean()


def _batches(photos: list[Photo], side: int, batch: int, epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every photo once, in batches of one shape: portrait, square or landscape of about the same area."""
    random = np.random.default_rng(epoch)
    sampler = Sampler(photos, seed=1000 + epoch)
    order = random.permutation(len(photos))
    for start in range(0, len(order) - batch + 1, batch):
        aspect = random.choice([2 / 3, 1.0, 1.5], p=[0.5, 0.35, 0.15])
        size_hw = tuple(max(32, round(s / 32) * 32) for s in (side / aspect**0.5, side * aspect**0.5))
        drawn = [sampler.draw(int(index), size_hw) for index in order[start : start + batch]]
        images, labels = zip(*drawn, strict=True)
        yield np.stack(images), np.stack(labels)


def _prefetched(batches: Iterator[tuple[np.ndarray, np.ndarray]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The same batches, made a few ahead in a thread."""
    ready: queue.Queue = queue.Queue(maxsize=4)

    def fill() -> None:
        for batch in batches:
            ready.put(batch)
        ready.put(None)

    threading.Thread(target=fill, daemon=True).start()
    while (batch := ready.get()) is not None:
        yield batch


if __name__ == "__main__":
    main()
