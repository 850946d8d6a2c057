"""The command line, in process where that is the same and as a process where it is not."""

import io
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from maskwright import __version__
from maskwright.cli import app, main
from maskwright.engines import release_engines
from maskwright.models import Store, catalog
from maskwright.models.store import StoredWeights
from tests.support.graphs import write_graph


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    y, x = np.mgrid[:40, :60]
    inside = (y - 20) ** 2 + (x - 30) ** 2 < 200
    noise = np.random.default_rng(0).integers(0, 60, (40, 60, 3))
    Image.fromarray((np.where(inside[..., None], 190, 0) + noise).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def weights(tmp_path):
    """A small graph behind the name u2net_custom: bright is selected."""
    yield str(write_graph(tmp_path / "small.onnx", size_hw=(40, 60)))
    release_engines()


@pytest.fixture
def run(capsysbinary, monkeypatch, weights):
    """A command's exit code, stdout and stderr; `cut`-like commands get the small graph."""

    def call(*arguments, stdin=b"", net=True):
        arguments = [str(argument) for argument in arguments]
        if net:
            arguments += ["-m", "u2net_custom", "--weights", weights, "--device", "cpu"]
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as leaving:
            main(arguments)
        out, err = capsysbinary.readouterr()
        return leaving.value.code or 0, out, err.decode()

    return call


def open_bytes(data):
    return np.asarray(Image.open(io.BytesIO(data)))


def open_file(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def format_of(path):
    with Image.open(path) as picture:
        return picture.format


def frames_of(path):
    with Image.open(path) as picture:
        return picture.n_frames


class TestCut:
    @pytest.mark.parametrize("name", ["cut", "i"])
    def test_a_photo_becomes_a_cut_out(self, run, photo, tmp_path, name):
        code, _, err = run(name, photo, tmp_path / "out.png")
        assert code == 0
        rgba = open_file(tmp_path / "out.png")
        assert rgba.shape == (40, 60, 4)
        assert rgba[20, 30, 3] > rgba[0, 0, 3]
        assert "60×40" in err

    def test_bytes_go_from_stdin_to_stdout(self, run, photo):
        code, out, _ = run("cut", "-", "-", stdin=photo.read_bytes())
        assert code == 0
        assert open_bytes(out).shape == (40, 60, 4)

    def test_without_output_into_a_pipe_it_writes_png_bytes(self, run, photo):
        code, out, _ = run("i", photo)
        assert code == 0
        assert out.startswith(b"\x89PNG")
        assert not photo.with_suffix(".out.png").exists()

    def test_without_output_on_a_terminal_it_writes_beside_the_input(self, run, photo, monkeypatch):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        code, _, _ = run("i", photo)
        assert code == 0
        assert (photo.parent / "photo.out.png").exists()

    def test_it_never_overwrites_its_input(self, run, photo):
        before = photo.read_bytes()
        code, _, err = run("cut", photo, photo)
        assert (code, photo.read_bytes()) == (2, before)
        assert "OUTPUT must be another file than INPUT" in err

    def test_it_never_overwrites_what_lies_under_the_cut_out(self, run, photo, tmp_path):
        beach = tmp_path / "beach.png"
        beach.write_bytes(photo.read_bytes())
        code, _, err = run("cut", photo, tmp_path / "." / "beach.png", "--background", beach)
        assert (code, beach.read_bytes()) == (2, photo.read_bytes())
        assert "OUTPUT must be another file than INPUT and the others named" in err

    def test_a_colour_is_no_file(self, run, photo, monkeypatch):
        monkeypatch.chdir(photo.parent)
        assert run("cut", photo, "white", "--background", "white", "--format", "png")[0] == 0
        assert open_file("white")[..., 3].min() == 255

    @pytest.mark.parametrize("folder", [".", "/"])
    def test_a_folder_on_a_terminal(self, run, monkeypatch, folder):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        code, _, err = run("cut", folder)
        assert code == 2
        assert f"{folder} must be a file, got a folder; for folders use the batch command" in err

    @pytest.mark.parametrize(
        ("flags", "check"),
        [
            (["-om"], lambda a: a.ndim == 2),
            (["--threshold", "0.6"], lambda a: set(np.unique(a[..., 3])) <= {0, 255}),
            (["-bgc", "255", "0", "0", "255"], lambda a: a[..., 3].min() == 255),
            (["--threshold", "0.6", "--invert"], lambda a: a[20, 30, 3] == 0),
            (["--threshold", "0.6", "--grow", "3"], lambda a: (a[..., 3] > 0).sum() > 780),
            (["--threshold", "0.6", "--keep-hidden"], lambda a: a[0, 0, :3].max() > 0),
            (["-ppm"], lambda a: set(np.unique(a[..., 3])) <= {0, 255}),
        ],
    )
    def test_options_change_the_result(self, run, photo, tmp_path, flags, check):
        assert run("cut", photo, tmp_path / "out.png", *flags)[0] == 0
        assert check(open_file(tmp_path / "out.png"))

    @pytest.mark.parametrize("suffix", ["png", "webp", "tiff", "avif"])
    def test_the_name_of_output_says_the_format(self, run, photo, tmp_path, suffix):
        path = tmp_path / f"out.{suffix}"
        assert run("cut", photo, path)[0] == 0
        assert format_of(path) == suffix.upper()

    def test_jpeg_wants_a_background(self, run, photo, tmp_path):
        code, _, err = run("cut", photo, tmp_path / "out.jpg")
        assert code == 2
        assert "bgcolor" in err
        assert not (tmp_path / "out.jpg").exists()
        assert run("cut", photo, tmp_path / "out.jpg", "-bgc", "255", "255", "255", "255")[0] == 0
        assert format_of(tmp_path / "out.jpg") == "JPEG"

    def test_16_bits_stay_16_bits(self, run, photo, tmp_path):
        assert run("cut", photo, tmp_path / "out.png", "--depth", "16")[0] == 0
        assert (tmp_path / "out.png").read_bytes()[24] == 16  # IHDR's bit depth

    def test_the_result_of_each_finishing_option(self, run, photo, tmp_path):
        Image.new("RGB", (9, 9), (10, 20, 30)).save(tmp_path / "wall.png")

        def cut(*flags):
            code, _, err = run("cut", photo, tmp_path / "out.png", "--threshold", "0.6", *flags)
            assert code == 0, err
            return open_file(tmp_path / "out.png")

        plain = cut()
        assert cut("--crop").shape == (29, 29, 4)
        assert cut("--crop", "--crop-padding", "10%", "--crop-aspect", "2:1").shape == (35, 70, 4)
        assert cut("--outline", "4", "--outline-color", "red")[20, 30 + 16].tolist() == [255, 0, 0, 255]
        shade = cut("--shadow", "--shadow-offset", "-8", "0", "--shadow-blur", "0", "--shadow-opacity", "1")
        assert shade[20, 30 - 20].tolist() == [0, 0, 0, 255]
        assert cut("--shadow", "--shadow-color", "blue")[..., 2].sum() > cut("--shadow")[..., 2].sum()
        assert cut("--outline", "30", "--expand-canvas").shape[0] > 40
        assert cut("--background", "#0a141e")[0, 0].tolist() == [10, 20, 30, 255]
        assert cut("--background", tmp_path / "wall.png")[0, 0].tolist() == [10, 20, 30, 255]
        blurred = cut("--background", "blur:3")
        assert blurred[..., 3].min() == 255
        assert np.array_equal(blurred[20, 30], plain[20, 30])

    def test_a_jpeg_may_have_any_background(self, run, photo, tmp_path):
        assert run("cut", photo, tmp_path / "out.jpg", "--background", "blur")[0] == 0
        (tmp_path / "in").mkdir()
        photo.rename(tmp_path / "in" / "photo.png")
        assert run("p", tmp_path / "in", tmp_path / "out", "--format", "jpeg", "--background", "white")[0] == 0

    @pytest.mark.parametrize(
        "flags", [["--part", "lower"], ["-x", '{"cc": "lower"}'], ["-x", '{"cloth_category": "lower"}']]
    )
    @pytest.mark.parametrize("compat", [[], ["--compat"]])
    def test_one_garment_of_three(self, run, photo, tmp_path, flags, compat):
        graph = write_graph(tmp_path / "cloth.onnx", size_hw=(40, 60), channels=4, squash=False)
        arguments = ["cut", photo, tmp_path / "out.png", "-m", "u2net_cloth_seg", "--weights", graph, *compat]
        assert run(*arguments, *flags, net=False)[0] == 0
        assert open_file(tmp_path / "out.png").shape == (40, 60, 4)
        assert run(*arguments, "--part", "hat", net=False)[2].count("upper, lower, full or all, got 'hat'") == 1
        assert run(*arguments, "-x", '{"cc": "attire"}', net=False)[0] == 0
        assert run(*arguments, net=False)[0] == 0
        assert open_file(tmp_path / "out.png").shape == (120 if compat else 40, 60, 4)

    def test_json_says_what_ran(self, run, photo, tmp_path):
        code, out, _ = run("cut", photo, tmp_path / "out.png", "--json")
        report = json.loads(out)
        assert code == 0
        assert report["model"] == "u2net_custom"
        assert report["weights"] == "small.onnx"
        assert len(report["sha256"]) == 64
        assert report["engine"].startswith("onnxruntime")

    def test_all_frames_of_an_animation(self, run, tmp_path):
        frames = [Image.new("RGB", (20, 20), (value, value, value)) for value in (0, 128, 255)]
        frames[0].save(tmp_path / "in.webp", save_all=True, append_images=frames[1:], duration=[40, 50, 60])
        assert run("cut", tmp_path / "in.webp", tmp_path / "out.webp", "--all-frames")[0] == 0
        assert frames_of(tmp_path / "out.webp") == 3
        code, _, err = run("cut", tmp_path / "in.webp", tmp_path / "out.png")
        assert code == 0
        assert "first of 3 frames" in err


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["cut", "nowhere.jpg", "out.png"], "nowhere.jpg"),
            (["cut", "photo.png", "out.png", "--threshold", "2"], "threshold must be from 0 to 1"),
            (["cut", "photo.png", "out.png", "--threshold", "high"], "not a valid float"),
            (["cut", "photo.png", "out.png", "-af", "5", "-ab", "10"], "thresholds must be 0 < background"),
            (["cut", "photo.png", "out.png", "--depth", "9"], "depth must be 8 or 16"),
            (["cut", "photo.png", "out.xyz"], "xyz"),
            (["cut", "photo.png", "out.png", "-vm"], "ViTMatte.*-a"),
            (["cut", "photo.png", "out.png", "-x", "{"], "-x must be a JSON object"),
            (["cut", "photo.png", "out.png", "-x", '{"sam_prompt": []}'], "only model_path or cc, got sam_prompt"),
            (["cut", "photo.png", "out.png", "-x", "[1]"], "only model_path or cc, got list"),
            (["cut", "photo.png", "out.png", "-x", '{"cc": ["upper"]}'], "model u2net_custom knows no parts"),
            (
                ["cut", "photo.png", "out.png", "--background", "beach.jpg"],
                "--background must be a colour, a picture file",
            ),
            (
                ["cut", "photo.png", "out.png", "--background", "blur:x"],
                "--background must be a colour, a picture file",
            ),
            (["cut", "photo.png", "out.png", "--background", "photo.jpg"], "beach.jpg or blur:20"),
            (["cut", "photo.png", "out.png", "--feather-side", "left"], "'left' is not one of"),
            (["cut", "photo.png", "out.png", "--compat", "--crop"], "compat goes without crop"),
            (["cut", "photo.png", "out.png", "--part", "upper"], "model u2net_custom knows no parts"),
            (["cut", "photo.png", "out.png", "-x", '{"cc": "upper"}'], "model u2net_custom knows no parts"),
            (
                ["cut", "photo.png", "out.png", "--part", "full", "-x", '{"cc": "upper"}'],
                "must be the same, got full and upper",
            ),
            (["cut", "photo.png", "out.png", "--all-frames", "--crop"], "--all-frames goes without --crop"),
            (["s", "--port", "99999"], "port must be from 0 to 65535"),
            (["s", "--host", "0.0.0.0"], "token"),
            (["m", "--dry-run"], "nothing to migrate"),
            (["nonsense"], "No such command"),
            (["cut", "photo.png", "nodir/out.png"], "there is no folder nodir"),
            (["cut", "photo.png", "out.png", "--quality", "200"], "maskwright: .*200"),
            (["p", ".", "out", "--format", "bogus"], "bogus"),
            (["p", ".", "out", "--format", "jpeg"], "must be a background"),
            (["stream", "0", "4"], "0 is not in the range"),
        ],
    )
    def test_bad_input_is_one_line_and_exit_2(self, run, photo, monkeypatch, arguments, message):
        monkeypatch.chdir(photo.parent)
        code, out, err = run(*arguments, net=arguments[0] == "cut")
        assert code == 2
        assert re.search(message, err)
        assert "Traceback" not in err
        assert out == b""
        assert sorted(path.name for path in photo.parent.iterdir()) == ["photo.png", "small.onnx"]
        assert len(err.strip().splitlines()) == 1

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("sam", "isnet-general-use"),
            ("birefnet-general-fp16", "birefnet-general"),
            ("withoutbg", "paid service"),
            ("atlascloud", "paid service"),
            ("u2nett", "did you mean"),
        ],
    )
    def test_models_that_are_not_here_are_exit_2_with_the_nearest_way(self, run, photo, name, message):
        code, _, err = run("cut", photo, "out.png", "-m", name, net=False)
        assert code == 2
        assert message in err
        assert len(err.strip().splitlines()) == 1

    def test_a_missing_runtime_is_exit_1(self, run, photo, monkeypatch):
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        code, _, err = run("cut", photo, photo.parent / "out.png")
        assert code == 1
        assert "maskwright[cpu]" in err

    def test_debug_shows_the_traceback_and_keeps_the_exit_code(self, run, photo):
        code, _, err = run("cut", photo.parent / "nowhere.jpg", photo.parent / "out.png", "--debug")
        assert code == 2
        assert "Traceback" in err

    def test_a_licence_that_was_not_accepted_is_exit_1(self, run, photo):
        code, _, err = run("cut", photo, photo.parent / "out.png", "-m", "bria-rmbg", net=False)
        assert code == 1
        assert "CC-BY-NC" in err
        assert "--accept-license" in err

    def test_an_interrupt_is_exit_130(self, run, photo, monkeypatch):
        from maskwright import pipeline

        def stop(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(pipeline, "cut_with", stop)
        code, _, err = run("cut", photo, photo.parent / "out.png")
        assert code == 130
        assert "interrupted" in err
        assert not (photo.parent / "out.png").exists()


class TestPictures:
    """Every sample file, through the command line."""

    def test_every_format_is_cut(self, run, shared, tmp_path):
        for path in sorted((shared / "images" / "formats").iterdir()):
            code, _, err = run("cut", path, tmp_path / "out.png")
            assert code == 0, (path.name, err)
            assert open_file(tmp_path / "out.png").shape[2:] == (4,)

    def test_every_broken_file_is_cut_or_refused_in_one_line(self, run, shared, tmp_path):
        works = {"jpeg_named.png", "png_named.jpg", "noextension", "tv_bad_huffman.jpg"}
        for path in sorted((shared / "images" / "broken").iterdir()):
            target = tmp_path / f"{path.name}.png"
            code, out, err = run("cut", path, target)
            assert code == (0 if path.name in works else 2), (path.name, err)
            assert target.exists() == (path.name in works)
            assert out == b""
            assert "Traceback" not in err
            if code:
                assert len(err.strip().splitlines()) == 1, err
        assert {path.name for path in tmp_path.iterdir()} == {f"{name}.png" for name in works} | {"small.onnx"}


class TestBatch:
    @pytest.fixture
    def folder(self, photo, tmp_path):
        source = tmp_path / "in"
        for name in ("a/x.png", "a/x.jpg", "b/x.png"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            Image.open(photo).convert("RGB").save(source / name)
        (source / "notes.txt").write_text("not a picture")
        return source

    @pytest.mark.parametrize("name", ["batch", "p"])
    def test_the_tree_is_mirrored_and_nothing_collides(self, run, folder, tmp_path, name):
        assert run(name, folder, tmp_path / "out")[0] == 0
        written = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")}
        assert written == {"a/x.png.png", "a/x.jpg.png", "b/x.png"}

    def test_flat_puts_all_into_one_folder(self, run, folder, tmp_path):
        assert run("p", folder, tmp_path / "out", "--flat")[0] == 0
        assert len(list((tmp_path / "out").glob("*.png"))) == 3

    def test_a_second_run_skips_what_is_there(self, run, folder, tmp_path):
        run("p", folder, tmp_path / "out")
        _, _, err = run("p", folder, tmp_path / "out")
        assert "0 written, 3 skipped, 0 failed" in err

    def test_bad_files_are_listed_and_the_rest_goes_on(self, run, folder, tmp_path):
        (folder / "broken.jpg").write_bytes(b"not a picture")
        code, _, err = run("p", folder, tmp_path / "out")
        assert code == 1
        assert "broken.jpg" in err
        assert "3 written, 0 skipped, 1 failed" in err

    def test_inputs_are_deleted_only_when_their_own_cut_out_is_safe(self, run, folder, tmp_path):
        (folder / "broken.jpg").write_bytes(b"not a picture")
        existing = tmp_path / "out" / "b" / "x.png"
        existing.parent.mkdir(parents=True)
        existing.write_bytes(b"somebody else's")
        run("p", folder, tmp_path / "out", "-d")
        left = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert left == {"notes.txt", "broken.jpg", "b/x.png"}
        assert existing.read_bytes() == b"somebody else's"

    def test_watch_takes_what_arrives_and_ends_at_stop_txt(self, folder, tmp_path, weights):
        arguments = ["p", str(folder), str(tmp_path / "out"), "-w", "-m", "u2net_custom", "--weights", weights]
        process = subprocess.Popen([sys.executable, "-m", "maskwright", *arguments], stderr=subprocess.PIPE)
        try:
            wait_for(lambda: len(list((tmp_path / "out").rglob("*.png"))) == 3)
            (folder / "later.png").write_bytes((folder / "b" / "x.png").read_bytes())
            wait_for((tmp_path / "out" / "later.png").exists)
            (folder / "stop.txt").touch()
            assert process.wait(20) == 0
        finally:
            process.kill()
            process.communicate()
        assert not (folder / "stop.txt").exists()

    def test_a_folder_that_is_not_there_is_exit_2(self, run, tmp_path):
        code, _, err = run("p", tmp_path / "nowhere", tmp_path / "out")
        assert code == 2
        assert "must be a folder" in err

    def test_cut_outs_do_not_go_among_the_pictures(self, run, folder):
        code, _, err = run("p", folder, folder)
        assert code == 2
        assert "must be another one" in err


class TestStream:
    def frames(self, count=3):
        return np.random.default_rng(0).integers(0, 256, (count, 8, 10, 3), np.uint8)

    @pytest.mark.parametrize("name", ["stream", "b"])
    def test_frames_become_numbered_files(self, run, tmp_path, name):
        code, _, _ = run(name, 10, 8, "-o", tmp_path / "f" / "out-%03u.png", stdin=self.frames().tobytes())
        assert code == 0
        assert sorted(path.name for path in (tmp_path / "f").iterdir()) == [f"out-00{n}.png" for n in range(3)]

    def test_frames_become_png_after_png(self, run):
        code, out, _ = run("b", 10, 8, stdin=self.frames().tobytes())
        assert code == 0
        assert out.count(b"\x89PNG\r\n\x1a\n") == 3

    @pytest.mark.parametrize("to_files", [True, False])
    def test_json_says_a_line_for_each_frame(self, run, tmp_path, to_files):
        flags = ["-o", tmp_path / "%u.png"] if to_files else []
        code, out, err = run("stream", 10, 8, "--json", "--crop", *flags, stdin=self.frames(2).tobytes())
        lines = [json.loads(line) for line in (out.decode() if to_files else err).splitlines()]
        assert code == 0
        assert [line["input"] for line in lines] == ["frame 0", "frame 1"]
        assert lines[1]["output"] == (str(tmp_path / "1.png") if to_files else "-")
        assert lines[0]["crop_region"] is not None

    def test_a_cut_off_frame_is_exit_2(self, run):
        code, _, err = run("b", 10, 8, stdin=self.frames().tobytes()[:-1])
        assert code == 2
        assert "the last frame must be 240 bytes, got 239" in err

    def test_a_name_without_a_number_is_exit_2(self, run, tmp_path):
        code, _, err = run("b", 10, 8, "-o", tmp_path / "out.png", stdin=self.frames().tobytes())
        assert code == 2
        assert "a name with one number" in err


class TestMask:
    def test_work_on_a_gray_mask(self, run, tmp_path):
        mask = np.zeros((30, 30), np.uint8)
        mask[10:20, 10:20] = 255
        mask[2, 2] = 255
        Image.fromarray(mask).save(tmp_path / "mask.png")
        assert (
            run("mask", tmp_path / "mask.png", tmp_path / "out.png", "--grow", "2", "--min-area", "4", net=False)[0]
            == 0
        )
        result = open_file(tmp_path / "out.png")
        assert result.ndim == 2
        assert result[2, 2] == 0
        assert result[8, 15] == 255
        assert result[7, 15] == 0

    def test_the_mask_of_a_cut_out_is_its_alpha(self, run, tmp_path):
        rgba = np.zeros((6, 6, 4), np.uint8)
        rgba[:3, :, 3] = 255
        Image.fromarray(rgba).save(tmp_path / "cutout.png")
        assert run("mask", tmp_path / "cutout.png", tmp_path / "out.png", "--invert", net=False)[0] == 0
        assert open_file(tmp_path / "out.png")[:, 0].tolist() == [0, 0, 0, 255, 255, 255]


class TestModels:
    def test_the_list_names_every_model(self, run):
        code, out, _ = run("models", "list", net=False)
        assert code == 0
        assert all(card.name in out.decode() for card in catalog())
        assert re.search(r"modnet-p +26 MB  Apache-2.0", out.decode())

    def test_without_a_name_all_that_are_published_are_fetched(self, run, monkeypatch):
        asked = []

        def ensure(store, weights):
            asked.append(weights.file)
            return StoredWeights(store.home / weights.file, "", weights)

        monkeypatch.setattr(Store, "ensure", ensure)
        assert run("models", "fetch", net=False)[0] == 0
        assert {"u2netp.onnx", "birefnet-dis.onnx", "modnet_webcam_portrait_matting.ckpt"} <= {*asked}
        assert not {"UNet.pth", "bria-rmbg.onnx", "RMBG-1.4.bin"} & {*asked}

    def test_the_list_as_json(self, run):
        rows = json.loads(run("models", "list", "--json", net=False)[1])
        assert {row["name"] for row in rows} == {card.name for card in catalog()}

    def test_info_says_licence_and_hash(self, run):
        out = run("models", "info", "isnetis", net=False)[1].decode()
        assert "name: isnet-anime" in out
        assert "hash of isnet-anime.onnx: official" in out
        assert "hash of modnet-p.onnx: none" in run("models", "info", "modnet-p", net=False)[1].decode()
        assert "f15622d853e8260172812b657053460e20806f04b9e05147d49af7bed31a6e99" in out

    @pytest.mark.parametrize("command", [["models", "fetch"], ["d"]])
    def test_an_unknown_name_is_exit_2(self, run, command):
        code, _, err = run(*command, "nothing-like-it", net=False)
        assert code == 2
        assert "There are: u2netp" in err

    def test_one_that_cannot_be_had_does_not_keep_the_others_from_coming(self, run, monkeypatch, own_home):
        monkeypatch.setenv("MASKWRIGHT_OFFLINE", "1")
        code, out, err = run("models", "fetch", "silueta", "maskwright-parts", "--json", net=False)
        assert code == 1
        assert json.loads(out)["model"] == "maskwright-parts"
        said = err.splitlines()
        assert len(said) == 2
        assert said[0].startswith("maskwright: silueta: weights silueta.onnx must be in")
        assert said[1] == "maskwright: 1 of 2 models were not fetched"

    def test_offline_says_where_the_file_goes(self, run, monkeypatch):
        monkeypatch.setenv("MASKWRIGHT_OFFLINE", "1")
        code, _, err = run("models", "fetch", "u2netp", net=False)
        assert code == 1
        assert "u2netp.onnx" in err
        assert "MASKWRIGHT_OFFLINE" in err


class TestRest:
    def test_the_version(self, run):
        assert run("--version", net=False)[1].decode() == f"maskwright, version {__version__}\n"

    def test_doctor_says_what_is_here(self, run):
        report = json.loads(run("doctor", "--json", net=False)[1])
        assert report["maskwright"]["version"] == __version__
        assert "cpu" in report["engines"]["ONNX Runtime runs on"]
        assert "PyTorch runs on" in report["engines"]

    @pytest.mark.parametrize("command", sorted(app.commands))
    def test_every_command_has_help(self, run, command):
        code, out, _ = run(command, "--help", net=False)
        assert code == 0
        assert b"Usage: maskwright" in out

    def test_as_a_module_with_a_name_that_is_not_ascii(self, photo, tmp_path, weights):
        folder = tmp_path / "ünï ço∂é"
        folder.mkdir()
        target = folder / "ça.png"
        arguments = ["cut", str(photo), str(target), "-m", "u2net_custom", "--weights", weights]
        done = subprocess.run([sys.executable, "-m", "maskwright", *arguments], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        assert target.exists()

    def test_a_reader_that_leaves_is_no_traceback(self, photo, weights):
        arguments = ["cut", str(photo), "-", "-m", "u2net_custom", "--weights", weights]
        process = subprocess.Popen(
            [sys.executable, "-m", "maskwright", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        process.stdout.close()
        err = process.stderr.read().decode()
        process.stderr.close()
        assert process.wait() == 1
        assert "Traceback" not in err


def wait_for(condition, seconds=20):
    import time

    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
