import threading

import numpy as np
import pytest

from maskwright.batch import Job, Stamp, Worker, open_place
from maskwright.batch.sizing import BatchSize, PixelBudget, default_budget
from maskwright.batch.work import Decoded, Read, Settings
from maskwright.cutout_options import CutoutOptions
from maskwright.engines import FakeEngine
from maskwright.errors import EngineFailed
from maskwright.imageio import load_image
from maskwright.segmenters import open_segmenter


class Clock:
    """Tells the time that an engine said it took."""

    def __init__(self, seconds):
        self.now, self.seconds = 0.0, seconds

    def __call__(self):
        return self.now

    def brightness(self, batch):
        self.now += self.seconds(len(batch))
        return [batch.mean(axis=1, keepdims=True)]


def decoded(segmenter, value):
    image = load_image(np.full((4, 5, 3), value, np.uint8))
    return Decoded(Read(Job("x", "y", Stamp(1, "")), b"", "", 20), image, segmenter.prepare(image.image))


def settle(tmp_path, function, clock, size=None, shape=(None, 3, 4, 4)):
    """The batch size after many pictures, and whether each got its own output."""
    segmenter = open_segmenter("u2netp", engine=FakeEngine(function, shape))
    worker = Worker(open_place(tmp_path), open_place(tmp_path / "out"), segmenter, Settings(CutoutOptions()))
    found = BatchSize(worker.compute, shape[0], size, clock)
    for _ in range(9):
        group = [decoded(segmenter, value) for value in range(found.wanted)]
        outputs = found.compute(group)
        alone = [segmenter.compute([one.prepared])[0] for one in group]
        assert all(np.array_equal(a, b) for a, b in zip(outputs, alone, strict=True))
    return found.size


@pytest.mark.parametrize(
    ("seconds", "size"),
    [(lambda n: n, 1), (lambda n: 1, 32), (lambda n: 1 + max(0, n - 4), 4)],
    ids=["no gain", "all gain", "gain up to 4"],
)
def test_the_size_grows_as_long_as_it_pays(tmp_path, seconds, size):
    clock = Clock(seconds)
    assert settle(tmp_path, clock.brightness, clock) == size


def test_a_size_that_changes_a_bit_of_a_result_is_not_used(tmp_path):
    clock = Clock(lambda n: 1)

    def uneven(batch):
        return [clock.brightness(batch)[0] + np.float32(1e-6 * (len(batch) > 2))]

    assert settle(tmp_path, uneven, clock) == 2


def test_a_size_that_does_not_fit_into_memory_is_given_up(tmp_path):
    clock = Clock(lambda n: 1)

    def small(batch):
        if len(batch) > 4:
            raise EngineFailed("out of memory")
        return clock.brightness(batch)

    assert settle(tmp_path, small, clock) == 4


@pytest.mark.parametrize(("shape", "size", "found"), [((1, 3, 4, 4), None, 1), ((None, 3, 4, 4), 3, 3)])
def test_a_size_that_is_fixed_or_given_is_used(tmp_path, shape, size, found):
    clock = Clock(lambda n: 1)
    assert settle(tmp_path, clock.brightness, clock, size, shape) == found


def test_pixels_in_memory_are_bounded():
    budget, used, most, lock = PixelBudget(10), [0], [0], threading.Lock()

    def take(pixels):
        budget.take(pixels)
        with lock:
            used[0] += pixels
            most[0] = max(most[0], used[0])
        with lock:
            used[0] -= pixels
        budget.give_back(pixels)

    threads = [threading.Thread(target=take, args=(pixels,)) for pixels in (3, 4, 25, 6, 5, 9, 1, 25) * 5]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert most[0] <= 25  # a picture larger than all of it comes alone
    assert default_budget() > 1_000_000
