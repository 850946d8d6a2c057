"""The reader of ONNX files, against the onnx library, and on files that are broken on purpose."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from maskwright.errors import ModelError
from maskwright.models import onnx_file
from maskwright.models.onnx_file import read_graph
from tests.support.graphs import write_graph


def save(path, constants, nodes=()):
    value = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 4, 4])
    graph = helper.make_graph(list(nodes), "g", [value], [value], list(constants))
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return path


class TestAgainstTheLibrary:
    def test_a_graph_is_read_as_the_library_reads_it(self, tmp_path):
        path = write_graph(tmp_path / "g.onnx", size_hw=(4, 5), channels=4, outputs=2)
        graph, theirs = read_graph(path), onnx.load(path).graph
        assert graph.inputs == ("image",)
        assert graph.outputs == ("out0", "out1")
        assert [node.op for node in graph.nodes] == [node.op_type for node in theirs.node]
        assert [list(node.inputs) for node in graph.nodes] == [list(node.input) for node in theirs.node]
        assert [list(node.outputs) for node in graph.nodes] == [list(node.output) for node in theirs.node]
        for tensor in theirs.initializer:
            np.testing.assert_array_equal(graph.constants[tensor.name].decode(), numpy_helper.to_array(tensor))

    @pytest.mark.weights
    def test_published_weights_are_read_as_the_library_reads_them(self, u2netp_store):
        path = u2netp_store / "models" / "u2netp.onnx"
        graph, theirs = read_graph(path), onnx.load(path).graph
        assert len(graph.constants) == len(theirs.initializer) == 238
        for tensor in theirs.initializer:
            np.testing.assert_array_equal(graph.constants[tensor.name].decode(), numpy_helper.to_array(tensor))

    @pytest.mark.parametrize("raw", [True, False])
    @pytest.mark.parametrize("kind", ["FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE", "INT8", "UINT8", "INT32", "INT64"])
    def test_every_kind_of_number(self, kind, raw, tmp_path):
        number = getattr(TensorProto, kind)
        values = np.array([[0, 1, 2], [3, 100, 7]], np.float32) * (1 if kind == "UINT8" else -1)
        typed = values.astype(helper.tensor_dtype_to_np_dtype(number))
        tensor = helper.make_tensor("t", number, [2, 3], typed.tobytes() if raw else typed, raw=raw)
        found = read_graph(save(tmp_path / "t.onnx", [tensor])).constants["t"].decode()
        np.testing.assert_array_equal(found.astype(np.float32), numpy_helper.to_array(tensor).astype(np.float32))

    def test_attributes(self, tmp_path):
        node = helper.make_node(
            "Conv", ["image"], ["y"], strides=[2, -1], group=3, epsilon=0.25, value=numpy_helper.from_array(np.eye(2))
        )
        (found,) = read_graph(save(tmp_path / "n.onnx", [], [node])).nodes
        assert found.integers == {"strides": (2, -1), "group": (3,)}
        assert found.floats == {"epsilon": 0.25}
        np.testing.assert_array_equal(found.tensors["value"].decode(), np.eye(2))

    def test_numbers_that_are_not_packed(self, tmp_path):
        # field 1 (dims) twice as a plain number, field 2 (type) int64, field 7 (int64_data) three times, field 8 (name)
        tensor = b"\x08\x01\x08\x03\x10\x07\x38\x05\x38\x06\x38\x07" + b"\x42\x01t"
        graph = b"\x2a" + bytes([len(tensor)]) + tensor
        path = tmp_path / "plain.onnx"
        path.write_bytes(b"\x3a" + bytes([len(graph)]) + graph)
        np.testing.assert_array_equal(read_graph(path).constants["t"].decode(), [[5, 6, 7]])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a small ONNX file."""
    return write_graph(tmp_path_factory.mktemp("whole") / "g.onnx", size_hw=(4, 4)).read_bytes()


class TestBrokenFiles:
    def test_every_way_of_cutting_it_off_is_met(self, whole, tmp_path):
        path = tmp_path / "cut.onnx"
        refused = 0
        for length in range(len(whole)):
            path.write_bytes(whole[:length])
            try:
                read_graph(path)  # what ends between two fields is a whole message
            except ModelError as error:
                refused += 1
                assert "is not a whole ONNX file" in str(error)  # noqa: PT017
        assert refused > 0.9 * len(whole)

    @given(st.data())
    def test_changed_bytes_give_a_graph_or_an_error_of_ours(self, whole, tmp_path_factory, data):
        content = bytearray(whole)
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path = tmp_path_factory.mktemp("changed") / "g.onnx"
        path.write_bytes(bytes(content))
        try:
            for tensor in read_graph(path).constants.values():
                tensor.decode()
        except ModelError:
            pass

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "there is no graph in it"),
            (b"not a model at all", "no message: wire type"),
            (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "it is cut off"),
            (b"\x3a" + b"\xff" * 11, "a number without end"),
            (b"\x38\x01", "a number instead of bytes"),
            (b"\x3a\x00\x3a\x00", "several graphs"),
            (b"\x3a\x04\x2a\x02\x08\xff", "it is cut off"),
            (b"\x3a\x0d\x2a\x0b\x08" + b"\xff" * 9 + b"\x01", "negative length"),
            (b"\x3a\x06\x2a\x04\x12\x02ab", "bytes instead of a number"),
            (b"\x3a\x07\x2a\x05\x0dabcd", "fixed bytes instead of numbers"),
        ],
    )
    def test_no_file_of_this_kind(self, content, reason, tmp_path):
        path = tmp_path / "broken.onnx"
        path.write_bytes(content)
        with pytest.raises(ModelError, match=f"is not a whole ONNX file \\(.*{reason}"):
            read_graph(path)

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(ModelError, match=r"gone\.onnx cannot be read \(No such file"):
            read_graph(tmp_path / "gone.onnx")

    def test_a_file_larger_than_any_message(self, whole, tmp_path, monkeypatch):
        path = tmp_path / "large.onnx"
        path.write_bytes(whole)
        monkeypatch.setattr(onnx_file, "_MAX_SIZE", len(whole) - 1)
        with pytest.raises(ModelError, match=f"an ONNX file of at most {len(whole) - 1} bytes, got {len(whole)}"):
            read_graph(path)

    def test_values_in_another_file(self, tmp_path):
        tensor = numpy_helper.from_array(np.ones(3, np.float32), "far")
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        with pytest.raises(ModelError, match=r"values of .* are kept in another file must be an ONNX file"):
            read_graph(save(tmp_path / "external.onnx", [tensor]))

    @pytest.mark.parametrize("shape", [(2,), (4,), (1 << 40, 1 << 40), (0,)])
    def test_a_shape_that_its_values_do_not_fill(self, shape, tmp_path):
        tensor = numpy_helper.from_array(np.ones(3, np.float32), "t")
        tensor.dims[:] = shape
        found = read_graph(save(tmp_path / "short.onnx", [tensor])).constants["t"]
        with pytest.raises(ModelError, match=r"an ONNX tensor must be [0-9]+ values, got 3"):
            found.decode()

    def test_a_type_that_is_no_number(self, tmp_path):
        found = read_graph(save(tmp_path / "text.onnx", [helper.make_tensor("t", TensorProto.STRING, [1], [b"x"])]))
        with pytest.raises(ModelError, match=r"type of an ONNX tensor must be one of .*, got 8"):
            found.constants["t"].decode()

    def test_values_of_half_a_number(self, tmp_path):
        tensor = helper.make_tensor("t", TensorProto.FLOAT, [1], b"\x00" * 4, raw=True)
        tensor.raw_data = b"\x00" * 3
        found = read_graph(save(tmp_path / "half.onnx", [tensor])).constants["t"]
        with pytest.raises(ModelError, match="values of an ONNX tensor cannot be read"):
            found.decode()


def test_the_file_is_closed(tmp_path):
    path = write_graph(tmp_path / "g.onnx", size_hw=(4, 4))
    graph = read_graph(path)
    path.unlink()
    assert isinstance(path, Path)
    assert graph.constants["kernel"].decode().shape == (1, 3, 1, 1)
