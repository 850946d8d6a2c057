"""Models and refinements over pictures whose truth is known: what `maskwright bench quality` measures and writes."""

from __future__ import annotations

import json
import math
import time
from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from PIL import Image

from . import __version__, metrics
from .batch import PICTURE_SUFFIXES
from .contact_sheet import Row, draw_pages, shrink
from .encode import encode_picture, write_bytes
from .errors import Error, MediaError, OptionError
from .imageio import Cutout, LoadedImage, load_image, load_mask
from .pipeline import CutoutOptions, make_cutout
from .segmenters import Segmenter
from .types import FloatArray, SegmentResult, check_same_size, to_8_bit

__all__ = [
    "MEASURES",
    "Contestant",
    "Found",
    "Measurement",
    "Pair",
    "QualityReport",
    "find_pairs",
    "make_table",
    "measure_quality",
    "read_refinement",
    "write_report",
]

IMAGE_FOLDERS = ("image", "images", "im", "img", "imgs", "original")
TRUTH_FOLDERS = ("gt", "gts", "mask", "masks", "alpha", "matte")
TRUTH_ENDINGS = ("_mask", "_gt", "_alpha", "_matte")

# Function of `metrics` -> heading of its column and decimals.
MEASURES = {
    "iou": ("IoU", 4),
    "f_measure": ("F", 4),
    "boundary_f": ("boundary F", 4),
    "s_measure": ("S", 4),
    "mae": ("MAE", 4),
    "mse": ("MSE", 4),
    "boundary_error": ("near edge", 4),
    "sad": ("SAD", 3),
    "gradient_error": ("gradient", 3),
    "connectivity_error": ("connectivity", 3),
}
_NOTE = """\
Means over pictures. Of IoU, F, boundary F and S more is better and 1 is best, of the others less. IoU cuts at 0.5; F is
the best of 256 cuts, with β² = 0.3; boundary F allows 0.8 % of the diagonal; near edge is the mean error within 10
pixels of the true edge; SAD, gradient and connectivity are sums in thousands, which grow with the picture. Seconds are
this machine's, for information.
"""


@dataclass(frozen=True)
class Pair:
    """A picture and its truth.

    Attributes:
        name: The picture's path below the folder that was searched.
        group: The folder the pair belongs to.
        image: The picture.
        truth: A gray picture, white = selected, or one whose alpha is the truth.
    """

    name: str
    group: str
    image: Path
    truth: Path


@dataclass(frozen=True)
class Found:
    """What a folder holds.

    Attributes:
        pairs: Pictures with truth, by name.
        alone: Pictures beside them that have none.
    """

    pairs: tuple[Pair, ...]
    alone: tuple[Path, ...]


@dataclass(frozen=True, eq=False)
class Contestant:
    """A model with a refinement.

    Attributes:
        model: What to call the model in tables.
        refinement: What to call the options in tables.
        segmenter: The model, held open; contestants that share it share its work.
        options: How to cut.
    """

    model: str
    refinement: str
    segmenter: Segmenter
    options: CutoutOptions


@dataclass(frozen=True)
class Measurement:
    """What one contestant made of one picture.

    Attributes:
        name: The pair's.
        group: The pair's.
        model: The contestant's.
        refinement: The contestant's.
        seconds: From the loaded picture to the cut-out.
        values: Name in `MEASURES` to value; NaN where a metric says nothing.
    """

    name: str
    group: str
    model: str
    refinement: str
    seconds: float
    values: Mapping[str, float]


@dataclass
class QualityReport:
    """What became of a folder.

    Attributes:
        contestants: In the order of the tables.
        measured: One entry for each picture and contestant.
        failed: Picture to what was wrong; it is left out for all contestants, so that means stay comparable.
        worst: The pictures with the highest mean absolute error, highest first, ready for a contact sheet.
    """

    contestants: Sequence[Contestant]
    measured: list[Measurement] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    worst: list[tuple[float, str, Row]] = field(default_factory=list)

    @property
    def groups(self) -> list[str]:
        """The groups that were measured, by name."""
        return sorted({each.group for each in self.measured})

    def select(self, contestant: Contestant, group: str | None = None) -> list[Measurement]:
        """The measurements of one contestant, of one group or all."""
        key = (contestant.model, contestant.refinement)
        return [each for each in self.measured if (each.model, each.refinement) == key and group in (None, each.group)]


def find_pairs(folder: Path) -> Found:
    """Pictures with truth below a folder.

    Either in two folders beside each other, with the same names but for the suffix, such as `image/x.jpg` and
    `gt/x.png`; or in one folder as `x.jpg` and `x_mask.png`, or as `x.jpg` and `x.png`.

    Args:
        folder: Looked through with its subfolders.

    Raises:
        MediaError: It is not a folder, or holds no such pair.
    """
    if not folder.is_dir():
        got = "a file" if folder.exists() else "no such folder"
        raise MediaError(str(folder), expected="a folder", got=got, hint="check the path")
    pairs: list[Pair] = []
    alone: list[Path] = []
    for base, images, truths in _matched(folder):
        for key, image in images.items():
            truth = truths.get(key.lower())
            if truth is None:
                alone.append(image)
                continue
            group = (base / Path(key).parent).relative_to(folder).as_posix()
            name = image.relative_to(folder).as_posix()
            pairs.append(Pair(name, folder.resolve().name if group == "." else group, image, truth))
    if not pairs:
        raise MediaError(
            f"{folder} holds no picture with ground truth",
            hint=f"what is looked for: {'|'.join(IMAGE_FOLDERS)}/x.jpg with {'|'.join(TRUTH_FOLDERS)}/x.png, or in one "
            f"folder x.jpg with x{'|'.join(TRUTH_ENDINGS)}.png or with x.png",
        )
    return Found(tuple(sorted(pairs, key=lambda pair: pair.name)), tuple(sorted(alone)))


def _matched(folder: Path) -> Iterator[tuple[Path, dict[str, Path], dict[str, Path]]]:
    """Base folder, pictures by their name below it without suffix, and truths by theirs in small letters."""
    taken: list[Path] = []
    for base in [folder, *sorted(path for path in folder.rglob("*") if path.is_dir())]:
        if any(base.is_relative_to(other) for other in taken):
            continue
        below = {path.name.lower(): path for path in sorted(base.iterdir()) if path.is_dir()}
        image_folder, truth_folder = (
            next((below[name] for name in names if name in below), None) for names in (IMAGE_FOLDERS, TRUTH_FOLDERS)
        )
        if image_folder and truth_folder:
            taken += [image_folder, truth_folder]
            truths = {
                key.lower(): path for path in _pictures(truth_folder, "**/*") for key in [_key(path, truth_folder)]
            }
            yield base, _by_key(_pictures(image_folder, "**/*"), image_folder), truths
        else:
            yield (base, *_side_by_side(base))


def _side_by_side(base: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    pictures = _pictures(base, "*")
    truths = {}
    for path in pictures:
        for ending in TRUTH_ENDINGS:
            if path.stem.lower().endswith(ending):
                truths[path.stem.lower().removesuffix(ending)] = path
    others = [path for path in pictures if path not in truths.values()]
    photos = {path.stem.lower() for path in others if path.suffix.lower() != ".png"}
    for path in others:
        if path.suffix.lower() == ".png" and path.stem.lower() in photos:
            truths.setdefault(path.stem.lower(), path)
    images = [path for path in others if path not in truths.values()]
    return (_by_key(images, base), truths) if truths else ({}, {})


def _pictures(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.glob(pattern) if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file())


def _by_key(paths: Iterable[Path], base: Path) -> dict[str, Path]:
    return {_key(path, base): path for path in paths}


def _key(path: Path, base: Path) -> str:
    return path.relative_to(base).with_suffix("").as_posix()


def read_refinement(text: str) -> CutoutOptions:
    """The options that a refinement's name stands for: the command line's long flags without dashes, joined by `+`.

    Args:
        text: `none`, or such as `alpha-matting`, `grow=2+feather=3`, `compat`.

    Raises:
        OptionError: There is no such option, it takes no such value, or the options contradict each other.

    Examples:
        >>> read_refinement("grow=2+alpha-matting") == CutoutOptions(grow=2, alpha_matting=True)
        True
    """
    kinds = {each.name: str(each.type).partition(" |")[0] for each in fields(CutoutOptions)}
    usable = [name for name, kind in kinds.items() if kind in ("bool", "int", "float")]
    values: dict[str, Any] = {}
    for part in text.split("+") if text != "none" else ():
        name, _, value = part.strip().partition("=")
        name = name.replace("-", "_")
        if name not in usable:
            names = ", ".join(["none", *usable]).replace("_", "-")
            raise OptionError("a refinement", expected=f"made of {names}", got=repr(part), hint="join several with +")
        values[name] = _read_value(part, kinds[name], value)
    return CutoutOptions(**values)


def _read_value(part: str, kind: str, value: str) -> bool | float:
    if (kind == "bool") != (value == ""):
        wanted = f"{part.partition('=')[0]} alone" if kind == "bool" else f"{part.partition('=')[0]}=NUMBER"
        raise OptionError("a refinement", expected=wanted, got=repr(part), hint="see maskwright bench quality --help")
    if kind == "bool":
        return True
    try:
        return int(value) if kind == "int" else float(value)
    except ValueError as error:
        raise OptionError(f"{part} in a refinement", expected="a number", got=repr(value), hint="1 is one") from error


def measure_quality(
    pairs: Iterable[Pair],
    contestants: Sequence[Contestant],
    *,
    sheet: int = 24,
    progress: Callable[[Pair], None] | None = None,
) -> QualityReport:
    """What the contestants make of the pictures, one picture after the other.

    A picture that fails is noted and the rest go on.

    Args:
        pairs: From `find_pairs`.
        contestants: Who competes; all their models are held in memory.
        sheet: How many pictures to keep for the contact sheet, the worst.
        progress: Called after each picture.
    """
    report = QualityReport(contestants)
    for pair in pairs:
        try:
            measured, row = _measure_pair(pair, contestants)
        except (Error, OSError) as error:
            report.failed[pair.name] = str(error)
        else:
            report.measured += measured
            highest = max(each.values["mae"] for each in measured)
            insort(report.worst, (highest, pair.name, row), key=lambda entry: (-entry[0], entry[1]))
            del report.worst[sheet:]
        if progress is not None:
            progress(pair)
    return report


def _measure_pair(pair: Pair, contestants: Sequence[Contestant]) -> tuple[list[Measurement], Row]:
    loaded, truth = load_image(pair.image), load_mask(pair.truth)
    check_same_size(loaded.image, truth, ("the picture", f"ground truth {pair.truth.name}"))
    known: dict[int, tuple[SegmentResult, float]] = {}
    measured: list[Measurement] = []
    height, width = loaded.size_hw
    cells = [(shrink(_to_pil(loaded)), f"{width} x {height}"), (shrink(_mask_to_pil(truth)), "")]
    for contestant in contestants:
        cut, seconds = _cut(contestant, loaded, known)
        values = {name: float(getattr(metrics, name)(cut.alpha, truth)) for name in MEASURES}
        measured.append(Measurement(pair.name, pair.group, contestant.model, contestant.refinement, seconds, values))
        caption = f"IoU {values['iou']:.3f}  MAE {values['mae']:.4f}  boundary F {values['boundary_f']:.3f}"
        cells.append((shrink(cut.to_pil()), caption))
    worst = max(measured, key=lambda each: each.values["mae"])
    title = f"{pair.name}   worst MAE {worst.values['mae']:.4f} ({worst.model}, {worst.refinement})"
    return measured, Row(title, tuple(cells))


def _cut(
    contestant: Contestant, loaded: LoadedImage, known: dict[int, tuple[SegmentResult, float]]
) -> tuple[Cutout, float]:
    """The cut-out, and its seconds; a network that several contestants share runs once and counts for each."""
    start = time.perf_counter()
    key = id(contestant.segmenter)
    if key not in known:
        result = contestant.segmenter(loaded)
        known[key] = (result, time.perf_counter() - start)
        start = time.perf_counter()
    result, network = known[key]
    cut = make_cutout(loaded, result, contestant.options)
    return cut, network + time.perf_counter() - start


def _to_pil(loaded: LoadedImage) -> Image.Image:
    image = Image.fromarray(to_8_bit(loaded.image))
    if loaded.alpha is not None:
        image.putalpha(Image.fromarray(to_8_bit(loaded.alpha)))
    return image


def _mask_to_pil(mask: FloatArray) -> Image.Image:
    return Image.fromarray(np.rint(mask * 255).astype(np.uint8))


def make_table(report: QualityReport, *, by_group: bool = False) -> str:
    """Means as a Markdown table, columns lined up.

    Args:
        report: From `measure_quality`.
        by_group: One row for each group and contestant instead of one for each contestant.
    """
    header = [*(["group"] if by_group else []), "model", "refinement", "pictures"]
    header += [*(heading for heading, _ in MEASURES.values()), "seconds"]
    rows = []
    for group in report.groups if by_group else [None]:
        for contestant in report.contestants:
            chosen = report.select(contestant, group)
            means = _means(chosen)
            row = [*([group] if group is not None else []), contestant.model, contestant.refinement, str(len(chosen))]
            row += [_number(means[name], decimals) for name, (_, decimals) in MEASURES.items()]
            rows.append([*row, _number(means["seconds"], 2)])
    left = header.index("pictures")
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = ["-" * width if index < left else "-" * (width - 1) + ":" for index, width in enumerate(widths)]
    lines = [
        [cell.ljust(width) if index < left else cell.rjust(width) for index, (cell, width) in enumerate(line)]
        for line in (zip(row, widths, strict=True) for row in (header, rule, *rows))
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _means(measured: Sequence[Measurement]) -> dict[str, float | None]:
    columns = {name: [each.values[name] for each in measured] for name in MEASURES}
    columns["seconds"] = [each.seconds for each in measured]
    kept = {name: [value for value in values if not math.isnan(value)] for name, values in columns.items()}
    return {name: fmean(values) if values else None for name, values in kept.items()}


def _number(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"


def write_report(report: QualityReport, folder: Path, found: Found) -> dict[str, Any]:
    """What stands in `quality.json`; beside it `quality.md` and the contact sheets are written.

    Args:
        report: From `measure_quality`.
        folder: Where to write; made where it is not there.
        found: The pairs and those without truth.

    Raises:
        MediaError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sheets = []
    headings = ["picture", "ground truth", *(f"{each.model}, {each.refinement}" for each in report.contestants)]
    for number, page in enumerate(draw_pages([row for _, _, row in report.worst], headings), start=1):
        sheets.append(f"contact-sheet-{number}.png")
        write_bytes(folder / sheets[-1], encode_picture(np.asarray(page), "png"))
    write_bytes(folder / "quality.md", _make_page(report, found, sheets).encode())
    data = _make_json(report, found, sheets)
    write_bytes(folder / "quality.json", (json.dumps(data, indent=1, allow_nan=False) + "\n").encode())
    return data


def _make_page(report: QualityReport, found: Found, sheets: Sequence[str]) -> str:
    parts = [
        "# Quality\n",
        f"{len({each.name for each in report.measured})} pictures measured, {len(report.failed)} failed, "
        f"{len(found.alone)} without ground truth. maskwright {__version__}\n",
        *(
            f"- {model}: {each.weights or 'no file'}, sha256 {each.sha256 or 'unknown'}, {each.engine}, {each.device}"
            for model, each in {one.model: one.segmenter.provenance for one in report.contestants}.items()
        ),
        "",
        make_table(report),
        _NOTE,
        "## By group\n",
        make_table(report, by_group=True),
    ]
    if report.failed:
        parts += ["## Failed\n", *(f"- {name}: {' '.join(why.split())}" for name, why in report.failed.items()), ""]
    if sheets:
        parts += ["## The worst\n", *(f"![Contact sheet {number}]({name})\n" for number, name in enumerate(sheets, 1))]
    return "\n".join(parts)


def _make_json(report: QualityReport, found: Found, sheets: Sequence[str]) -> dict[str, Any]:
    return {
        "maskwright": __version__,
        "pictures": len({each.name for each in report.measured}),
        "contestants": [
            {
                "model": each.model,
                "refinement": each.refinement,
                "options": asdict(each.options),
                "provenance": asdict(each.segmenter.provenance),
                "means": _means(report.select(each)),
                "groups": {group: _means(report.select(each, group)) for group in report.groups},
            }
            for each in report.contestants
        ],
        "measured": [
            {**asdict(each), "values": {name: None if math.isnan(v) else v for name, v in each.values.items()}}
            for each in report.measured
        ],
        "failed": report.failed,
        "without_truth": [str(path) for path in found.alone],
        "contact_sheets": list(sheets),
    }
