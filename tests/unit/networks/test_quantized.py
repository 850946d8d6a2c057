"""Convolutions in whole numbers against NumPy's, enlarged maps against ONNX Runtime's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

torch = pytest.importorskip("torch")

from maskwright.networks import build_network  # noqa: E402
from maskwright.networks.quantized import QuantizedConv2d, resize_in_order, round_in_order  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def quantize(x):
    """DynamicQuantizeLinear by its definition: whole numbers, step, zero."""
    low, high = min(x.min(), np.float32(0)), max(x.max(), np.float32(0))
    scale = (high - low) / np.float32(255) or np.float32(1)
    zero = np.rint(np.clip(-low / scale, 0, 255)).astype(np.int64)
    return np.clip(np.rint(x / scale).astype(np.int64) + zero, 0, 255), scale, zero


def convolve(x, weight, padding, fill):
    """ConvInteger on numbers that are not yet centred, in 64 bits."""
    padded = np.pad(x, ((0, 0), (padding,) * 2, (padding,) * 2), constant_values=fill)
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], (1, 2))
    return np.einsum("chwij,ocij->ohw", windows - fill, weight)


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
@pytest.mark.parametrize(("channels", "extreme"), [(3, False), (20, True), (200, True)])
def test_a_convolution_is_exact_also_beyond_what_float32_holds(kind, channels, extreme):
    rng = np.random.default_rng(channels)
    limits = np.iinfo(kind)
    weight = rng.integers(limits.min, limits.max + 1, (4, channels, 3, 3)).astype(kind)
    x = rng.standard_normal((channels, 6, 5), np.float32)
    zero = int(rng.integers(limits.min, limits.max + 1))
    if extreme:  # sums of almost all that a picture can reach
        weight[0], x[:], zero = limits.max, np.abs(x[:1, :1, :1]), limits.min
    scale, bias = np.float32(0.0123), rng.standard_normal(4).astype(np.float32)
    layer = QuantizedConv2d(
        torch.nn.Conv2d(channels, 4, 3, padding=1), torch.from_numpy(weight), zero, float(scale), torch.from_numpy(bias)
    )
    whole, step, middle = quantize(x)
    sums = convolve(whole, weight.astype(np.int64) - zero, 1, middle)
    assert (np.abs(sums).max() > 1 << 24) == (channels == 200)
    expected = sums.astype(np.float32) * (step * scale) + bias[:, None, None]
    with torch.inference_mode():
        assert np.array_equal(layer(torch.from_numpy(x[None]))[0].numpy(), expected)
        halved = layer.half()(torch.from_numpy(x[None]).half())
    assert halved.dtype == torch.float16


def test_an_empty_picture_gives_the_bias():
    layer = QuantizedConv2d(torch.nn.Conv2d(2, 1, 1), torch.ones(1, 2, 1, 1, dtype=torch.int8), 0, 1.0, None)
    assert torch.equal(layer(torch.zeros(1, 2, 3, 3)), torch.zeros(1, 1, 3, 3))


@settings(max_examples=50, deadline=None)
@given(st.tuples(*[st.integers(1, 9)] * 2), st.tuples(*[st.integers(0, 40)] * 2))
def test_enlarged_maps_are_onnx_runtime_s_to_the_bit(small, more):
    import onnxruntime

    large = [side + added for side, added in zip(small, more, strict=True)]
    maps = np.random.default_rng(sum(small)).standard_normal((1, 2, *small), np.float32)
    sizes = helper.make_tensor("sizes", TensorProto.INT64, [4], [1, 2, *large])
    node = helper.make_node(
        "Resize", ["x", "", "", "sizes"], ["y"], mode="linear", coordinate_transformation_mode="pytorch_half_pixel"
    )
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
    model = helper.make_model(
        helper.make_graph([node], "g", ends[:1], ends[1:], [sizes]),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, {"x": maps})[0]
    got = resize_in_order(torch.from_numpy(maps), torch.empty(1, 1, *large)).numpy()
    assert np.array_equal(got, expected)


def test_every_map_of_a_network_is_enlarged_so():
    batch = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 3, 70, 100), np.float32))
    networks = [build_network("u2netp") for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    round_in_order(networks[1])
    assert {part.resize for part in networks[1].modules() if hasattr(part, "resize")} == {resize_in_order}
    with torch.inference_mode():
        first, second = (network(batch)[0] for network in networks)
    assert (first - second).abs().max() < 1e-5
