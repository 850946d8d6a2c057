"""Importing weights: networks with random weights of published shapes become the files of rows."""

import hashlib
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from maskwright.engines import release_engines  # noqa: E402
from maskwright.errors import CacheNotWritable, HashMismatch, MediaError, ModelError, OptionError  # noqa: E402
from maskwright.models import Hash, Store, Weights, catalog, find_card  # noqa: E402
from maskwright.models import importing as importing_module  # noqa: E402
from maskwright.models.importing import import_weights  # noqa: E402
from maskwright.networks import build_network  # noqa: E402
from maskwright.segmenters import open_segmenter  # noqa: E402
from tests.support.exports import randomize, write_old_export  # noqa: E402
from tests.support.networks import write_checkpoint  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def store(tmp_path):
    yield Store(tmp_path / "store", offline=True)
    release_engines()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """u2netp's network with random weights, as its repository saves it."""
    return write_checkpoint(tmp_path_factory.mktemp("mine") / "mine.pth", "u2netp")


def sha256_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


class TestImport:
    def test_random_weights_of_published_shape_serve_as_the_rows_own(self, checkpoint, store):
        done = import_weights(checkpoint, store, name="u2netp")
        (stored,) = done.stored
        assert (done.model, done.network) == ("u2netp", "u2netp")
        assert done.sha256 == sha256_of(checkpoint)
        assert stored.path == store.home / "models" / "u2netp.safetensors"
        assert stored.sha256 == sha256_of(stored.path)
        noted = json.loads((store.home / "accepted.json").read_text())["u2netp.safetensors"]
        assert noted["sha256"] == stored.sha256
        assert noted["origin"] == f"mine.pth, sha256 {done.sha256}"
        image = np.random.default_rng(1).integers(0, 256, (30, 40, 3), np.uint8)
        with open_segmenter("u2netp", store=store, device="cpu") as segmenter:
            result = segmenter(image)
        assert result.provenance.sha256 == stored.sha256
        assert result.mask.shape == (30, 40)

    def test_the_checkpoint_is_not_needed_any_more(self, store, tmp_path):
        path = write_checkpoint(tmp_path / "mine.ckpt", "u2netp", prefix="module.")
        import_weights(path, store, name="u2netp")
        path.unlink()
        with open_segmenter("u2netp", store=store, device="cpu") as segmenter:
            assert segmenter(np.zeros((8, 8, 3), np.uint8)).provenance.weights == "u2netp.safetensors"

    def test_a_changed_file_is_not_used(self, checkpoint, store):
        (stored,) = import_weights(checkpoint, store, name="u2netp").stored
        with stored.path.open("r+b") as file:
            file.seek(-1, 2)
            file.write(b"\x55")
        with pytest.raises(HashMismatch, match="the file accepted before"):
            store.ensure(stored.weights)

    def test_a_second_import_takes_the_place_of_the_first(self, checkpoint, store, tmp_path):
        first = import_weights(checkpoint, store, name="u2netp").stored[0]
        torch.manual_seed(99)
        other = write_other(tmp_path / "other.pth")
        second = import_weights(other, store, name="u2netp").stored[0]
        assert second.path == first.path
        assert second.sha256 != first.sha256
        assert store.ensure(second.weights).sha256 == second.sha256

    def test_a_published_file_is_known_by_its_hash(self, checkpoint, store, monkeypatch):
        card = find_card("u2netp")
        known = Hash("sha384", digest(checkpoint), "official")
        published = Weights("mine.pth", "torch", hashes=(known,), network="u2netp")
        row = type(card)(**{**vars(card), "weights": (*card.weights, published)})
        monkeypatch.setattr(importing_module, "catalog", lambda: (row, *catalog()[1:]))
        assert import_weights(checkpoint, store).model == "u2netp"

    @pytest.mark.weights
    def test_a_published_onnx_file_goes_to_its_row(self, u2netp_store, store):
        done = import_weights(u2netp_store / "models" / "u2netp.onnx", store)
        assert (done.model, done.stored[0].path.name) == ("u2netp", "u2netp.onnx")

    def test_an_onnx_file_nobody_published_is_kept_as_it_is(self, store, tmp_path):
        path = write_old_export(build_network("u2netp"), tmp_path / "mine.onnx")
        (stored,) = import_weights(path, store, name="u2netp").stored
        assert stored.path.name == "u2netp.imported.onnx"
        assert stored.path.read_bytes() == path.read_bytes()

    def test_an_export_comes_beside_it(self, store, tmp_path):
        path = tmp_path / "unet.pth"
        torch.save(randomize(build_network("anime_unet")).state_dict(), path)
        row = next(card for card in catalog() if any(each.network == "anime_unet" for each in card.weights))
        done = import_weights(path, store, name=row.name, onnx=True)
        assert [stored.path.suffix for stored in done.stored] == [".safetensors", ".onnx"]
        assert all(store.ensure(stored.weights).sha256 == stored.sha256 for stored in done.stored)


def digest(path):
    return hashlib.sha384(path.read_bytes()).hexdigest()


def write_other(path):
    """Other random weights than `write_checkpoint` makes."""
    torch.save(build_network("u2netp").state_dict(), path)
    return path


class TestRefused:
    def test_no_row_was_named(self, checkpoint, store):
        wanted = r"row for mine\.pth, which is u2netp must be one of u2netp, got none, .*; name it with --as NAME"
        with pytest.raises(OptionError, match=wanted):
            import_weights(checkpoint, store)

    def test_a_row_of_another_network(self, checkpoint, store):
        with pytest.raises(OptionError, match=r"must be one of u2netp, got isnet-anime"):
            import_weights(checkpoint, store, name="isnet-anime")
        assert not (store.home / "models").exists()

    def test_what_is_no_weights(self, store, tmp_path):
        (tmp_path / "w.pth").write_bytes(b"nothing")
        with pytest.raises(ModelError, match="is not a checkpoint that can be read"):
            import_weights(tmp_path / "w.pth", store, name="u2netp")

    def test_what_is_not_there(self, store, tmp_path):
        with pytest.raises(MediaError, match="must be a file of weights, got no file at that path"):
            import_weights(tmp_path / "gone.pth", store, name="u2netp")

    def test_a_disk_that_loses_what_is_written(self, checkpoint, store, monkeypatch):
        def forget(state, path, notes, write=importing_module.write_safetensors):
            write({name: value * 0 for name, value in state.items()}, path, notes)

        monkeypatch.setattr(importing_module, "write_safetensors", forget)
        with pytest.raises(ModelError, match="must be what was written to it, got other values"):
            import_weights(checkpoint, store, name="u2netp")
        assert [each.name for each in (store.home / "models").iterdir()] == []


class TestPut:
    """`Store.put`, by which files of one's own get their names."""

    def test_a_publishers_hash_still_binds(self, store):
        weights = Weights("w.onnx", hashes=(Hash("sha256", "0" * 64, "official"),))
        with pytest.raises(HashMismatch, match=r"w.onnx from me must be the published file, sha256 0000"):
            store.put(weights, lambda part: part.write_bytes(b"x"), "me")
        assert [each.name for each in (store.home / "models").iterdir()] == []

    def test_a_store_that_cannot_be_written(self, tmp_path):
        (tmp_path / "file").write_bytes(b"")
        store = Store(tmp_path / "file" / "store", offline=True)
        with pytest.raises(CacheNotWritable, match="must be writable"):
            store.put(Weights("w.onnx"), lambda part: part.write_bytes(b"x"), "me")
