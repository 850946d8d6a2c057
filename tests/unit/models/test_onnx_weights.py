"""Weights out of ONNX files: our networks with them against ONNX Runtime on the file itself."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

torch = pytest.importorskip("torch")

from maskwright.errors import ModelError  # noqa: E402
from maskwright.models.convert import load_network  # noqa: E402
from maskwright.networks import U2NET, build_network  # noqa: E402
from tests.support.exports import quantize, randomize, run_onnx, write_old_export  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

ISNET = os.environ.get("MASKWRIGHT_TEST_ISNET")  # read before tests/conftest.py clears such variables


def noise(*size_hw, seed=0):
    return np.random.default_rng(seed).standard_normal((1, 3, *size_hw), np.float32)


def run_torch(network, batch):
    with torch.inference_mode():
        return network(torch.from_numpy(batch))[0].numpy()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """u2netp with random weights, as an ONNX file."""
    torch.manual_seed(5)
    return write_old_export(build_network("u2netp"), tmp_path_factory.mktemp("export") / "u2netp.onnx")


def rewrite(source, target, change):
    """A copy of an ONNX file after `change(graph)`."""
    model = onnx.load(source)
    change(model.graph)
    onnx.save(model, target)
    return target


@pytest.mark.weights
@pytest.mark.parametrize("seed", [0, 1])
def test_published_u2netp_agrees_with_onnx_runtime(u2netp_store, seed):
    path = u2netp_store / "models" / "u2netp.onnx"
    name, network = load_network(path)
    batch = noise(320, 320, seed=seed)
    assert name == "u2netp"
    assert abs(run_torch(network, batch) - run_onnx(path, batch)).max() < 1e-4


@pytest.mark.weights
def test_real_isnet_in_half_precision_agrees_with_onnx_runtime():
    if not ISNET:
        pytest.skip("MASKWRIGHT_TEST_ISNET names no file; benchmarks/measure_isnet.py says how to get it")
    name, network = load_network(Path(ISNET))
    batch = noise(1024, 1024).clip(-0.5, 0.5)
    assert name == "isnet"
    assert abs(run_torch(network, batch) - run_onnx(Path(ISNET), batch)).max() < 1e-3


class TestRandomWeights:
    @pytest.mark.parametrize("name", ["isnet_base", "u2netp", "u2net_cloth", "anime_unet", "modnet"])
    def test_an_export_gives_its_weights_back(self, name, tmp_path):
        torch.manual_seed(6)
        network = randomize(build_network(name))
        path = write_old_export(network, tmp_path / "anonymous.onnx")
        found, again = load_network(path)
        assert found == name
        assert not again.training
        batch = noise(64, 96)
        assert abs(run_torch(again, batch) - run_torch(network, batch)).max() < 1e-5
        assert abs(run_torch(again, batch) - run_onnx(path, batch)).max() < 1e-4
        assert not any(value.is_meta for value in again.state_dict().values())

    def test_one_side_alone_serves_where_isnet_is_asked_for(self, tmp_path):
        path = write_old_export(build_network("isnet_base"), tmp_path / "one.onnx")
        assert load_network(path, "isnet")[0] == "isnet_base"

    def test_a_narrower_relative_is_recognised_by_its_wiring(self, tmp_path):
        torch.manual_seed(8)
        narrow = U2NET(encoder=((8, 16),) * 6, decoder=((8, 16),) * 5).eval()
        path = write_old_export(narrow, tmp_path / "narrow.onnx")
        name, network = load_network(path)
        batch = noise(53, 87)
        assert name == "u2net"
        assert abs(run_torch(network, batch) - run_torch(narrow, batch)).max() < 1e-5
        assert abs(run_torch(network, batch) - run_onnx(path, batch)).max() < 1e-4


class TestWaysToStoreWeights:
    """The same weights behind other operators give the same output."""

    def check(self, path, exported, tolerance=1e-6):
        batch = noise(64, 64)
        _, network = load_network(path)
        assert abs(run_torch(network, batch) - run_onnx(exported, batch)).max() < tolerance

    def test_constants_identities_and_nodes_out_of_order(self, exported, tmp_path):
        def change(graph):
            moved = graph.initializer[0]
            graph.node.append(helper.make_node("Constant", [], ["moved"], value=moved))  # after those that use it
            graph.node.append(helper.make_node("Identity", ["moved"], [moved.name]))
            graph.initializer.remove(moved)

        self.check(rewrite(exported, tmp_path / "moved.onnx", change), exported)

    def test_half_precision(self, exported, tmp_path):
        def change(graph):
            for tensor in [*graph.initializer]:
                halved = numpy_helper.from_array(
                    numpy_helper.to_array(tensor).astype(np.float16), f"{tensor.name}_half"
                )
                if tensor.data_type == TensorProto.FLOAT:
                    graph.initializer.remove(tensor)
                    graph.initializer.append(halved)
                    graph.node.insert(0, helper.make_node("Cast", [halved.name], [tensor.name], to=TensorProto.FLOAT))

        path = rewrite(exported, tmp_path / "half.onnx", change)
        self.check(path, path, 1e-4)

    @pytest.mark.parametrize("per_channel", [False, True])
    def test_eight_bits(self, per_channel, exported, tmp_path):
        def change(graph):
            tensor = next(each for each in graph.initializer if len(each.dims) == 4)
            values = numpy_helper.to_array(tensor)
            scale = np.abs(values).max((1, 2, 3)) / 127 if per_channel else np.abs(values).max() / 127
            spread = scale[:, None, None, None] if per_channel else scale
            zero = np.full(np.shape(scale), 3, np.int8)
            whole = (np.clip(np.round(values / spread), -120, 120) + 3).astype(np.int8)
            parts = {"whole": whole, "scale": np.asarray(scale, np.float32), "zero": zero}
            graph.initializer.remove(tensor)
            graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in parts.items())
            axis = {"axis": 0} if per_channel else {}
            graph.node.insert(0, helper.make_node("DequantizeLinear", [*parts], [tensor.name], **axis))

        path = rewrite(exported, tmp_path / "eight.onnx", change)
        self.check(path, path, 1e-5)

    def test_linear_layers_stored_the_other_way_round(self, tmp_path):
        torch.manual_seed(9)
        network = randomize(build_network("modnet"))
        exported = write_old_export(network, tmp_path / "modnet.onnx")

        def change(graph):
            for node in graph.node:
                weights = {tensor.name: tensor for tensor in graph.initializer}
                if node.op_type in ("MatMul", "Gemm") and node.input[1] in weights:
                    tensor = weights[node.input[1]]
                    turned = numpy_helper.from_array(numpy_helper.to_array(tensor).T.copy(), f"{tensor.name}_turned")
                    graph.initializer.append(turned)
                    graph.node.append(
                        helper.make_node("Transpose", [turned.name], [f"{tensor.name}_back"], perm=[1, 0])
                    )
                    node.input[1] = f"{tensor.name}_back"

        _, again = load_network(rewrite(exported, tmp_path / "turned.onnx", change))
        batch = noise(64, 64)
        assert abs(run_torch(again, batch) - run_torch(network, batch)).max() < 1e-5


class TestWholeNumbers:
    """Files that a dynamic quantiser made: they agree to the last step, because every rounding is the same."""

    @pytest.mark.weights
    def test_published_u2netp_quantised_as_silueta_was(self, u2netp_store, tmp_path):
        path = quantize(u2netp_store / "models" / "u2netp.onnx", tmp_path / "small.onnx")
        name, network = load_network(path)
        assert name == "u2netp"
        batch = noise(320, 320)
        assert abs(run_torch(network, batch) - run_onnx(path, batch)).max() < 1e-6
        held = sum(value.nbytes for value in network.state_dict().values())
        assert held < 1.2e6  # of 4.6 MB

    def test_signed_weights_and_each_picture_with_steps_of_its_own(self, exported, tmp_path):
        path = quantize(exported, tmp_path / "small.onnx", "QInt8")
        _, network = load_network(path)
        alone, beside = noise(70, 100), 50 * noise(70, 100, seed=1)
        together = run_torch(network, np.concatenate([alone, beside]))
        for batch, result in zip((alone, beside), together, strict=True):
            assert abs(result - run_onnx(path, batch)).max() < 1e-6

    def test_operators_in_another_order(self, exported, tmp_path):
        """The side maps come last in an export; here each comes as soon as it can."""

        def change(graph):
            nodes, known = [*graph.node], {"input", "", *(tensor.name for tensor in graph.initializer)}
            del graph.node[:]
            while nodes:
                ready = [node for node in nodes if known.issuperset(node.input)]
                ready.sort(key=lambda node: node.op_type != "Conv")
                graph.node.append(ready[0])
                known.update(ready[0].output)
                nodes.remove(ready[0])

        path = rewrite(exported, tmp_path / "sorted.onnx", change)
        convs = [[n.output[0] for n in onnx.load(each).graph.node if n.op_type == "Conv"] for each in (exported, path)]
        assert convs[0] != convs[1]
        batch = noise(64, 64)
        assert abs(run_torch(load_network(path)[1], batch) - run_onnx(exported, batch)).max() < 1e-6

    def test_a_network_whose_rounding_is_not_known(self, tmp_path):
        exported = write_old_export(build_network("anime_unet"), tmp_path / "whole.onnx")
        path = quantize(exported, tmp_path / "small.onnx")
        with pytest.raises(
            ModelError, match=r"with weights of 8 bits must be U-2-Net or IS-Net, got anime_unet; run it"
        ):
            load_network(path)

    def test_maps_that_are_rounded_by_fixed_steps(self, exported, tmp_path):
        def change(graph):
            graph.initializer.append(numpy_helper.from_array(np.array(0.1, np.float32), "step"))
            pair = [("QuantizeLinear", "input", "whole"), ("DequantizeLinear", "whole", "rounded")]
            for op, source, target in reversed(pair):
                graph.node.insert(0, helper.make_node(op, [source, "step"], [target]))
            next(node for node in graph.node if node.op_type == "Conv").input[0] = "rounded"

        with pytest.raises(
            ModelError, match="what its layers see must be not rounded, got QuantizeLinear; run it with"
        ):
            load_network(rewrite(exported, tmp_path / "static.onnx", change))


def write_whole(path, *, change=lambda nodes, values: None):
    """One convolution in whole numbers, after `change(nodes, values)`."""
    values = {
        "w": np.arange(-13, 14, dtype=np.int8).reshape(1, 3, 3, 3),
        "w_zero": np.array(0, np.int8),
        "w_scale": np.array([0.1], np.float32),
        "b": np.ones(1, np.float32),
        "shape": np.array([1, -1, 1, 1]),
    }
    nodes = {
        "quantise": helper.make_node("DynamicQuantizeLinear", ["image"], ["x", "x_scale", "x_zero"]),
        "conv": helper.make_node("ConvInteger", ["x", "w", "x_zero", "w_zero"], ["sums"]),
        "cast": helper.make_node("Cast", ["sums"], ["real"], to=TensorProto.FLOAT),
        "scales": helper.make_node("Mul", ["x_scale", "w_scale"], ["scale"]),
        "product": helper.make_node("Mul", ["real", "scale"], ["map"]),
        "reshape": helper.make_node("Reshape", ["b", "shape"], ["bias"]),
        "add": helper.make_node("Add", ["map", "bias"], ["out"]),
    }
    change(nodes, values)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])
    result = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    constants = [numpy_helper.from_array(value, name) for name, value in values.items()]
    graph = helper.make_graph([*nodes.values()], "g", [image], [result], constants)
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return path


class TestOperatorsOfAQuantiser:
    def test_what_it_writes_is_one_layer(self, tmp_path):
        with pytest.raises(ModelError, match="got 1 layers wired otherwise"):
            load_network(write_whole(tmp_path / "one.onnx"))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda n, v: n["quantise"].output.pop(), "operators around weights w must be as a dynamic quantiser"),
            (lambda n, v: n["conv"].output.pop(), "operators around weights w must be"),
            (lambda n, v: n["conv"].input.__setitem__(0, "image"), "what makes image must be"),
            (lambda n, v: n["conv"].input.__setitem__(2, "w_zero"), "operators around weights w must be"),
            (lambda n, v: v.update(w_zero=np.array(0, np.uint8)), "operators around weights w must be"),
            (lambda n, v: v.update(w_zero=np.zeros(2, np.int8)), "operators around weights w must be"),
            (lambda n, v: v.update(w_scale=np.ones(3, np.float32)), "operators around weights w must be"),
            (lambda n, v: v.update(w=np.zeros((0, 3, 3, 3), np.int8)), "operators around weights w must be"),
            (lambda n, v: v.update(w=np.zeros((1, 3, 3, 3), np.float32)), "operators around weights w must be"),
            (lambda n, v: n["cast"].attribute[0].__setattr__("i", TensorProto.FLOAT16), "operators around weights w"),
            (lambda n, v: n["cast"].output.pop(), "what uses sums must be"),
            (lambda n, v: n["scales"].input.pop(), "what uses x_scale must be"),
            (lambda n, v: n["product"].input.append("scale"), "what uses real must be"),
            (lambda n, v: v.update(b=np.ones(2, np.float32)), "bias bias must be"),
            (lambda n, v: v.update(shape=np.array([7, 7])), "weights bias cannot be read .*; export it again"),
        ],
    )
    def test_anything_else_is_refused(self, change, message, tmp_path):
        with pytest.raises(ModelError, match=message):
            load_network(write_whole(tmp_path / "other.onnx", change=change))

    @settings(deadline=None)
    @given(st.data())
    def test_changed_bytes_are_an_error_of_ours(self, tmp_path_factory, data):
        path = write_whole(tmp_path_factory.mktemp("changed") / "g.onnx")
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(bytes(content))
        with pytest.raises(ModelError):
            load_network(path)


class TestRefused:
    def test_another_network(self, tmp_path):
        path = write_old_export(torch.nn.Conv2d(3, 1, 3).eval(), tmp_path / "other.onnx")
        with pytest.raises(ModelError, match=r"wired like isnet or .*, got 1 layers wired .*; .*ONNX R"):
            load_network(path)

    def test_another_network_than_the_one_named(self, exported):
        with pytest.raises(ModelError, match="wired like modnet, got 119 layers"):
            load_network(exported, "modnet")

    def test_layers_that_changed_places(self, exported, tmp_path):
        """Two sides of one shape are told apart by what they see."""

        def change(graph):
            sides = [node for node in graph.node if node.op_type == "Conv"][112:114]
            sides[0].input[0], sides[1].input[0] = sides[1].input[0], sides[0].input[0]

        path = rewrite(exported, tmp_path / "swapped.onnx", change)
        with pytest.raises(ModelError, match="119 layers wired otherwise"):
            load_network(path)

    def test_weights_that_are_computed(self, exported, tmp_path):
        def change(graph):
            tensor = graph.initializer[0]
            graph.node.insert(0, helper.make_node("Add", [tensor.name, tensor.name], ["twice"]))
            next(node for node in graph.node if node.op_type == "Conv").input[1] = "twice"

        with pytest.raises(ModelError, match="weights twice must be constants, got something that is computed"):
            load_network(rewrite(exported, tmp_path / "computed.onnx", change))

    def test_a_circle(self, exported, tmp_path):
        def change(graph):
            graph.node[0].input[0] = graph.node[-1].output[0]

        with pytest.raises(ModelError, match="is wired in a circle"):
            load_network(rewrite(exported, tmp_path / "circle.onnx", change))

    def test_a_file_made_to_fill_the_memory(self, tmp_path):
        value = helper.make_tensor_value_info("x0", TensorProto.FLOAT, [1, 3, 8, 8])
        nodes = [helper.make_node("Concat", [f"x{i}", f"x{i}"], [f"x{i + 1}"], axis=1) for i in range(60)]
        path = tmp_path / "doubling.onnx"
        path.write_bytes(helper.make_model(helper.make_graph(nodes, "g", [value], [])).SerializeToString())
        with pytest.raises(ModelError, match="what a layer sees must be at most 1024 others, got 2048"):
            load_network(path)

    def test_widths_that_do_not_fit_together(self, exported, tmp_path):
        def change(graph):
            tensor = next(each for each in graph.initializer if list(each.dims) == [16, 64, 3, 3])
            tensor.CopyFrom(numpy_helper.from_array(np.zeros((15, 64, 3, 3), np.float32), tensor.name))

        with pytest.raises(ModelError, match="widths of its layers do not fit together"):
            load_network(rewrite(exported, tmp_path / "widths.onnx", change))

    def test_a_norm_of_half_of_the_channels_that_is_gone(self, tmp_path):
        exported = write_old_export(build_network("modnet"), tmp_path / "modnet.onnx")

        def change(graph):
            node = next(node for node in graph.node if node.op_type == "BatchNormalization")
            node.op_type = "Identity"
            del node.input[1:]
            del node.attribute[:]

        with pytest.raises(ModelError, match="a normalisation of half of the channels must be kept"):
            load_network(rewrite(exported, tmp_path / "gone.onnx", change))
