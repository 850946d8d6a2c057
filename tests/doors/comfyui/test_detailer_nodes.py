"""The detailer's nodes on a ComfyUI of a few lines, see `tests.support.comfy`; `test_real.py` has the real one."""

from __future__ import annotations

import sys
import types
from dataclasses import replace

import numpy as np
import pytest
import torch

from maskwright.comfyui.nodes import NODE_CLASS_MAPPINGS
from maskwright.comfyui.sampling import ComfyBackend, list_samplers, list_schedulers
from maskwright.detail import SCHEDULERS, DetailOptions, SampleJob, Segs, detail, make_sigmas, paste, track_subject
from maskwright.detail.segs import SEG
from maskwright.detail.steppers import SAMPLERS
from maskwright.errors import EngineUnavailable, OptionError, RangeError, ShapeError
from tests.doors.comfyui.conftest import Interrupted
from tests.support import comfy as small
from tests.support.toy import ToyModel, toy_frames

QUICK = {
    "guide_size": 96, "guide_size_for": True, "max_size": 768, "seed": 1, "steps": 4, "cfg": 3.0,
    "sampler_name": "euler", "scheduler": "normal", "denoise": 0.5, "refiner_ratio": 0.2, "noise_mask_feather": 0,
}  # fmt: skip
OPTIONS = DetailOptions(**{**QUICK, "guide_size_for": "bbox"})


@pytest.fixture(autouse=True)
def comfyui(comfy, monkeypatch):
    small.install(monkeypatch)
    return comfy


@pytest.fixture
def frames():
    return torch.from_numpy(toy_frames())


def make_seg(mask=None, wrapper=None, **fields):
    if mask is None:
        mask = np.zeros((64, 64), np.float32)
        mask[16:48, 16:48] = 1
    return SEG(None, mask, 1.0, [32, 16, 96, 80], (48, 32, 80, 64), "A", wrapper)._replace(**fields)


def make_segs(*items):
    return (96, 128), list(items or [make_seg()])


def run(frames, segs=None, pipe=None, node_id="SEGSDetailerForAnimateDiff", **inputs):
    """The node with quick settings and what is given."""
    node = NODE_CLASS_MAPPINGS[node_id]()
    pipe = small.make_pipe() if pipe is None else pipe
    return getattr(node, node.FUNCTION)(frames, segs or make_segs(), basic_pipe=pipe, **{**QUICK, **inputs})


def pictures(out):
    return out[0][1][0].cropped_image


class TestDetailer:
    @pytest.mark.parametrize(
        ("case", "inputs", "mask"),
        [
            ("A", {}, None),
            ("B", {"noise_mask_feather": 5}, None),
            ("E1", {"guide_size_for": False}, None),
            ("E2", {"max_size": 128}, None),
            ("U", {}, np.ones((64, 64), np.float32)),
        ],
    )
    def test_compat_gives_the_originals_pictures_bit_for_bit(self, shared, frames, case, inputs, mask):
        known = np.load(shared / "golden" / "detailer_open.npz")[case]
        out = pictures(run(frames, make_segs(make_seg(mask)), compat=True, **inputs))
        assert np.array_equal(np.rint(out * 255), known)

    @pytest.mark.parametrize("compat", [False, True])
    def test_the_library_gives_the_same_bits(self, frames, compat):
        (_, [seg]), _ = run(frames, compat=compat, noise_mask_feather=5)
        options = replace(OPTIONS, compat=compat, noise_mask_feather=5)
        (same,) = detail(frames, make_segs(), ComfyBackend(small.make_pipe()), options)
        assert np.array_equal(seg.cropped_image, same.cropped_image)

    def test_defaults_run_where_the_original_stops(self, frames):
        declared = NODE_CLASS_MAPPINGS["SEGSDetailerForAnimateDiff"].INPUT_TYPES()
        every = {**declared["required"], **declared["optional"]}
        given = {name: one[0][0] if isinstance(one[0], list) else one[1].get("default") for name, one in every.items()}
        given = {name: value for name, value in given.items() if value is not None}
        (size_hw, [seg]), shown = run(frames[:1], **{**given, "guide_size": 64})
        assert given["noise_mask_feather"] == 20
        assert size_hw == (96, 128)
        assert seg.cropped_image.shape == (1, 64, 64, 3)
        assert seg.cropped_image.dtype == np.float32
        assert np.abs(seg.cropped_image - frames[:1, 16:80, 32:96].numpy()).max() > 0.01
        assert [image.shape for image in shown] == [(1, 64, 64, 3)]
        assert not shown[0].any()

    def test_what_comes_in_goes_out_but_for_the_pictures(self, frames):
        given = make_segs(make_seg(), make_seg(np.zeros((64, 64), np.float32), label="empty"))
        size_hw, (first, empty) = run(frames, given)[0]
        assert size_hw == given[0]
        assert first[1:] == (given[1][0].cropped_mask, 1.0, [32, 16, 96, 80], (48, 32, 80, 64), "A", None)
        assert np.array_equal(empty.cropped_image, frames[:, 16:80, 32:96])
        assert run(frames, ((96, 128), []), inpaint_model=False)[0] == ((96, 128), [])
        assert pictures(run(frames[:0])).shape == (0, 64, 64, 3)

    def test_a_segment_that_moves_stays_so(self, frames):
        masks = np.zeros((3, 96, 128), np.float32)
        for frame in range(3):
            masks[frame, 30:50, 20 + 20 * frame : 40 + 20 * frame] = 1
        walker = track_subject(masks)
        out, _ = run(frames, walker.to_tuple())
        (pasted,) = NODE_CLASS_MAPPINGS["SEGSPaste"]().doit(frames, out, 5, 255)
        library = paste(frames, detail(frames, walker, ComfyBackend(small.make_pipe()), OPTIONS))
        assert np.array_equal(pasted.numpy(), library)

    def test_progress_moves_between_frames_and_cancel_is_heard(self, frames, comfyui):
        run(frames)
        (bar,) = comfyui.bars
        assert (bar.total, bar.done) == (3 + 4 + 3, 10)
        asked = comfyui.asked
        for after in (1, 7, 12):
            comfyui.cancel_after = comfyui.asked + after
            with pytest.raises(Interrupted):
                run(frames)
        assert asked >= 10

    def test_pasting_each_is_redrawing_in_turn(self, frames):
        segs = make_segs(make_seg(), make_seg(crop_region=[0, 0, 64, 64], bbox=(16, 16, 48, 48)))
        film, shown = run(frames, segs, node_id="MaskwrightDetailAndPaste", feather=3, alpha=200)
        expected = frames.numpy()
        for seg in segs[1]:
            done = detail(expected, make_segs(seg), ComfyBackend(small.make_pipe()), OPTIONS)
            expected = paste(expected, done, feather=3, alpha=200)
        assert np.array_equal(film.numpy(), expected)
        assert not shown[0].any()
        assert run(frames[:0], node_id="MaskwrightDetailAndPaste")[0].shape == (0, 96, 128, 3)

    @pytest.mark.parametrize(
        ("pipe", "message"),
        [
            ((1, 2), r"basic_pipe must be \(model, clip, vae, positive, negative\), got 2 values"),
            ("pipe", "basic_pipe must be .*, got str"),
            ((None, 1, 1, [], []), "model of basic_pipe must be a model, got none"),
            ((small.Model(), 1, None, [], []), "vae of basic_pipe must be a VAE, got none"),
            ((small.Model(), 1, 1, [], "NegativePlaceholder"), "negative of basic_pipe must be conditioning, got 'Neg"),
        ],
    )
    def test_a_pipe_that_lacks_something_is_named(self, frames, pipe, message):
        with pytest.raises(ShapeError, match=f"^SEGSDetailerForAnimateDiff: {message}"):
            run(frames, pipe=pipe)

    def test_settings_that_are_none_are_named(self, frames):
        with pytest.raises(OptionError, match=r"sampler_name must be one of euler, .*, got 'heun'"):
            run(frames, sampler_name="heun")
        with pytest.raises(OptionError, match=r"scheduler must be one of simple, .*, got 'karas'"):
            run(frames, scheduler="karas")
        with pytest.raises(OptionError, match="context_length must be None, got 16"):
            detail(frames, make_segs(), ComfyBackend(small.make_pipe()), replace(OPTIONS, context_length=16))
        with pytest.raises(RangeError, match="bbox of segment 0 must be at least 1 pixel"):
            run(frames, make_segs(make_seg(bbox=(48, 32, 48, 64))))


class TestSampling:
    @pytest.mark.parametrize("name", ["euler", "euler_ancestral", "ddim"])
    @pytest.mark.parametrize("feather", [0, 5])
    @pytest.mark.parametrize("compat", [False, True])
    def test_our_own_steppers_agree(self, name, feather, compat):
        from maskwright.detail.sampling import sample

        options = replace(OPTIONS, sampler_name=name, noise_mask_feather=feather, compat=compat)
        job = _job(options)
        theirs = ComfyBackend(small.make_pipe()).sample(job).latents
        ours = sample(job, ToyModel())
        assert np.abs(theirs - ours).max() < 1e-4 * np.abs(ours).max()

    @pytest.mark.parametrize("name", small.KSampler.SAMPLERS)
    @pytest.mark.parametrize("ratio", [0.0, 0.2, 0.5, 1.0])
    @pytest.mark.parametrize("feather", [0, 5])
    def test_the_base_as_refiner_changes_nothing(self, name, ratio, feather):
        options = replace(OPTIONS, sampler_name=name, refiner_ratio=ratio, noise_mask_feather=feather)
        pipe = small.make_pipe()
        plain = ComfyBackend(pipe).sample(_job(options)).latents
        assert np.array_equal(ComfyBackend(pipe, small.make_pipe()).sample(_job(options)).latents, plain)

    @pytest.mark.parametrize("name", small.KSampler.SAMPLERS)
    def test_the_largest_seed(self, name):
        job = replace(_job(replace(OPTIONS, sampler_name=name)), seed=2**64 - 1)
        assert np.isfinite(ComfyBackend(small.make_pipe()).sample(job).latents).all()

    def test_a_refiner_takes_its_share_with_its_own_model(self, frames):
        base, refiner = small.make_pipe(), small.make_pipe(shift=0.3)
        out = run(frames, pipe=base, refiner_basic_pipe_opt=refiner, refiner_ratio=0.25)
        assert (len(base[0].calls), len(refiner[0].calls)) == (3, 1)
        assert not np.array_equal(pictures(out), pictures(run(frames)))
        compat = run(frames, pipe=base, refiner_basic_pipe_opt=refiner, refiner_ratio=0.25, compat=True)
        assert not np.array_equal(pictures(out), pictures(compat))
        without_clip = (refiner[0], None, *refiner[2:])
        same = run(frames, refiner_basic_pipe_opt=without_clip, compat=True)
        assert np.array_equal(pictures(same), pictures(run(frames, compat=True)))

    def test_compat_takes_the_originals_two_runs(self):
        options = replace(OPTIONS, compat=True, noise_mask_feather=5)
        for ratio in (0.0, 0.5, 1.0):
            job = _job(replace(options, refiner_ratio=ratio))
            from maskwright.detail.sampling import sample

            theirs = ComfyBackend(small.make_pipe(), small.make_pipe()).sample(job).latents
            assert np.abs(theirs - sample(job, ToyModel(), ToyModel())).max() < 1e-4

    @pytest.mark.parametrize("feather", [0, 5])
    def test_where_the_mask_is_0_latents_stay_bit_for_bit(self, feather):
        job = _job(replace(OPTIONS, noise_mask_feather=feather))
        hard = np.repeat(np.arange(64)[None, None] >= 32, 64, axis=1).astype(np.float32)
        out = ComfyBackend(small.make_pipe()).sample(replace(job, mask=hard)).latents
        assert np.array_equal(out[..., :4], job.latents[..., :4])
        assert (out[..., 4:] != job.latents[..., 4:]).mean() > 0.99

    def test_a_models_own_mask_function_is_left_to_it(self):
        pipe, seen = small.make_pipe(), []
        pipe[0].set_model_denoise_mask_function(lambda _s, mask, extra_options: seen.append(1) or mask)
        ComfyBackend(pipe).sample(_job(replace(OPTIONS, noise_mask_feather=5)))
        assert len(seen) == 4

    def test_noise_on_the_way_spans_the_whole_schedule(self):
        small.BrownianTreeNoiseSampler.made.clear()
        pipe = small.make_pipe()
        ComfyBackend(pipe, pipe).sample(_job(replace(OPTIONS, sampler_name="dpmpp_sde", refiner_ratio=0.5)))
        ((low, high, seed, cpu),) = small.BrownianTreeNoiseSampler.made
        assert (round(low, 4), round(high, 4), seed, cpu) == (0.0292, 14.6146, 1, True)

    def test_prompts_masks_are_cropped_as_the_frames_are(self, frames):
        full, other = torch.zeros(1, 96, 128), torch.zeros(1, 96, 128)
        full[:, :, 32:64], other[:, 16:80, 32:64] = 1, 1  # over the crop they are the same

        def masked(mask):
            model, clip, vae, positive, negative = small.make_pipe()
            extra = [[torch.full((1, 1, 4), 0.9), {"mask": mask}]]
            return model, clip, vae, [[positive[0][0], {"mask": 1 - mask}], *extra], negative

        one, two = (
            pictures(run(frames, pipe=masked(mask), refiner_basic_pipe_opt=masked(mask))) for mask in (full, other)
        )
        assert np.array_equal(one, two)
        assert not np.array_equal(one, pictures(run(frames)))

    def test_prompts_masks_follow_a_crop_that_moves(self, frames):
        masks = np.zeros((3, 96, 128), np.float32)
        for frame in range(3):
            masks[frame, 30:62, 10 + 20 * frame : 42 + 20 * frame] = 1
        walker = track_subject(masks, smoothing=0)
        inside, beyond = torch.zeros(3, 96, 128), torch.ones(3, 96, 128)
        for frame, (x1, y1, x2, y2) in enumerate(walker[0].follow.regions):
            inside[frame, y1:y2, x1 : (x1 + x2) // 2] = 1
            beyond[frame, y1:y2, x1:x2] = inside[frame, y1:y2, x1:x2]  # the same over each frame's crop

        def redrawn(mask):
            model, clip, vae, positive, negative = small.make_pipe()
            extra = [[torch.full((1, 1, 4), 0.9), {"mask": mask}]]
            pipe = model, clip, vae, [[positive[0][0], {}], *extra], negative
            return Segs.from_tuple(run(frames, walker.to_tuple(), pipe=pipe, guide_size=64)[0])[0].cropped_image

        assert np.array_equal(redrawn(inside), redrawn(beyond))
        moved = np.abs(redrawn(inside) - redrawn(inside * 0)).mean(axis=(0, 1, 3))
        half = len(moved) // 2
        assert moved[: half - 8].max() > 0.03 > 10 * moved[half + 8 :].max()

    def test_tiles_are_the_vaes(self, frames):
        pipe = small.make_pipe()
        out = run(frames, pipe=pipe, tiled_vae=True)
        assert pipe[2].tiles == [(512, 512, 64)] * 3 + [(64, 64, 8)] * 3
        assert np.array_equal(pictures(out), pictures(run(frames)))

    def test_a_vae_for_films_sees_frame_by_frame(self, frames):
        out = run(frames, pipe=small.make_pipe(small.Vae(film=True)))
        assert np.array_equal(pictures(out), pictures(run(frames)))


def _job(options):
    latents = np.random.default_rng(0).standard_normal((3, 4, 8, 8)).astype(np.float32)
    mask = np.broadcast_to(np.linspace(0, 1, 64, dtype=np.float32), (1, 64, 64)).copy()
    return SampleJob(latents, mask, options.seed, options, (0, 0, 64, 64), (64, 64), (64, 64))


class TestSchedules:
    @pytest.mark.parametrize("name", [name for name in SCHEDULERS if not name.startswith("GITS")])
    def test_a_function_gives_the_levels_of_its_name(self, name):
        (schedule,) = NODE_CLASS_MAPPINGS["MaskwrightMakeSchedule"]().run(name, 1.2)
        sigmas = schedule(small.Model(), "euler", 7)
        assert np.array_equal(sigmas.numpy(), make_sigmas(small.Model().sampling.table, name, 7))

    def test_gits_has_a_coefficient(self, frames):
        (schedule,) = NODE_CLASS_MAPPINGS["MaskwrightMakeSchedule"]().run("GITS", 1.2000000001)
        by_name = pictures(run(frames, scheduler="GITS[coeff=1.2]"))
        assert np.array_equal(by_name, pictures(run(frames, scheduler_func_opt=schedule)))
        (other,) = NODE_CLASS_MAPPINGS["MaskwrightMakeSchedule"]().run("GITS", 0.85)
        assert not np.array_equal(by_name, pictures(run(frames, scheduler_func_opt=other)))

    def test_names_are_comfyuis_then_ours(self, monkeypatch):
        assert list_samplers() == list(small.KSampler.SAMPLERS)
        assert list_schedulers()[:3] == ["simple", "normal", "sgm_uniform"]
        assert set(list_schedulers()) == set(SCHEDULERS)
        monkeypatch.delitem(sys.modules, "comfy.samplers")
        assert list_samplers() == list(SAMPLERS)
        assert list_schedulers() == list(SCHEDULERS)


class _Wrapper:
    """What another pack puts on a segment."""

    def __init__(self, prev=None, image=None):
        self.prev_control_net, self.control_image, self.calls = prev, image, []

    def apply(self, positive, negative, image, mask=None, use_acn=False):
        shown = image if self.control_image is None else self.control_image
        self.calls.append((tuple(image.shape), tuple(mask.shape), use_acn, shown))
        return positive, negative, [shown]

    def doit_ipadapter(self, model):
        adapted = model.clone()
        adapted.shift = 0.5
        return adapted, [torch.full((1, 8, 8, 3), 0.25)]


class _Passing(_Wrapper):
    """One that forgets to tell its predecessor which node applies it, as some do."""

    def apply(self, positive, negative, image, mask=None, use_acn=False):
        return self.prev_control_net.apply(positive, negative, image, mask)


@pytest.fixture
def core(monkeypatch):
    """ComfyUI's own node for ControlNets, noting what it was given and shifting the prompts."""
    calls = []

    class Apply:
        def apply_controlnet(self, positive, negative, control_net, image, **settings):
            calls.append((control_net, image, settings))
            shifted = [[values + 0.3, details] for values, details in positive]
            return shifted, negative, "a third value"

    nodes = types.ModuleType("nodes")
    nodes.NODE_CLASS_MAPPINGS, nodes.ControlNetApplyAdvanced = {}, Apply
    monkeypatch.setitem(sys.modules, "nodes", nodes)
    return types.SimpleNamespace(calls=calls, nodes=nodes, Apply=Apply)


def put(segs, net="net", **inputs):
    return NODE_CLASS_MAPPINGS["ImpactControlNetApplySEGS"]().doit(segs, net, inputs.pop("strength", 1.0), **inputs)[0]


class TestControlNets:
    def test_they_are_applied_in_the_order_of_the_chain(self, frames, core):
        hint = torch.rand(1, 96, 128, 3)
        segs = put(put(make_segs(), "first"), "second", strength=0.5, control_image=hint, start_percent=0.1, vae="vae")
        (_, [seg]), shown = run(frames, segs)
        assert [call[0] for call in core.calls] == ["first", "second"]
        assert core.calls[1][2] == {"strength": 0.5, "start_percent": 0.1, "end_percent": 1.0, "vae": "vae"}
        assert [image.shape for image in shown] == [(3, 192, 192, 3), (1, 192, 192, 3)]
        assert seg.control_net_wrapper is None
        assert not np.array_equal(seg.cropped_image, pictures(run(frames)))

    def test_a_picture_is_cropped_and_brought_to_the_size_that_is_redrawn(self, frames, core):
        hint = torch.zeros(1, 48, 64, 3)
        hint[:, 8:40, 16:48] = 1  # the crop, at half the size
        run(frames, put(make_segs(), control_image=hint))
        assert core.calls[0][1].shape == (1, 192, 192, 3)
        assert core.calls[0][1][:, 16:-16, 16:-16].min() > 0.99

    def test_a_segment_that_moves_takes_its_crop_along(self, frames, core):
        masks = np.zeros((3, 96, 128), np.float32)
        for frame in range(3):
            masks[frame, 30:62, 10 + 20 * frame : 42 + 20 * frame] = 1
        hint = torch.from_numpy(np.repeat(masks[..., None], 3, axis=3))
        run(frames, put(track_subject(masks, smoothing=0).to_tuple(), control_image=hint), guide_size=64)
        shown = core.calls[0][1]
        assert len(shown) == 3
        assert shown.mean(dim=(1, 2, 3)).std() < 0.02

    def test_advanced_controlnet_is_used_where_it_is(self, frames, core):
        used = []

        class Advanced(core.Apply):
            def apply_controlnet(self, **settings):
                used.append(settings)
                return super().apply_controlnet(**settings)

        core.nodes.NODE_CLASS_MAPPINGS["ACN_AdvancedControlNetApply"] = Advanced
        run(frames, put(put(make_segs()), vae="vae"))
        assert len(used) == 2  # the one before in the chain too
        assert used[1]["vae_optional"] == "vae"

    @pytest.mark.parametrize("newer", [False, True], ids=["older node", "newer node"])
    @pytest.mark.parametrize("compat", [False, True])
    def test_each_of_a_chain_is_asked_for_what_it_knows(self, frames, core, newer, compat):
        used = []

        class Older:
            def apply_controlnet(self, **settings):
                used.append(settings["control_net"])
                return core.Apply().apply_controlnet(**settings)

        class Newer:  # its form since the pack moved to ComfyUI's newer interface
            @classmethod
            def execute(cls, **settings):
                return Older().apply_controlnet(**settings)

        core.nodes.NODE_CLASS_MAPPINGS["ACN_AdvancedControlNetApply"] = Newer if newer else Older
        first, between = _Wrapper(), _Wrapper(prev=put(make_segs(), "inner")[1][0].control_net_wrapper)
        outer = put(make_segs(make_seg(wrapper=between)), "outer")
        run(frames, outer, compat=compat)
        assert "outer" in used
        assert between.calls[0][2] is not newer
        run(frames, make_segs(make_seg(wrapper=_Passing(first))), compat=False)
        assert first.calls[0][2] is not newer  # though what comes after it does not say so

    def test_compat_wants_advanced_controlnet(self, frames, core):
        with pytest.raises(EngineUnavailable, match="the pack Advanced-ControlNet is not loaded"):
            run(frames, put(make_segs()), compat=True)

    def test_other_packs_wrappers_are_called_and_their_pictures_fitted(self, frames, core):
        inner = _Wrapper(image=torch.rand(1, 64, 64, 3))
        outer = _Wrapper(prev=inner)
        (_, [seg]), shown = run(frames, make_segs(make_seg(wrapper=outer)))
        assert outer.calls[0][:3] == ((3, 192, 192, 3), (1, 64, 64), False)
        assert [image.shape for image in shown] == [(3, 192, 192, 3), (1, 8, 8, 3)]
        assert inner.control_image.shape == (1, 64, 64, 3)  # theirs stays as it was
        adapted = run(frames, pipe=small.make_pipe(shift=0.5))
        assert np.array_equal(seg.cropped_image, pictures(adapted))
        outer.calls.clear()
        compat, _ = run(frames, make_segs(make_seg(wrapper=outer)), compat=True)
        assert outer.calls[0][:3] == ((3, 64, 64, 3), (1, 64, 64), True)
        assert np.array_equal(compat[1][0].cropped_image, pictures(run(frames, compat=True)))

    def test_ours_pass_on_what_came_before(self, frames, core):
        segs = put(make_segs(make_seg(wrapper=_Wrapper(image=np.zeros((1, 64, 64, 3), np.float32)))))
        _, shown = run(frames, segs)
        assert [image.shape for image in shown] == [(1, 192, 192, 3), (3, 192, 192, 3), (1, 8, 8, 3)]

    def test_a_preprocessor_makes_what_is_shown(self, frames, core):
        asked = []

        class Invert:
            def apply(self, image, mask):
                asked.append((image.shape, mask.shape))
                return 1 - image

        _, shown = run(frames, put(make_segs(), segs_preprocessor=Invert()))
        assert asked == [((3, 192, 192, 3), (1, 64, 64))]
        assert torch.equal(shown[0], core.calls[0][1])

    def test_as_many_pictures_as_neither_one_nor_the_frames(self, frames, core):
        with pytest.raises(ShapeError, match="control_image must be 1 or 3 pictures, got 2"):
            run(frames, put(make_segs(), control_image=torch.rand(2, 96, 128, 3)))
