from __future__ import annotations

import numpy as np
import pytest

from maskwright.detail import DetailOptions, EchoBackend, SampleJob


@pytest.mark.parametrize("multiple", [1, 8, 16])
def test_encode_and_decode_undo_each_other(multiple):
    images = np.random.default_rng(0).random((2, 48, 32, 3)).astype(np.float32)
    backend = EchoBackend(multiple)
    latents = backend.encode(images)
    assert latents.shape == (2, 3 * multiple**2, 48 // multiple, 32 // multiple)
    assert np.array_equal(backend.decode(latents), images)


def test_sampling_reports_and_remembers():
    latents, seen = np.zeros((1, 4, 2, 2), np.float32), []
    options = DetailOptions(steps=3)
    mask = np.ones((1, 16, 16), np.float32)
    job = SampleJob(latents, mask, 0, options, (0, 0, 16, 16), (16, 16), (16, 16), on_step=seen.append)
    backend = EchoBackend(record=True)
    assert backend.sample(job).latents is latents
    assert seen == [1, 2, 3]
    assert backend.jobs == [job]


def test_progress_may_be_ignored():
    job = SampleJob(np.zeros((1, 4, 2, 2)), np.ones((1, 16, 16)), 0, DetailOptions(), (0, 0, 1, 1), (1, 1), (1, 1))
    assert EchoBackend().sample(job).control_images == ()


def test_nothing_is_kept_unasked():
    backend = EchoBackend()
    backend.sample(
        SampleJob(np.zeros((1, 4, 2, 2)), np.ones((1, 16, 16)), 0, DetailOptions(), (0,) * 4, (1, 1), (1, 1))
    )
    assert backend.jobs == []
