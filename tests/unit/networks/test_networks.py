"""The networks against published counts and names, and against formulas written independently of them."""

import hashlib

import pytest

torch = pytest.importorskip("torch")

from maskwright.networks import NETWORKS, build_network, fold_norms  # noqa: E402
from maskwright.networks.trace import IMAGE, trace_layers  # noqa: E402
from tests.support.exports import randomize  # noqa: E402
from tests.unit.networks.formulas import run_formula  # noqa: E402

# tensors in the state dict, parameters, outputs, classes; SHA-256 over its sorted names and shapes
PUBLISHED = {
    "isnet": (798, 44_046_790, 6, 1),
    "isnet_base": (788, 44_033_537, 1, 1),
    "u2net": (798, 44_009_869, 7, 1),
    "u2netp": (798, 1_131_181, 7, 1),
    "u2net_cloth": (798, 44_051_452, 7, 4),
    "anime_unet": (298, 1_554_255, 1, 7),
    "modnet": (751, 6_487_075, 1, 1),
}
NAMES = {
    "isnet": "892760dd3cb368a358b7115f35c1e80f52873f97a9068c00b39a98396792a0fd",
    "isnet_base": "d2ecc43e1721c7d307944e39343774d50c0bbb9aea5ff6e3116d8741259405b6",
    "u2net": "bc4da5825d16dca6d2f5e1918decccd1dd746582b1610ef654da4b4638a5cff7",
    "u2netp": "33d6979d83673620ff7cb5f16d08e5fe10ab798590ede27dab64640c830325b3",
    "u2net_cloth": "dba2402d306d7d68d06d6b1cce161e8b30ef1342644a564b3e5f7a453db4c832",
    "anime_unet": "f08d9d49e2ef4fc74afef4247475ba77023081fea1db035e62de879a77249069",
    "modnet": "3a72600f4a21041803f2378c798a149f4a987faa6f1301dab5f452d13ffb249b",
}
ANY_SIZE = ("isnet", "isnet_base", "u2net", "u2netp", "u2net_cloth")

pytestmark = pytest.mark.usefixtures("one_thread")
each_network = pytest.mark.parametrize("name", PUBLISHED)


def test_these_are_all():
    assert set(NETWORKS) == {*PUBLISHED, "maskwright_parts"}  # which is our own, see test_parts.py


@each_network
class TestEach:
    def test_counts_are_the_published_ones(self, name):
        network = build_network(name)
        tensors, parameters, outputs, classes = PUBLISHED[name]
        assert len(network.state_dict()) == tensors
        assert sum(parameter.numel() for parameter in network.parameters()) == parameters
        assert not network.training
        with torch.inference_mode():
            maps = network(torch.zeros(2, 3, 64, 96))
        assert isinstance(maps, tuple)
        assert [tuple(each.shape) for each in maps] == [(2, classes, 64, 96)] * outputs

    def test_names_and_shapes_are_the_published_ones(self, name):
        state = build_network(name).state_dict()
        text = "\n".join(sorted(f"{key} {tuple(value.shape)}" for key, value in state.items()))
        assert hashlib.sha256(text.encode()).hexdigest() == NAMES[name]

    @pytest.mark.parametrize("size_hw", [(64, 96), (53, 87)])
    def test_it_computes_what_the_formulas_say(self, name, size_hw):
        if name not in ANY_SIZE:
            size_hw = (64, 96) if size_hw == (64, 96) else (32, 160)  # multiples of 32
        torch.manual_seed(3)
        network = randomize(build_network(name)).double()
        image = torch.randn(1, 3, *size_hw, dtype=torch.float64)
        with torch.inference_mode():
            computed = network(image)
            wanted = run_formula(name, network.state_dict(), image)
        assert len(computed) == len(wanted)
        assert wanted[0].std() > 1e-4  # a picture of one colour would hide a mistake
        for ours, theirs in zip(computed, wanted, strict=True):
            assert (ours - theirs).abs().max() < 1e-9

    def test_folding_norms_changes_nothing_but_rounding(self, name):
        network = randomize(build_network(name)).double()
        image = torch.randn(1, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            before = network(image)[0]
            assert fold_norms(network) is network
            after = network(image)[0]
        assert (before - after).abs().max() < 1e-9
        left = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        assert len(left) == (17 if name == "modnet" else 0)  # norms of half of the channels stay


class TestTrace:
    def test_layers_know_what_they_see(self):
        layers = trace_layers(build_network("u2netp"))
        assert len(layers) == 119
        assert sum(layer.norm is not None for layer in layers) == 112
        assert layers[0].sources == (IMAGE,)
        assert layers[-1].sources == (112, 113, 114, 115, 116, 117)  # the six sides, the finest first
        assert [len(layer.sources) for layer in layers[112:118]] == [2] * 6  # a stage: its last layer and its first

    def test_heads_for_training_are_not_among_them(self):
        network = build_network("modnet")
        met = {id(layer.module) for layer in trace_layers(network)}
        assert id(network.lr_branch.conv_lr.layers[0]) not in met
        assert id(network.f_branch.conv_f[1].layers[0]) in met

    def test_the_network_is_not_touched(self):
        network = build_network("modnet")
        before = {name: value.clone() for name, value in network.state_dict().items()}
        with torch.inference_mode():
            trace_layers(network)
        assert all(before[name].equal(value) for name, value in network.state_dict().items())


class TestUnknownName:
    def test_it_is_refused(self):
        with pytest.raises(ValueError, match=r"network must be one of isnet, isnet_base, .*, got 'unet'"):
            build_network("unet")
