"""`maskwright person`, in process."""

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from maskwright.cli import main
from maskwright.engines import release_engines
from maskwright.models import Store, find_card
from tests.support.tflite import write_person_graph

COLORS = {"hair": (0, 0, 255), "face": (255, 0, 0), "clothes": (255, 255, 255)}


@pytest.fixture
def photo(tmp_path):
    picture = np.zeros((200, 300, 3), np.uint8)
    picture[20:60, 100:200], picture[60:120, 120:180], picture[120:, 80:220] = COLORS.values()
    path = tmp_path / "photo.png"
    Image.fromarray(picture).save(path)
    return path


@pytest.fixture
def run(capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as left:
            main(["person", *(str(argument) for argument in arguments)])
        out, err = capsys.readouterr()
        release_engines()
        return left.value.code, out, err

    return call


@pytest.fixture
def graph(tmp_path):
    """A graph of the network's signature that knows colours."""
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed: pip install 'maskwright[person]'")
    return write_person_graph(tmp_path / "six.tflite")


def read(path):
    return np.asarray(Image.open(path))


def test_a_mask_of_one_part(run, photo, graph, tmp_path):
    out = tmp_path / "mask.png"
    code, _, err = run(photo, out, "--weights", graph)
    assert code == 0, err
    assert "selfie-multiclass  face " in err
    mask = read(out)
    assert mask.shape == (200, 300)
    truth = np.zeros((200, 300), bool)
    truth[60:120, 120:180] = True
    assert ((mask > 127) != truth).mean() < 0.01
    assert set(np.unique(mask)) == {0, 255}


def test_several_parts_together_by_themselves_and_cut_out(run, photo, graph, tmp_path):
    out, cut = tmp_path / "mask.png", tmp_path / "cut.png"
    code, said, err = run(
        *(photo, out, "--weights", graph, "--parts", "face, Hair,clothes", "--separate", "--cutout", cut, "--json")
    )
    assert code == 0, err
    report = json.loads(said)
    assert list(report["selected"]) == ["face", "hair", "clothes"]
    assert (report["model"], report["width"], report["height"]) == ("selfie-multiclass", 300, 200)
    each = [read(tmp_path / f"mask-{part}.png") for part in ("face", "hair", "clothes")]
    assert np.array_equal(np.maximum.reduce(each), read(out))
    assert np.array_equal(read(cut)[..., 3], read(out))


@pytest.mark.parametrize(
    "flags",
    [["--soft"], ["--refine"], ["--tiles", "256"], ["--combine", "sum"], ["--antialias"], ["--compat", "--refine"]],
)
def test_every_option_changes_something_or_nothing_but_works(run, photo, graph, tmp_path, flags):
    out = tmp_path / "mask.png"
    code, _, err = run(photo, out, "--weights", graph, "--parts", "face,hair", "--quiet", *flags)
    assert (code, err) == (0, "")
    assert read(out).max() == 255 or "--soft" in flags


@pytest.mark.parametrize("parts", ["face", "hair", "body", "clothes", "accessories", "background", "person"])
def test_without_its_weights_a_model_fails_and_says_where_they_belong(run, photo, tmp_path, monkeypatch, parts):
    monkeypatch.setenv("MASKWRIGHT_OFFLINE", "1")
    code, _, err = run(photo, tmp_path / "mask.png", "--parts", parts, "--model", "selfie-multiclass")
    assert code == 1
    assert "selfie_multiclass_256x256.tflite" in err
    assert not (tmp_path / "mask.png").exists()


def test_the_model_that_ships_finds_parts_without_any_fetching(run, samples, tmp_path, monkeypatch):
    monkeypatch.setenv("MASKWRIGHT_OFFLINE", "1")
    code, said, err = run(samples / "astronaut.jpg", tmp_path / "mask.png", "--parts", "face,hair", "--json")
    assert code == 0, err
    report = json.loads(said)
    assert report["model"] == "maskwright-parts"
    mask = read(tmp_path / "mask.png") > 127
    assert mask[100:160, 200:250].mean() > 0.9  # her face
    assert not mask[:, :100].any()


@pytest.mark.weights
class TestSilhouette:
    def test_it_is_the_whole_person_and_says_which_model_ran(self, run, samples, tmp_path, u2netp_home):
        out = tmp_path / "mask.png"
        code, said, err = run(samples / "astronaut.jpg", out, "--model", "silhouette", "--json")
        assert code == 0, err
        report = json.loads(said)
        assert report["model"] == "u2netp"
        assert 0.2 < report["selected"]["person"] < 0.8
        code, _, _ = run(
            samples / "astronaut.jpg", tmp_path / "rest.png", "--model", "silhouette", "--parts", "background"
        )
        assert code == 0
        assert 0.2 < (read(tmp_path / "rest.png") > 127).mean() < 0.8

    @pytest.mark.parametrize("part", ["face", "hair", "body", "clothes", "accessories", "face,person"])
    def test_it_never_passes_for_a_part(self, run, samples, tmp_path, u2netp_home, part):
        code, _, err = run(samples / "astronaut.jpg", tmp_path / "mask.png", "--model", "silhouette", "--parts", part)
        assert code == 1
        assert "which knows background, person; maskwright models fetch selfie-multiclass" in err
        assert not (tmp_path / "mask.png").exists()

    def test_google_s_own_network_sees_the_astronaut(self, run, samples, tmp_path, u2netp_home, monkeypatch):
        pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed: pip install 'maskwright[person]'")
        if Store(u2netp_home).find(find_card("selfie-segmenter").weights[0]) is None:
            pytest.skip("selfie_segmenter.tflite is not here: maskwright models fetch selfie-segmenter")
        out = tmp_path / "mask.png"
        code, _, err = run(samples / "astronaut.jpg", out, "--model", "selfie-segmenter")
        assert code == 0, err
        mask = read(out) > 127
        assert mask[40:180, 180:280].mean() > 0.9  # her head
        assert not mask[:100, :100].any()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--parts", "nose"], "parts must be one or more of face, hair, body"),
        (["--parts", ""], "parts must be one or more of"),
        (["--confidence", "2"], "confidence must be from 0 to 1, got 2.0"),
        (["--tiles", "10"], "tiles must be 0, or 256 or more, got 10"),
        (["--combine", "mean"], "'mean' is not one of 'max', 'sum'"),
        (["--model", "u2net_cloth_seg"], "model must be one for parts of a person"),
        (["--model", "nobody"], "model must be a name of the catalog, got 'nobody'"),
        (["--max-pixels", "99"], "must be at most 99 pixels, got 300 x 200"),
        (["--cutout", "OUT"], "OUTPUT must be another file than INPUT"),
    ],
)
def test_bad_usage_is_2(run, photo, tmp_path, flags, message):
    out = tmp_path / "mask.png"
    code, _, err = run(photo, out, *(str(out) if flag == "OUT" else flag for flag in flags))
    assert code == 2
    assert message in err


@pytest.mark.parametrize("option", ["OUTPUT", "--cutout"])
def test_the_input_is_never_written_over_by_any_of_its_names(run, photo, tmp_path, option):
    (tmp_path / "link.png").symlink_to(photo)
    os.link(photo, tmp_path / "twin.png")
    (tmp_path / "sub").mkdir()
    before = photo.read_bytes()
    for name in (photo, tmp_path / "sub" / ".." / photo.name, tmp_path / "link.png", tmp_path / "twin.png"):
        code, _, err = run(photo, *((name,) if option == "OUTPUT" else (tmp_path / "mask.png", option, name)))
        assert (code, photo.read_bytes()) == (2, before)
        assert "OUTPUT must be another file than INPUT" in err
    assert not (tmp_path / "mask.png").exists()


def test_what_cannot_be_written_is_said_first(run, photo, tmp_path):
    code, _, err = run(photo, tmp_path / "none" / "mask.png")
    assert code == 2
    assert "there is no folder" in err
    code, _, err = run(photo, tmp_path / "mask.jpg")
    assert code == 2
    assert "png, webp, tiff" in err


def test_a_picture_comes_from_stdin(run, photo, graph, tmp_path, monkeypatch):
    import types

    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(photo.read_bytes()), isatty=lambda: False))
    code, _, err = run("-", tmp_path / "mask.png", "--weights", graph)
    assert code == 0, err
    assert read(tmp_path / "mask.png").max() == 255


def test_the_mask_goes_to_stdout(photo, graph, tmp_path):
    command = [sys.executable, "-m", "maskwright", "person", photo, "-", "--weights", graph]
    done = subprocess.run([*command, "--json"], capture_output=True, check=True)
    assert np.asarray(Image.open(io.BytesIO(done.stdout))).max() == 255
    assert json.loads(done.stderr)["output"] == "-"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photo.png", "six.tflite"]
    done = subprocess.run([*command, "--separate"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--separate goes without stdout" in done.stderr
