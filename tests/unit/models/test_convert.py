"""Checkpoints and safetensors as networks: prefixes, what is dropped, and files that must not be trusted."""

import builtins
import os
import pickle
import sys
import zipfile

import pytest

torch = pytest.importorskip("torch")

from maskwright.errors import EngineUnavailable, ModelError  # noqa: E402
from maskwright.models.convert import (  # noqa: E402
    load_network,
    load_state,
    recognise,
    write_safetensors,
)
from maskwright.models.known import relatives  # noqa: E402
from maskwright.networks import build_network  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def small():
    """u2netp with random weights."""
    torch.manual_seed(1)
    return build_network("u2netp")


def save(content, path):
    torch.save(content, path)
    return path


def same_output(first, second):
    image = torch.randn(1, 3, 40, 56, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        return bool(first(image)[0].equal(second(image)[0]))


class TestLoadNetwork:
    @pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt", ".bin", ".PTH"])
    def test_a_checkpoint(self, suffix, small, tmp_path):
        name, network = load_network(save(small.state_dict(), tmp_path / f"w{suffix}"))
        assert name == "u2netp"
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())
        assert same_output(network, small)

    @pytest.mark.parametrize(
        "wrap",
        [
            lambda state: {f"module.{name}": value for name, value in state.items()},
            lambda state: {"state_dict": {f"net.{name}": value for name, value in state.items()}, "epoch": 3},
            lambda state: {"model": {"state_dict": {f"model.module.{name}": value for name, value in state.items()}}},
            lambda state: {f"_orig_mod.{name}": value for name, value in state.items()},
            lambda state: {
                **{f"net.{name}": value for name, value in state.items()},
                "gt_encoder.conv_in.conv.weight": torch.zeros(16, 1, 3, 3),
                "gt_encoder.side6.bias": torch.zeros(1),
            },
        ],
        ids=["module", "lightning", "nested", "compiled", "isnetis"],
    )
    def test_what_training_wraps_around_is_taken_away(self, wrap, small, tmp_path):
        name, network = load_network(save(wrap(small.state_dict()), tmp_path / "w.ckpt"))
        assert name == "u2netp"
        assert same_output(network, small)

    def test_half_precision_is_widened(self, small, tmp_path):
        halved = {
            name: value.half() if value.is_floating_point() else value for name, value in small.state_dict().items()
        }
        _, network = load_network(save(halved, tmp_path / "w.pth"))
        assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
        assert network.outconv.weight.equal(small.outconv.weight.half().float())

    def test_safetensors(self, small, tmp_path):
        write_safetensors(small.state_dict(), tmp_path / "w.safetensors", {"network": "u2netp"})
        name, network = load_network(tmp_path / "w.safetensors", "u2netp")
        assert name == "u2netp"
        assert same_output(network, small)

    def test_modnet_is_written_once_and_read_twice(self, tmp_path):
        network = build_network("modnet")
        state = network.state_dict()
        assert len(state) == 751
        write_safetensors(state, tmp_path / "w.safetensors", {})
        assert (tmp_path / "w.safetensors").stat().st_size < 4 * 6_487_075 + 200_000  # the backbone stands in it once
        assert load_state(tmp_path / "w.safetensors").keys() == state.keys()
        name, again = load_network(tmp_path / "w.safetensors")
        assert name == "modnet"
        assert again.backbone is again.lr_branch.backbone

    def test_the_same_tensors_give_the_same_bytes(self, small, tmp_path):
        for name in ("a", "b"):
            write_safetensors(small.state_dict(), tmp_path / name, {"network": "u2netp", "made from": "x"})
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    def test_another_network_than_the_one_named(self, small, tmp_path):
        path = save(small.state_dict(), tmp_path / "w.pth")
        with pytest.raises(ModelError, match=r"w\.pth: weights must be of modnet, got 798 tensors, none of a"):
            load_network(path, "modnet")


class _Trap:
    """What runs a program when it is unpickled without care."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return builtins.open, (str(self.path), "w")


class TestFilesNotToBeTrusted:
    @pytest.mark.parametrize("zipped", [True, False])
    @pytest.mark.parametrize("place", ["alone", "beside the tensors"])
    def test_a_pickled_program_is_refused_and_not_run(self, place, zipped, small, tmp_path):
        trap = _Trap(tmp_path / "ran")
        content = trap if place == "alone" else {**small.state_dict(), "extra": trap}
        torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
        with pytest.raises(ModelError, match=r"not only tensors \(io\.open\); nothing of it was run; save"):
            load_network(tmp_path / "w.pth")
        assert not (tmp_path / "ran").exists()
        with pytest.raises(EOFError):  # the trap works: read without care, it makes the file (and is no checkpoint)
            pickle.loads(pickle.dumps(trap)).close() or pickle.loads(b"")
        assert (tmp_path / "ran").exists()

    @pytest.mark.parametrize("zipped", [True, False])
    def test_a_program_whose_module_is_blocked_is_named_too(self, zipped, tmp_path):
        class Command:
            def __reduce__(self):
                return os.system, (f"touch {tmp_path / 'ran'}",)

        torch.save({"extra": Command()}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
        with pytest.raises(ModelError, match=r"not only tensors \((posix|nt)\.system\); nothing of it was run; save"):
            load_network(tmp_path / "w.pth")
        (tmp_path / "w.pth").write_bytes(pickle.dumps(Command(), protocol=4))
        with pytest.raises(ModelError, match="is not a checkpoint that can be read"):  # and nobody is warned besides
            load_network(tmp_path / "w.pth")
        assert not (tmp_path / "ran").exists()

    def test_a_torchscript_archive_is_refused(self, tmp_path):
        with zipfile.ZipFile(save({}, tmp_path / "w.pt"), "a") as archive:
            archive.writestr("w/constants.pkl", b"")
        with pytest.raises(ModelError, match=r"not only tensors \(TorchScript\); nothing of it was run"):
            load_network(tmp_path / "w.pt")

    def test_a_whole_model_is_refused(self, small, tmp_path):
        with pytest.raises(ModelError, match=r"holds a program and not only tensors .*U2NETP"):
            load_network(save(small, tmp_path / "w.pth"))

    @pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"PK\x03\x04 no archive", b"\x80\x02garbage", b"text\n"])
    def test_no_checkpoint(self, content, tmp_path):
        (tmp_path / "w.pth").write_bytes(content)
        with pytest.raises(ModelError, match=r"is not a checkpoint that can be read|holds a program"):
            load_network(tmp_path / "w.pth")

    @pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
    def test_cut_off(self, part, small, tmp_path):
        whole = save(small.state_dict(), tmp_path / "whole.pth").read_bytes()
        (tmp_path / "w.pth").write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(ModelError, match="is not a checkpoint that can be read"):
            load_network(tmp_path / "w.pth")

    @pytest.mark.parametrize("content", [b"", b"\xff" * 50, b"\x02\x00\x00\x00\x00\x00\x00\x00{}"])
    def test_no_safetensors(self, content, tmp_path):
        (tmp_path / "w.safetensors").write_bytes(content)
        with pytest.raises(ModelError, match=r"is not a whole safetensors file|a dictionary of tensors"):
            load_network(tmp_path / "w.safetensors")

    @pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"state_dict": {"model": {"net": {}}}}])
    def test_no_tensors(self, content, tmp_path):
        with pytest.raises(ModelError, match="must be a dictionary of tensors, got"):
            load_network(save(content, tmp_path / "w.pth"))

    @pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
    def test_not_there(self, suffix, tmp_path):
        with pytest.raises(ModelError, match=f"gone{suffix} cannot be read"):
            load_network(tmp_path / f"gone{suffix}")

    def test_another_kind_of_file(self, tmp_path):
        with pytest.raises(ModelError, match=r"must be a file ending in \.safetensors, .*, got '\.tflite'"):
            load_network(tmp_path / "w.tflite")


class TestRecognise:
    @pytest.mark.parametrize("name", relatives(None))
    def test_each_network_is_known_by_its_names_and_shapes(self, name):
        with torch.device("meta"):
            state = build_network(name).state_dict()
        assert recognise({key: tuple(value.shape) for key, value in state.items()}) == name

    def test_isnet_and_its_finest_side_serve_each_other(self):
        assert relatives("isnet") == relatives("isnet_base") == ["isnet", "isnet_base"]
        assert relatives("modnet") == ["modnet"]

    def test_the_difference_is_told(self, small):
        shapes = {name: tuple(value.shape) for name, value in small.state_dict().items()}
        shapes["side1.weight"] = (2, 64, 3, 3)
        shapes["mine.weight"] = shapes.pop("outconv.weight")
        wanted = (
            r"of isnet or .* or maskwright_parts, got nearest to u2netp: 1 missing \(outconv.weight\), "
            r"1 more \(mine.weight\), "
            r"1 of another shape \(side1.weight: \(2, 64, 3, 3\) instead of \(1, 64, 3, 3\)\)"
        )
        with pytest.raises(ModelError, match=wanted):
            recognise(shapes)

    def test_a_network_that_is_not_known(self):
        with pytest.raises(ModelError, match=r"network must be one of isnet, .*, got 'unet'"):
            recognise({}, "unet")


class TestMissingLibraries:
    def test_torch(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "torch", None)
        with pytest.raises(EngineUnavailable, match=r'PyTorch is not installed; pip install "maskwright\[torch\]"'):
            load_network(tmp_path / "w.pth")

    def test_safetensors(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "safetensors", None)
        with pytest.raises(EngineUnavailable, match="safetensors is not installed"):
            load_network(tmp_path / "w.safetensors")
