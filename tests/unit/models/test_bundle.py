import json
import subprocess
from dataclasses import replace

import pytest

from maskwright.errors import CacheNotWritable
from maskwright.models import Store, Weights, find_card
from maskwright.models.bundle import write_bundle


@pytest.fixture
def chosen(u2netp_store):
    card = find_card("u2netp")
    return [(card, Store(u2netp_store).ensure(card.weights[0]))]


def test_a_bundle_is_a_store_that_needs_no_network(tmp_path, chosen, run_python, samples, monkeypatch):
    bundle = write_bundle(tmp_path / "bundle", chosen)
    assert bundle.models == ("u2netp",)
    subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=bundle.folder, check=True, capture_output=True)
    [row] = json.loads((bundle.folder / "bundle.json").read_text())["models"]
    assert (row["license"], row["commercial"], row["size"]) == ("Apache-2.0", True, bundle.size)
    assert "MASKWRIGHT_OFFLINE=1" in (bundle.folder / "README.md").read_text()
    moved = bundle.folder.rename(tmp_path / "elsewhere")
    for setting in f"MASKWRIGHT_HOME={moved} MASKWRIGHT_OFFLINE=1".split():
        monkeypatch.setenv(*setting.split("="))
    done = run_python("-m", "maskwright", "cut", samples / "cat.jpg", tmp_path / "cat.png", "-m", "u2netp")
    assert done.returncode == 0, done.stderr
    done = run_python("-m", "maskwright", "cut", samples / "cat.jpg", tmp_path / "cat.png", "-m", "silueta")
    assert done.returncode == 1
    assert "offline is on, MASKWRIGHT_OFFLINE" in done.stderr


def test_a_bundle_is_made_whole_again(tmp_path, chosen):
    file = write_bundle(tmp_path, chosen).folder / "models" / "u2netp.onnx"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    write_bundle(tmp_path, chosen)
    assert file.read_bytes() == whole


def test_a_licence_that_was_accepted_is_accepted_in_the_bundle(tmp_path):
    card = replace(find_card("bria-rmbg"), weights=(Weights("own.onnx"),))
    stored = Store(tmp_path / "here").put(card.weights[0], lambda part: part.write_bytes(b"weights"), "by hand")
    write_bundle(tmp_path / "bundle", [(card, stored)])
    assert Store(tmp_path / "bundle").ensure(card.weights[0]).sha256 == stored.sha256
    assert Store(tmp_path / "bundle").is_license_accepted("bria-rmbg")


def test_a_folder_that_cannot_be_written_is_told(tmp_path, chosen):
    (tmp_path / "file").touch()
    with pytest.raises(CacheNotWritable, match=r"folder .*file must be writable"):
        write_bundle(tmp_path / "file", chosen)
    write_bundle(tmp_path / "bundle", chosen)
    (tmp_path / "bundle" / "bundle.json").unlink()
    (tmp_path / "bundle" / "bundle.json").mkdir()
    with pytest.raises(CacheNotWritable, match=r"must be writable, got Is a directory"):
        write_bundle(tmp_path / "bundle", chosen)
