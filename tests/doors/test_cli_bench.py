"""`maskwright bench quality`, in process."""

import json
import sys

import pytest
from PIL import Image

from maskwright.cli import main
from maskwright.engines import release_engines
from tests.support.graphs import write_graph


@pytest.fixture
def weights(tmp_path):
    yield write_graph(tmp_path / "small.onnx", size_hw=(40, 60))
    release_engines()


@pytest.fixture
def run(capsys, monkeypatch, tmp_path, weights):
    monkeypatch.chdir(tmp_path)

    def call(*arguments, model=f"u2net_custom={weights}"):
        with pytest.raises(SystemExit) as leaving:
            main(["bench", "quality", *map(str, arguments), "--models", model, "--device", "cpu"])
        out, err = capsys.readouterr()
        return leaving.value.code or 0, out, err

    return call


@pytest.fixture
def folder(tmp_path):
    """Six pictures in two groups."""
    for number in range(6):
        base = tmp_path / "pictures" / ("dogs" if number % 2 else "cats")
        for name, mode in (("image", "RGB"), ("gt", "L")):
            image = Image.new(mode, (60, 40))
            image.paste("white", (10, 10, 30 + number, 30))
            (base / name).mkdir(parents=True, exist_ok=True)
            image.save(base / name / f"{number}.png")
    return tmp_path / "pictures"


def test_table_and_files(run, folder, tmp_path):
    code, out, err = run(folder, "--refine", "none,grow=3,threshold=0.6+min-area=50")
    assert code == 0
    assert out.count("u2net_custom (small.onnx)") == 3 + 2 * 3
    assert "threshold=0.6+min-area=50" in out
    assert out.isascii()  # every console can show it
    assert "1 contact sheets" in err
    names = {path.name for path in (tmp_path / "quality-report").iterdir()}
    assert names == {"quality.md", "quality.json", "contact-sheet-1.png"}


def test_json_and_another_folder(run, folder, tmp_path):
    code, out, _ = run(folder, "--json", "-o", tmp_path / "there", "--sheet", "0", "--refine", "none")
    data = json.loads(out)
    assert code == 0
    assert data["pictures"] == 6
    assert data == json.loads((tmp_path / "there" / "quality.json").read_text(encoding="utf-8"))
    assert {path.name for path in (tmp_path / "there").iterdir()} == {"quality.md", "quality.json"}


def test_a_limit_is_spread_over_the_groups(run, folder):
    _, out, _ = run(folder, "--json", "--limit", "2", "--refine", "none")
    assert {each["group"] for each in json.loads(out)["measured"]} == {"cats", "dogs"}
    _, out, _ = run(folder, "--json", "--limit", "99", "--refine", "none")
    assert json.loads(out)["pictures"] == 6


def test_compat_beside_the_own_recipe(run, folder):
    _, out, _ = run(folder, "--json", "--refine", "none,compat")
    own, original = json.loads(out)["contestants"]
    assert (own["provenance"]["compat"], original["provenance"]["compat"]) == (False, True)
    assert own["means"]["mae"] != original["means"]["mae"]


def test_a_failed_picture_tells_in_the_exit_code(run, folder):
    (folder / "cats" / "image" / "0.png").write_bytes(b"no picture")
    code, out, err = run(folder, "--refine", "none")
    assert code == 1
    assert "| none       |        5 |" in out
    assert "cats/image/0.png: " in err
    assert "1 of 6 pictures were not measured" in err


def test_quiet_says_nothing(run, folder):
    assert run(folder, "-q", "--refine", "none") == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--refine", "matting"], "a refinement must be made of none, alpha-matting"),
        (["--refine", ","], "--refine must be at least one name"),
        (["--limit", "0"], "--limit"),
    ],
)
def test_wrong_options(run, folder, arguments, message):
    code, _, err = run(folder, *arguments)
    assert code == 2
    assert message in err


def test_wrong_models_and_folders(run, folder, tmp_path):
    code, _, err = run(folder, model="u2netq")
    assert (code, "u2netp" in err) == (2, True)
    code, _, err = run(folder, model="u2net_custom=nowhere.onnx")
    assert (code, "nowhere.onnx" in err) == (2, True)
    code, _, err = run(tmp_path / "nowhere")
    assert (code, "must be a folder" in err) == (2, True)
    assert not (tmp_path / "quality-report").exists()


@pytest.mark.weights
def test_a_published_model(run, folder, u2netp_home):
    code, out, _ = run(folder, "--limit", "1", "--refine", "none", model="u2netp")
    assert code == 0
    assert "| u2netp | none " in out


def test_bench_alone_shows_its_commands(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["maskwright", "bench"])
    with pytest.raises(SystemExit) as leaving:
        main()
    assert leaving.value.code == 2
    assert "quality" in "".join(capsys.readouterr())
