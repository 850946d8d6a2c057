"""Folders of small pictures, a model without weights, and both as a batch."""

import pytest
from PIL import Image

from maskwright.batch import Batch, Choices, Settings, open_place
from maskwright.cutout_options import CutoutOptions
from maskwright.engines import FakeEngine
from maskwright.segmenters import open_segmenter


@pytest.fixture
def fill():
    """Writes small pictures, each with a colour of its own."""

    def write(folder, *names):
        for number, name in enumerate(names):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (6, 5), (200, 100, number)).save(folder / name, "PNG")
        return folder

    return write


@pytest.fixture
def engine():
    return FakeEngine(input_shape=(1, 3, 8, 8))


@pytest.fixture
def open_batch(tmp_path, engine):
    """A batch from the folder `in` to the folder `out`, or what is named instead."""

    def make(source=tmp_path / "in", target=tmp_path / "out", *, choices=None, limits=None, **settings):
        segmenter = open_segmenter("u2netp", engine=settings.pop("engine", engine))
        settings = Settings(settings.pop("options", CutoutOptions()), **settings)
        places = open_place(source), open_place(target)
        return Batch(*places, segmenter, settings, choices=choices or Choices(), limits=limits)

    return make


@pytest.fixture
def cut_all(open_batch):
    """The report of a whole batch."""

    def run(*arguments, **settings):
        with open_batch(*arguments, **settings) as batch:
            return batch.run(batch.plan())

    return run
