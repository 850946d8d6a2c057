"""The nodes for SEGS: what other packs make goes through unchanged, and what ours make others can use."""

from __future__ import annotations

import gc
import tracemalloc
from collections import namedtuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import maskwright as mw
from maskwright.comfyui import detector_nodes
from maskwright.comfyui.nodes import NODE_CLASS_MAPPINGS
from maskwright.detail import Segs
from maskwright.engines import FakeEngine
from maskwright.errors import InputError, MediaError, OptionError, RangeError, ShapeError
from maskwright.segmenters import open_segmenter

SIZE = (48, 64)
TUNING = {"threshold": 0.5, "dilation": 0.0, "crop_factor": 3.0, "drop_size": 4}

# Another pack's record: a class of its own with the same fields.
Theirs = namedtuple(
    "SEG",
    ["cropped_image", "cropped_mask", "confidence", "crop_region", "bbox", "label", "control_net_wrapper"],
    defaults=[None],
)


def open_node(node_id):
    """The node's function."""
    node = NODE_CLASS_MAPPINGS[node_id]()
    return getattr(node, node.FUNCTION)


def make_masks(count=1, *boxes, size_hw=SIZE):
    """(count, H, W) with these boxes selected in every mask; one box if none is named."""
    masks = torch.zeros(count, *size_hw)
    for x1, y1, x2, y2 in boxes or [(20, 10, 40, 30)]:
        masks[:, y1:y2, x1:x2] = 1
    return masks


def make_walk(count=5, size_hw=(48, 120)):
    """A square that walks to the right, 12 pixels a frame."""
    masks = torch.zeros(count, *size_hw)
    for frame in range(count):
        masks[frame, 20:32, 10 + 12 * frame : 22 + 12 * frame] = 1
    return masks


def to_segs(masks, node_id="MaskToSEGS", **inputs):
    given = {"combined": False, "crop_factor": 1.5, "bbox_fill": False, "drop_size": 4, "contour_fill": False, **inputs}
    return open_node(node_id)(masks, **given)[0]


@st.composite
def records(draw):
    """SEGS as other packs make them: NumPy or torch, one mask or one a frame, with and without pictures."""
    made = []
    for _ in range(draw(st.integers(0, 3))):
        x1, y1 = draw(st.integers(0, 20)), draw(st.integers(0, 20))
        w, h, frames = draw(st.integers(2, 20)), draw(st.integers(2, 20)), draw(st.sampled_from([0, 1, 3]))
        mask = torch.rand((frames, h, w) if frames else (h, w))
        image = torch.rand(max(1, frames), h, w, 3)
        kind = draw(st.sampled_from([tuple, list]))
        made.append(
            Theirs(
                draw(st.sampled_from([None, image, image.numpy()])),
                draw(st.sampled_from([mask, mask.numpy()])),
                draw(st.floats(0, 1)),
                kind((x1, y1, x1 + w, y1 + h)),
                (np.int64(x1), y1, x1 + w, y1 + h),
                draw(st.sampled_from(["A", "face", "left_eyes", "日本"])),
                draw(st.sampled_from([None, object()])),
            )
        )
    return SIZE, made


class TestThroughAndThrough:
    @settings(max_examples=60, deadline=None)
    @given(records())
    def test_nothing_of_another_packs_segments_is_lost_or_copied(self, segs):
        nodes = {
            "FilterSEGS": ("all", "area", 0.0, 0.0),
            "OrderSEGS": ("confidence", True),
            "GrowSEGS": (0.0,),
            "CombineSEGS": (((48, 64), []),),
        }
        for node_id, inputs in nodes.items():
            size_hw, (*out,) = open_node(f"Maskwright{node_id}")(segs, *inputs)[0]
            assert size_hw == SIZE
            assert {id(record) for record in out} == {id(record) for record in segs[1]}
            assert len(out) == len(segs[1])
        # The library's own conversion keeps every array and the ControlNet by identity.
        for ours, theirs in zip(Segs.from_tuple(segs).to_tuple()[1], segs[1], strict=True):
            for name in ("cropped_image", "cropped_mask", "control_net_wrapper", "confidence", "label"):
                assert getattr(ours, name) is getattr(theirs, name)
            assert tuple(ours.crop_region) == tuple(theirs.crop_region)
            assert ours.bbox == theirs.bbox

    @settings(max_examples=30, deadline=None)
    @given(records())
    def test_all_that_reads_segments_takes_numpy_and_torch(self, segs):
        masks, batch = open_node("MaskwrightSEGSToMasks")(segs)
        assert sum(map(len, masks)) == len(batch)
        counts = {1 if seg.cropped_mask.ndim == 2 else len(seg.cropped_mask) for seg in segs[1]}
        (united,) = open_node("SegsToCombinedMask")(segs)
        assert united.shape == (max(counts, default=1), *SIZE)
        assert torch.equal(united.amax(0), batch.amax(0))
        previews = open_node("SEGSPreview")(segs)["result"][0]
        assert [one.shape[-1] for one in previews] == [3] * max(1, len(segs[1]))
        (images,) = open_node("MaskwrightSEGSToImages")(segs, torch.rand(3, *SIZE, 3))
        assert len(images) == max(1, len(segs[1]))
        frames = torch.rand(3, *SIZE, 3)
        assert open_node("SEGSPaste")(frames, segs, 5, 255)[0].shape == frames.shape
        assert open_node("MaskwrightDrawSEGS")(frames, segs)["result"][0].shape == frames.shape
        (grown,) = open_node("MaskwrightGrowSEGS")(segs, 2.0)
        for before, after in zip(segs[1], grown[1], strict=True):
            assert after.control_net_wrapper is before.control_net_wrapper
            assert after.cropped_image is before.cropped_image
            assert isinstance(after.cropped_mask, torch.Tensor if after.cropped_mask.ndim == 3 else np.ndarray)

    def test_a_pipe_keeps_its_five_values(self):
        values = [object() for _ in range(5)]
        (pipe,) = open_node("ToBasicPipe")(*values)
        assert isinstance(pipe, tuple)
        assert all(given is kept for given, kept in zip(values, pipe, strict=True))

    @pytest.mark.parametrize(
        ("node_id", "inputs"),
        [
            ("SEGSPaste", (torch.rand(1, 4, 4, 3),)),
            ("SEGSPreview", ()),
            ("SegsToCombinedMask", ()),
            ("MaskwrightFilterSEGS", ("all", "area", 0.0, 0.0)),
            ("MaskwrightDrawSEGS", (torch.rand(1, 4, 4, 3),)),
            ("MaskwrightSaveSEGS", ("x",)),
        ],
    )
    def test_what_is_no_segs_is_an_error_with_the_nodes_name(self, node_id, inputs):
        given = (*inputs, 3) if node_id in ("SEGSPaste", "MaskwrightDrawSEGS") else (3, *inputs)
        with pytest.raises(ShapeError, match=rf"^{node_id}: segments must be \(\(H, W\), \[SEG"):
            open_node(node_id)(*given)


class TestMaskToSegs:
    def test_what_others_expect_of_a_record(self):
        size_hw, (seg,) = to_segs(make_masks())
        assert size_hw == SIZE
        assert seg._fields == Theirs._fields
        assert seg.crop_region == [15, 5, 45, 35]
        assert seg.bbox == (20, 10, 40, 30)
        assert (seg.cropped_image, seg.confidence, seg.label, seg.control_net_wrapper) == (None, 1.0, "A", None)
        assert isinstance(seg.cropped_mask, np.ndarray)
        assert seg.cropped_mask.shape == (30, 30)
        assert seg.cropped_mask.sum() == 400

    @pytest.mark.parametrize("node_id", ["MaskToSEGS", "MaskToSEGS_for_AnimateDiff"])
    @pytest.mark.parametrize("count", [0, 1, 7])
    def test_any_number_of_masks(self, node_id, count):
        size_hw, found = to_segs(make_masks(count), node_id)
        assert size_hw == SIZE
        film = node_id.endswith("AnimateDiff")
        assert len(found) == (min(count, 1) if film else count)
        if film and count > 1:
            assert isinstance(found[0].cropped_mask, torch.Tensor)
            assert found[0].cropped_mask.shape == (7, 30, 30)
        assert to_segs(torch.zeros(count, *SIZE), node_id) == (SIZE, [])

    def test_combined_boxes_hold_the_last_pixel_and_are_filled_where_they_lie(self):
        masks = make_masks(1, (20, 10, 30, 20), (36, 24, 40, 30))
        for compat, bbox in ((False, (20, 10, 40, 30)), (True, (20, 10, 39, 29))):
            _, (seg,) = to_segs(masks, combined=True, compat=compat)
            assert seg.bbox == bbox
        _, (filled,) = to_segs(masks, combined=True, bbox_fill=True)
        x1, y1, *_ = filled.crop_region
        assert filled.cropped_mask[10 - y1 : 30 - y1, 20 - x1 : 40 - x1].all()
        assert filled.cropped_mask.sum() == 400

    def test_small_things_are_dropped_and_outlines_filled(self):
        masks = make_masks(1, (4, 4, 9, 9), (20, 10, 40, 30))
        masks[:, 15:20, 25:30] = 0
        assert len(to_segs(masks, drop_size=5)[1]) == 1
        assert len(to_segs(masks, drop_size=4)[1]) == 2
        sums = [to_segs(masks, drop_size=5, contour_fill=fill)[1][0].cropped_mask.sum() for fill in (False, True)]
        assert sums == [375, 400]

    def test_in_a_film_neighbours_stay_out_unless_compat(self):
        masks = make_masks(3, (10, 10, 26, 26), (32, 10, 48, 26))
        for compat, sums in ((False, [256, 256]), (True, [256 + 96, 256 + 128])):
            _, found = to_segs(masks, "MaskToSEGS_for_AnimateDiff", crop_factor=2.5, compat=compat)
            assert sorted(float(seg.cropped_mask[0].sum()) for seg in found) == sums
        assert len(to_segs(masks, "MaskToSEGS_for_AnimateDiff", combined=True)[1]) == 1

    def test_a_film_of_one_is_made_hard(self):
        (seg,) = to_segs(make_masks() * 0.3, "MaskToSEGS_for_AnimateDiff")[1]
        assert np.unique(seg.cropped_mask).tolist() == [0, 1]
        assert to_segs(make_masks() * 0.05, "MaskToSEGS_for_AnimateDiff")[1] == []


class TestPaste:
    def test_the_originals_values_and_one_picture_for_all_frames(self):
        x, y, c, f = (np.arange(n) for n in (128, 96, 3, 3))
        waves = 0.5 + 0.4 * np.sin(0.11 * x[:, None] + 0.7 * c + 0.3 * f[:, None, None, None]) * np.cos(
            0.07 * y[:, None, None] - 0.2 * f[:, None, None, None]
        )
        mask = np.zeros((64, 64), np.float32)
        mask[16:48, 16:48] = 1
        red = torch.zeros(1, 64, 64, 3)
        red[..., 0] = 1
        segs = ((96, 128), [Theirs(red, mask, 1.0, [32, 16, 96, 80], (48, 32, 80, 64), "A")])
        frames = torch.from_numpy(waves.astype(np.float32))
        for inputs, value in (((0, 255), 1.0), ((5, 255), 0.696814), ((0, 128), None), ((5, 128), 0.513938)):
            (pasted,) = open_node("SEGSPaste")(frames, segs, *inputs)
            if value is not None:
                assert float(pasted[0, 32, 64, 0]) == pytest.approx(value, abs=2e-6)
            assert pasted.dtype == torch.float32
            assert torch.equal(pasted[:, :16], frames[:, :16])

    @pytest.mark.parametrize("channels", [3, 4])
    @pytest.mark.parametrize("count", [0, 1, 7])
    def test_any_number_of_frames_with_and_without_alpha(self, count, channels):
        frames = torch.rand(count, *SIZE, channels)
        (seg,) = to_segs(make_masks(max(1, count)), "MaskToSEGS_for_AnimateDiff")[1]
        white = torch.ones(1, 30, 30, 3)
        (pasted,) = open_node("SEGSPaste")(frames, (SIZE, [seg._replace(cropped_image=white)]), 0, 255)
        assert pasted.shape == frames.shape
        assert (pasted[:, 10:30, 20:40, :3] == 1).all()
        assert torch.equal(pasted[..., 3:], frames[..., 3:])

    def test_segments_of_another_size_are_scaled_and_the_reference_wins(self):
        segs = to_segs(make_masks())
        frames = torch.zeros(2, 96, 192, 3)
        (pasted,) = open_node("SEGSPaste")(frames, segs, 0, 255, torch.ones(1, 96, 192, 3))
        rows, columns = torch.nonzero(pasted[1, ..., 0] > 0.5, as_tuple=True)
        assert (columns.min(), rows.min(), columns.max(), rows.max()) == (60, 20, 119, 59)
        assert open_node("SEGSPaste")(frames, segs, 0, 255)[0].eq(frames).all()  # it has no pictures

    def test_counts_that_do_not_fit_are_an_error_with_the_nodes_name(self):
        size_hw, (seg,) = to_segs(make_masks())
        segs = (size_hw, [seg._replace(cropped_image=np.zeros((3, 30, 30, 3), np.float32))])
        with pytest.raises(ShapeError, match=r"^SEGSPaste: pictures of segment 'A' must be 1 or 2 pictures, got 3"):
            open_node("SEGSPaste")(torch.rand(2, *SIZE, 3), segs, 5, 255)
        with pytest.raises(ShapeError, match=r"^MaskwrightSEGSPaste: IMAGE must be|^MaskwrightSEGSPaste: frames must"):
            open_node("MaskwrightSEGSPaste")(torch.rand(2, *SIZE), segs, 5, 255)

    def test_ten_runs_hold_no_more_than_one(self):
        size_hw, (seg,) = to_segs(make_masks())
        frames = torch.rand(4, *SIZE, 3)
        segs = (size_hw, [seg._replace(cropped_image=np.zeros((4, 30, 30, 3), np.float32))] * 9)
        tracemalloc.start()
        held, peaks = [], []
        for many in (1, 9) * 5:
            tracemalloc.reset_peak()
            open_node("SEGSPaste")(frames, (size_hw, segs[1][:many]), 5, 255)
            peaks.append(tracemalloc.get_traced_memory()[1])
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        one = frames.numel() * 4
        assert held[-1] - held[1] < one // 4
        assert peaks[-1] - peaks[-2] < one // 2  # nine segments need what one needs


class TestLooking:
    def test_previews_are_as_opaque_as_masks_unless_compat(self):
        size_hw, (seg,) = to_segs(make_masks())
        segs = (size_hw, [seg, seg._replace(cropped_image=np.full((1, 30, 30, 3), 0.5, np.float32))])
        white, gray = open_node("SEGSPreview")(segs, True, 0.2)["result"][0]
        assert white.shape == gray.shape == (1, 30, 30, 3)
        assert white.amax() == 1
        assert white[0, 0, 0].tolist() == pytest.approx([0.2] * 3)
        assert gray[0, 0, 0].tolist() == pytest.approx([0.1] * 3)
        assert not open_node("SEGSPreview")(segs, True, 0.2, compat=True)["result"][0][1][0, 0, 0].any()
        assert open_node("SEGSPreview")(segs, False)["result"][0][1].eq(0.5).all()

    def test_previews_take_frames_and_have_one_for_each(self):
        frames = torch.rand(3, *SIZE, 3)
        (shown,) = open_node("SEGSPreview")(to_segs(make_masks()), False, 0.2, frames)["result"][0]
        assert torch.equal(shown, frames[:, 5:35, 15:45])
        assert [one.shape for one in open_node("SEGSPreview")((SIZE, []))["result"][0]] == [(1, 64, 64, 3)]

    def test_one_mask_of_all_has_a_frame_for_each(self):
        film = to_segs(make_walk(), "MaskToSEGS_for_AnimateDiff")
        (mask,) = open_node("SegsToCombinedMask")(film)
        assert torch.equal(mask, make_walk())
        assert open_node("SegsToCombinedMask")((SIZE, []))[0].shape == (1, *SIZE)
        soft = to_segs(make_masks() * 0.5, contour_fill=False)
        both = (SIZE, [*soft[1], soft[1][0]._replace(cropped_mask=soft[1][0].cropped_mask / 2)])
        values = [open_node("SegsToCombinedMask")(both, compat=compat)[0].amax().item() for compat in (False, True)]
        assert values == [0.5, pytest.approx((127 | 63) / 255)]

    def test_masks_of_each_share_their_memory(self):
        segs = open_node("MaskwrightCombineSEGS")(to_segs(make_masks()), to_segs(make_walk(3, SIZE)))[0]
        masks, batch = open_node("MaskwrightSEGSToMasks")(segs)
        assert [len(one) for one in masks] == [1] * 4
        assert masks[0].data_ptr() == batch.data_ptr()
        assert torch.equal(masks[0], make_masks())
        empty, batch = open_node("MaskwrightSEGSToMasks")((SIZE, []))
        assert torch.equal(empty[0], torch.zeros(1, *SIZE))
        assert torch.equal(batch, empty[0])


class TestWork:
    def test_filter_and_order_give_the_rest_too(self):
        segs = to_segs(make_masks(1, (2, 2, 12, 12), (20, 2, 50, 22), (4, 30, 10, 40)))
        segs = (segs[0], [seg._replace(label=label) for seg, label in zip(segs[1], "abc", strict=True)])
        kept, rest = open_node("MaskwrightFilterSEGS")(segs, "a, b", "width", 15.0, 0.0)
        assert [seg.bbox[2] - seg.bbox[0] for seg in kept[1]] == [30]
        assert len(rest[1]) == 2
        first, rest = open_node("MaskwrightOrderSEGS")(segs, "area", False, 1, 1)
        assert [seg.bbox for seg in first[1]] == [(2, 2, 12, 12)]
        assert len(rest[1]) == 2
        assert len(open_node("MaskwrightFilterSEGS")(segs, "", "area", 0.0, 0.0)[0][1]) == 3

    def test_grown_and_met(self):
        segs = to_segs(make_masks())
        ((_, (grown,)),) = open_node("MaskwrightGrowSEGS")(segs, 2.0)
        assert grown.cropped_mask.sum() > 400
        half = make_masks(1, (0, 0, 30, 48))
        for how, left in (("intersect", 200), ("subtract", 200)):
            ((_, (met,)),) = open_node("MaskwrightIntersectSEGS")(segs, how, half)
            assert met.cropped_mask.sum() == left
            ((_, (met,)),) = open_node("MaskwrightIntersectSEGS")(segs, how, others=to_segs(half))
            assert met.cropped_mask.sum() == left
        assert open_node("MaskwrightIntersectSEGS")(segs, "intersect", torch.zeros(0, *SIZE))[0][1] == []
        assert len(open_node("MaskwrightIntersectSEGS")(segs, "subtract", torch.zeros(0, *SIZE))[0][1]) == 1
        with pytest.raises(OptionError, match=r"^MaskwrightIntersectSEGS: mask or others must be connected"):
            open_node("MaskwrightIntersectSEGS")(segs, "intersect")
        with pytest.raises(ShapeError, match=r"^MaskwrightIntersectSEGS: mask to intersect with must be \(48, 64\)"):
            open_node("MaskwrightIntersectSEGS")(segs, "intersect", make_walk())


class TestTrack:
    def test_a_crop_of_one_size_follows_through_other_nodes(self):
        walk = make_walk()
        (tracked,) = open_node("MaskwrightTrackSubject")(walk, 1.5, 0.0)
        tracked = open_node("MaskwrightFilterSEGS")(tracked, "all", "area", 0.0, 0.0)[0]
        frames = torch.rand(5, 48, 120, 3)
        (images,) = open_node("MaskwrightSEGSToImages")(tracked, frames)
        (crops,) = images
        assert crops.shape == (5, 24, 24, 3)
        (seg,) = Segs.from_tuple(tracked)
        assert len({region[0] for region in seg.follow.regions}) == 5
        for crop, frame, (x1, y1, x2, y2) in zip(crops, frames, seg.follow.regions, strict=True):
            assert torch.equal(crop, frame[y1:y2, x1:x2])
        assert torch.equal(open_node("SegsToCombinedMask")(tracked)[0], walk)
        # Others see one still crop that holds all places.
        (record,) = tracked[1]
        assert record.crop_region == [4, 14, 76, 38]
        assert record.cropped_mask.shape == (5, 24, 72)

    def test_which_subject(self):
        masks = make_masks(2, (4, 4, 12, 12), (30, 20, 60, 44))
        track = open_node("MaskwrightTrackSubject")
        assert track(masks)[0][1][0].bbox == (30, 20, 60, 44)
        ((_, (seg,)),) = track(masks, x=5, y=5, label="dog")
        assert (seg.bbox, seg.label) == ((4, 4, 12, 12), "dog")
        assert track(masks, whole=True)[0][1][0].bbox == (4, 4, 60, 44)

    @pytest.mark.parametrize("count", [0, 1, 7])
    def test_without_a_subject_there_is_no_segment(self, count):
        assert open_node("MaskwrightTrackSubject")(torch.zeros(count, *SIZE))[0] == (SIZE, [])


class TestFiles:
    def test_what_was_saved_is_loaded(self, comfy, tmp_path):
        mixed = open_node("MaskwrightCombineSEGS")(to_segs(make_walk(), "MaskToSEGS_for_AnimateDiff"), (SIZE, []))[0]
        tracked = open_node("MaskwrightTrackSubject")(make_walk())[0]
        for number, segs in enumerate((mixed, tracked, (SIZE, [])), start=1):
            given, name = open_node("MaskwrightSaveSEGS")(segs, "a/b")["result"]
            assert given is segs
            assert name == f"a/b_{number:05}.npz [output]"
            assert (tmp_path / "output" / "a" / f"b_{number:05}.npz").is_file()
            ((size_hw, back),) = open_node("MaskwrightLoadSEGS")(name)
            assert size_hw == segs[0]
            for seg, loaded in zip(segs[1], back, strict=True):
                assert torch.equal(torch.as_tensor(seg.cropped_mask), loaded.cropped_mask)
                assert (loaded.crop_region, loaded.bbox) == (list(seg.crop_region), tuple(seg.bbox))
                assert Segs.from_tuple((size_hw, [loaded]))[0].follow == Segs.from_tuple((size_hw, [seg]))[0].follow

    @pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "", " ", "a\0b", "link/x"])
    def test_no_name_leads_out_of_the_folders(self, comfy, tmp_path, name):
        for kind in ("input", "output"):
            (tmp_path / kind).mkdir()
            (tmp_path / kind / "link").symlink_to(tmp_path)
        with pytest.raises(OptionError, match=r"^MaskwrightSaveSEGS: file name must be a path below .*output"):
            open_node("MaskwrightSaveSEGS")((SIZE, []), name)
        for one in (name, f"{name} [output]", f"{name} [input]"):
            with pytest.raises(OptionError, match=r"^MaskwrightLoadSEGS: file name must be a path below"):
                open_node("MaskwrightLoadSEGS")(one)

    def test_files_that_are_none(self, comfy, tmp_path):
        (tmp_path / "input").mkdir()
        (tmp_path / "input" / "x.npz").write_bytes(b"no")
        with pytest.raises(MediaError, match=r"^MaskwrightLoadSEGS: .*x\.npz must be a file that save_segs wrote"):
            open_node("MaskwrightLoadSEGS")("x.npz")
        with pytest.raises(MediaError, match=r"^MaskwrightLoadSEGS: file 'y' must be in .*input or .*output, got none"):
            open_node("MaskwrightLoadSEGS")("y")
        changed = NODE_CLASS_MAPPINGS["MaskwrightLoadSEGS"].IS_CHANGED
        assert "x.npz" in changed("x.npz")
        assert changed() == ""

    def test_controls_are_left_out_only_when_asked(self, comfy):
        size_hw, (seg,) = to_segs(make_masks())
        segs = (size_hw, [seg._replace(control_net_wrapper=object())])
        with pytest.raises(InputError, match=r"^MaskwrightSaveSEGS: the segments have ControlNets.*without_controls"):
            open_node("MaskwrightSaveSEGS")(segs, "x")
        given, name = open_node("MaskwrightSaveSEGS")(segs, "x", True)["result"]
        assert given is segs
        assert open_node("MaskwrightLoadSEGS")(name)[0][1][0].control_net_wrapper is None

    def test_without_comfyui_there_is_no_folder(self):
        with pytest.raises(MediaError, match=r"^MaskwrightSaveSEGS: the output folder must be ComfyUI's"):
            open_node("MaskwrightSaveSEGS")((SIZE, []), "x")


def _brightness(batch):
    """A saliency network: what is bright is selected."""
    return [batch.mean(axis=1, keepdims=True).clip(0, 1)]


def _faces(batch):
    """Seven maps that sum to 1: what is bright is hair, the rest background."""
    bright = batch.mean(axis=1, keepdims=True).clip(0, 1)
    return [np.concatenate([1 - bright, bright, *[0 * bright] * 5], axis=1)]


class TestDetectors:
    @pytest.mark.usefixtures("u2netp_home")
    def test_a_catalog_model_is_what_the_library_finds(self, samples):
        photo = mw.imageio.load_image(samples / "astronaut.jpg").image[::2, ::2].copy()
        (segmenter,) = open_node("MaskwrightLoadModel")("u2netp")
        image = torch.from_numpy(np.stack([photo, photo[:, ::-1]]).astype(np.float32) / np.float32(255))
        film, single = open_node("MaskwrightSubjectSEGS")(image, segmenter, **TUNING)
        assert len(single) == 2
        expected = mw.segment(photo).mask.copy()
        expected[expected < 0.5] = 0
        largest = max(single[0][1], key=lambda seg: seg.cropped_mask.sum())
        x1, y1, x2, y2 = largest.crop_region
        shown = largest.cropped_mask > 0
        assert np.array_equal(largest.cropped_mask[shown], expected[y1:y2, x1:x2][shown])
        assert isinstance(film[1][0].cropped_mask, torch.Tensor)
        assert len(film[1][0].cropped_mask) == 2
        ((_, (grown, *_)),) = open_node("MaskwrightSubjectSEGS")(image[:1], segmenter, **{**TUNING, "dilation": 3.0})[1]
        assert (grown.cropped_mask > 0).sum() > (single[0][1][0].cropped_mask > 0).sum()
        with pytest.raises(RangeError, match=r"^MaskwrightSubjectSEGS: part must be one of none, got 'hat'"):
            open_node("MaskwrightSubjectSEGS")(image, segmenter, parts="hat", **TUNING)

    def test_parts_of_a_person(self, samples):
        photo = mw.imageio.load_image(samples / "astronaut.jpg").image[::2, ::2].copy()
        image = torch.from_numpy(photo[None].astype(np.float32) / np.float32(255))
        run = open_node("MaskwrightPersonSEGS")
        film, single = run(image, "face, hair", **TUNING, model="maskwright-parts")
        assert {seg.label for seg in film[1]} == {"face", "hair"}
        assert len(single) == 1
        face = next(seg for seg in film[1] if seg.label == "face")
        assert np.allclose(face.bbox, (86, 37, 139, 96), atol=8)
        with pytest.raises(OptionError, match=r"^MaskwrightPersonSEGS: parts must be one or more of face"):
            run(image, "nose", **TUNING)

    def test_parts_of_an_anime_face(self, monkeypatch):
        fakes = {"anime-face": _faces, "isnet-anime": lambda batch: _brightness(batch)}
        monkeypatch.setattr(
            detector_nodes,
            "open_node_segmenter",
            lambda name, **_: open_segmenter(name, engine=FakeEngine(fakes[name], (None, 3, None, None))),
        )
        image = torch.zeros(2, 64, 96, 3)
        image[0, 16:48, 8:40] = 1
        image[1, 16:48, 20:52] = 1
        run = open_node("MaskwrightAnimeSEGS")
        film, single = run(image, "hair, character", **TUNING, remove_background=False)
        assert [seg.label for seg in single[0][1]] == ["hair", "character"]
        assert [seg.label for seg in film[1]] == ["hair", "character"]
        x1, y1, x2, y2 = single[0][1][0].bbox
        assert np.allclose([x1, y1, x2, y2], [8, 16, 40, 48], atol=1)
        assert film[1][0].cropped_mask.shape[0] == 2
        for parts in ("nose", ""):
            with pytest.raises(RangeError, match=r"^MaskwrightAnimeSEGS: part must be one of background, hair"):
                run(image, parts, **TUNING)

    @pytest.mark.parametrize(("node_id", "inputs"), [("Subject", {"segmenter": None}), ("Person", {}), ("Anime", {})])
    def test_no_pictures_no_segments(self, node_id, inputs):
        film, single = open_node(f"Maskwright{node_id}SEGS")(torch.zeros(0, *SIZE, 3), **inputs, **TUNING)
        assert film == (SIZE, [])
        assert single == [film]
