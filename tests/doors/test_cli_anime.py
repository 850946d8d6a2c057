"""`maskwright anime`, as a process and in process."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from maskwright.anime import PALETTE, color_labels
from maskwright.cli import main
from maskwright.engines import release_engines
from tests.support.networks import write_checkpoint


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "face.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 50, 3), np.uint8)).save(path)
    return path


@pytest.fixture
def run(capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        release_engines()
        return left.value.code, out, err

    return call


@pytest.fixture(scope="session")
def unet(tmp_path_factory):
    """Random weights of UNet.pth's shape."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    return write_checkpoint(tmp_path_factory.mktemp("anime") / "UNet.pth", "anime_unet")


def test_random_weights_of_the_published_shape_give_a_map_its_labels_and_a_mask(run, photo, unet, tmp_path):
    out, labels, mask = (tmp_path / name for name in ("map.png", "labels.png", "mask.png"))
    code, said, err = run(
        *("anime", photo, out, "--keep-background", "--weights", unet, "--labels", labels, "--mask", mask, "--json")
    )
    assert code == 0, err
    report = json.loads(said)
    assert report["label_names"] == list(PALETTE)
    assert (report["width"], report["height"], report["weights"]) == (50, 70, "UNet.pth")
    assert report["character"] is None
    indices = np.asarray(Image.open(labels))
    assert indices.shape == (70, 50)
    assert np.array_equal(np.asarray(Image.open(out)), color_labels(indices))
    assert np.asarray(Image.open(mask)).min() == 255


def test_the_map_goes_to_stdout(capsysbinary, photo, unet, tmp_path):
    labels = tmp_path / "labels.png"
    with pytest.raises(SystemExit, match="0"):
        main(["anime", str(photo), "-", "--keep-background", "--weights", str(unet), "--labels", str(labels)])
    release_engines()
    drawn = np.asarray(Image.open(io.BytesIO(capsysbinary.readouterr().out)))
    assert np.array_equal(drawn, color_labels(np.asarray(Image.open(labels))))


@pytest.mark.slow
def test_both_networks_with_random_weights_of_the_published_shapes_run_one_after_the_other(run, photo, unet, tmp_path):
    character = write_checkpoint(tmp_path / "isnetis.ckpt", "isnet")
    code, said, err = run(
        *("anime", photo, tmp_path / "map.png", "--weights", unet, "--character-weights", character, "--json"),
        *("--compat", "--mask", tmp_path / "mask.png"),
    )
    assert code == 0, err
    report = json.loads(said)
    assert (report["height"], report["width"], report["compat"]) == (717, 512, True)
    assert report["character"]["weights"] == "isnetis.ckpt"
    shapes = [np.asarray(Image.open(tmp_path / name)).shape for name in ("map.png", "mask.png")]
    assert shapes == [(717, 512, 3), (717, 512)]


def test_random_weights_of_the_published_shape_come_by_import_and_are_used(run, photo, unet, tmp_path, monkeypatch):
    monkeypatch.setenv("MASKWRIGHT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MASKWRIGHT_OFFLINE", "1")
    code, _, err = run("models", "import", unet, "--as", "anime-face")
    assert code == 0, err
    code, said, err = run("anime", photo, tmp_path / "map.png", "--keep-background", "--accept-license", "--json")
    assert code == 0, err
    assert json.loads(said)["weights"] == "anime-face.safetensors"
    assert run("anime", photo, tmp_path / "again.png", "--keep-background", "--weights", unet)[0] == 0
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "map.png").read_bytes()


def test_weights_that_lie_in_the_store_are_accepted_by_their_hash(run, photo, unet, tmp_path, monkeypatch):
    import hashlib
    import shutil

    monkeypatch.setenv("MASKWRIGHT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MASKWRIGHT_OFFLINE", "1")
    (tmp_path / "home" / "models").mkdir(parents=True)
    shutil.copy(unet, tmp_path / "home" / "models" / "UNet.pth")
    command = ("anime", photo, tmp_path / "map.png", "--keep-background", "--accept-license")
    sha256 = hashlib.sha256(unet.read_bytes()).hexdigest()
    code, _, err = run(*command)
    assert code == 1
    assert f"accept it with --accept-hash {sha256}" in err
    assert run(*command, "--accept-hash", sha256)[0] == 0
    assert run(*command)[0] == 0  # accepted once


def test_without_weights_it_names_the_files_and_where_to_put_them(run_python, photo, tmp_path, own_home):
    done = run_python("-m", "maskwright", "anime", photo, tmp_path / "map.png")
    assert done.returncode == 1
    folder = own_home / ".maskwright" / "models"
    assert f"put UNet.pth at {folder / 'UNet.pth'} and isnet-anime.onnx at {folder / 'isnet-anime.onnx'}" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "map.png").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("map.jpg",), "format must be one of png, webp, tiff, got 'jpg'"),
        (("map.png", "--labels", "labels.webp"), "format must be one of png, got 'webp'"),
        (("map.png", "--mask", "map.png"), "OUTPUT must be another file than INPUT"),
        (("sub/../face.png",), "OUTPUT must be another file than INPUT"),
        (("map.png", "--labels", "none/labels.png"), "there is no folder none"),
        (("map.png", "--max-pixels", "99"), "must be at most 99 pixels, got 50 x 70"),
        (("map.png", "--size", "huge"), "'huge' is not one of 'picture', 'network'"),
        (("map.png", "--weights", "nowhere.pth", "--keep-background"), "weights nowhere.pth are not there"),
        (("map.png", "--weights", "face.png", "--keep-background"), "weights must be a file ending in .onnx"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(run, photo, tmp_path, monkeypatch, more, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("anime", "face.png", *more)
    assert code == 2
    assert message in err
    assert len(err.splitlines()) == 1
    assert out == ""
