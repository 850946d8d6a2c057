"""The networks once more, as formulas over a state dict, in float64 and without a module of PyTorch's or ours.

Written from the published tables in another way than the package: by recursion, with resizing as matrices and pooling
as a maximum over shifted copies.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

__all__ = ["run_formula"]


def _matrix(inputs, outputs):
    """Bilinear resizing along one axis, as a matrix: pixel centres at (i + 1/2) / length."""
    matrix = torch.zeros(outputs, inputs, dtype=torch.float64)
    for row in range(outputs):
        at = min(max((row + 0.5) * inputs / outputs - 0.5, 0), inputs - 1)
        low = int(at)
        high = min(low + 1, inputs - 1)
        matrix[row, low] += 1 - (at - low)
        matrix[row, high] += at - low
    return matrix


def _resize(x, size):
    return _matrix(x.shape[2], size[0]) @ x @ _matrix(x.shape[3], size[1]).T


def _halve(x):
    x = F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2), value=float("-inf"))
    return torch.stack([x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)]).amax(0)


def _norm(s, name, x):
    scale = s[f"{name}.weight"] / (s[f"{name}.running_var"] + 1e-5) ** 0.5
    shift = s[f"{name}.bias"] - s[f"{name}.running_mean"] * scale
    return x * scale[:, None, None] + shift[:, None, None]


def _instance_norm(x):
    return (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), keepdim=True, unbiased=False) + 1e-5) ** 0.5


def _conv(s, name, x, **options):
    return F.conv2d(x, s[f"{name}.weight"], s.get(f"{name}.bias"), **options)


# --- U-2-Net, IS-Net ------------------------------------------------------------------------------


def _cbr(s, name, x, dilation=1):
    x = _conv(s, f"{name}.conv_s1", x, padding=dilation, dilation=dilation)
    return _norm(s, f"{name}.bn_s1", x).clamp(min=0)


def _shrinking(s, name, x, depth):
    def down(level, x):
        if level == depth:
            return _cbr(s, f"{name}.rebnconv{level}", x, 2)
        here = _cbr(s, f"{name}.rebnconv{level}", x)
        below = down(level + 1, here if level == depth - 1 else _halve(here))
        below = below if level == depth - 1 else _resize(below, here.shape[2:])
        return _cbr(s, f"{name}.rebnconv{level}d", torch.cat((below, here), 1))

    start = _cbr(s, f"{name}.rebnconvin", x)
    return down(1, start) + start


def _dilating(s, name, x):
    def down(level, x):
        here = _cbr(s, f"{name}.rebnconv{level}", x, 2 ** (level - 1))
        if level == 4:
            return here
        return _cbr(s, f"{name}.rebnconv{level}d", torch.cat((down(level + 1, here), here), 1), 2 ** (level - 1))

    start = _cbr(s, f"{name}.rebnconvin", x)
    return down(1, start) + start


def _stage(s, name, x):
    depth = {"1": 7, "2": 6, "3": 5, "4": 4}.get(name[5])
    return _shrinking(s, name, x, depth) if depth else _dilating(s, name, x)


def _sides(s, x):
    maps = {}

    def down(level, x):
        here = _stage(s, f"stage{level}", x)
        if level < 6:
            below = down(level + 1, _halve(here))
            here = _stage(s, f"stage{level}d", torch.cat((_resize(below, here.shape[2:]), here), 1))
        if f"side{level}.weight" in s:
            maps[level] = _conv(s, f"side{level}", here, padding=1)
        return here

    down(1, x)
    return [maps[level] for level in sorted(maps)]


def _isnet(s, x):
    sides = _sides(s, _conv(s, "conv_in", x, stride=2, padding=1))
    return [1 / (1 + torch.exp(-_resize(side, x.shape[2:]))) for side in sides]


def _u2net(s, x):
    sides = [_resize(side, x.shape[2:]) for side in _sides(s, x)]
    maps = [_conv(s, "outconv", torch.cat(sides, 1)), *sides]
    return maps if maps[0].shape[1] > 1 else [1 / (1 + torch.exp(-each)) for each in maps]


# --- MobileNetV2 and what stands on it ------------------------------------------------------------


def _six(x):
    return x.clamp(0, 6)


def _inverted(s, convs, x, stride):
    """Names of (convolution, norm) pairs: widen if there are three, filter each channel, narrow."""
    start = x
    *widen, filtering, narrow = convs
    for conv, norm in widen:
        x = _six(_norm(s, norm, _conv(s, conv, x)))
    x = _conv(s, filtering[0], x, stride=stride, padding=1, groups=x.shape[1])
    x = _norm(s, narrow[1], _conv(s, narrow[0], _six(_norm(s, filtering[1], x))))
    return x + start if stride == 1 and x.shape == start.shape else x


def _anime(s, x):
    def block(name, x, stride):
        wide = f"{name}.conv.3.weight" in s
        groups = [f"{name}.conv.{i}" for i in range(2 if wide else 1)]
        narrow = (f"{name}.conv.{len(groups)}", f"{name}.conv.{len(groups) + 1}")
        return _inverted(s, [*((f"{g}.0", f"{g}.1") for g in groups), narrow], x, stride)

    x = _six(_norm(s, "en_block0.0.1", _conv(s, "en_block0.0.0", x, stride=2, padding=1)))
    skips = [block("en_block0.1", x, 1)]
    for number, count in ((1, 2), (2, 3), (3, 7), (4, 3)):
        x = skips[-1]
        for index in range(count):
            x = block(f"en_block{number}.{index}", x, 2 if index == 0 else 1)
        skips.append(x)
    x = skips.pop()
    for number in (4, 3, 2, 1, 0):
        x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        x = _conv(s, f"de_block{number}.1", x, padding=1)
        if number:
            x = _instance_norm(x)
            x = torch.cat((torch.where(x > 0, x, 0.1 * x), skips.pop()), 1)
    x = torch.exp(x - x.amax(1, keepdim=True))
    return [x / x.sum(1, keepdim=True)]


def _modnet(s, x):
    def block(index, x, stride):
        name = f"backbone.model.features.{index}.conv"
        places = (0, 3, 6) if f"{name}.6.weight" in s else (0, 3)
        return _inverted(s, [(f"{name}.{i}", f"{name}.{i + 1}") for i in places], x, stride)

    def cib(name, x, stride=1):
        weight = s[f"{name}.layers.0.weight"]
        x = _conv(s, f"{name}.layers.0", x, stride=stride, padding=weight.shape[-1] // 2)
        half = x.shape[1] // 2
        return torch.cat((_norm(s, f"{name}.layers.1.bnorm", x[:, :half]), _instance_norm(x[:, half:])), 1).clamp(min=0)

    def scale(x, factor):
        return _resize(x, (int(x.shape[2] * factor), int(x.shape[3] * factor)))

    image, features = x, "backbone.model.features"
    x = _six(_norm(s, f"{features}.0.1", _conv(s, f"{features}.0.0", x, stride=2, padding=1)))
    half = block(1, x, 1)
    quarter = block(3, block(2, half, 2), 1)
    x = quarter
    for index in range(4, 18):
        x = block(index, x, 2 if index in (4, 7, 14) else 1)
    x = _six(_norm(s, f"{features}.18.1", _conv(s, f"{features}.18.0", x)))
    weights = x.mean((2, 3)) @ s["lr_branch.se_block.fc.0.weight"].T
    weights = weights.clamp(min=0) @ s["lr_branch.se_block.fc.2.weight"].T
    x = x / (1 + torch.exp(-weights))[:, :, None, None]
    low = cib("lr_branch.conv_lr8x", scale(cib("lr_branch.conv_lr16x", scale(x, 2)), 2))
    half = cib("hr_branch.tohr_enc2x", half)
    x = cib("hr_branch.conv_enc2x", torch.cat((scale(image, 0.5), half), 1), 2)
    x = cib("hr_branch.conv_enc4x", torch.cat((x, cib("hr_branch.tohr_enc4x", quarter)), 1))
    x = torch.cat((x, scale(low, 2), scale(image, 0.25)), 1)
    for index in range(3):
        x = cib(f"hr_branch.conv_hr4x.{index}", x)
    x = torch.cat((scale(x, 2), half), 1)
    for index in range(4):
        x = cib(f"hr_branch.conv_hr2x.{index}", x)
    low = scale(cib("f_branch.conv_lr4x", scale(low, 2)), 2)
    x = cib("f_branch.conv_f2x", torch.cat((low, x), 1))
    x = cib("f_branch.conv_f.0", torch.cat((scale(x, 2), image), 1))
    return [1 / (1 + torch.exp(-_conv(s, "f_branch.conv_f.1.layers.0", x)))]


_FORMULAS = {
    "isnet": _isnet,
    "isnet_base": _isnet,
    "u2net": _u2net,
    "u2netp": _u2net,
    "u2net_cloth": _u2net,
    "anime_unet": _anime,
    "modnet": _modnet,
}


def run_formula(name, state, x):
    """All outputs of a network, in float64."""
    return _FORMULAS[name]({key: value.double() for key, value in state.items()}, x.double())
