import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from maskwright.networks.parts import PartsNet  # noqa: E402


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    return PartsNet(5).eval()


@pytest.mark.parametrize("size_hw", [(32, 32), (64, 160), (96, 32)])
def test_one_map_per_class_of_the_pictures_size(network, size_hw):
    with torch.inference_mode():
        (logits,) = network(torch.zeros(2, 3, *size_hw))
    assert logits.shape == (2, 5, *size_hw)


def test_each_picture_of_a_batch_goes_by_itself(network):
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        (both,) = network(images)
        (one,) = network(images[1:])
    torch.testing.assert_close(both[1:], one, rtol=1e-4, atol=1e-4)


def test_what_stands_far_away_counts(network):
    images = torch.rand(1, 3, 128, 256, dtype=torch.float64, requires_grad=True)
    (logits,) = PartsNet(5).double()(images)  # still in training mode: what is normalized does not fade away
    logits[..., :16].sum().backward()
    assert images.grad[..., 240:].any()


def test_the_encoder_begins_like_efficientnet_lite0(network):
    shapes = [tuple(value.shape) for value in network.encoder.state_dict().values()]
    assert shapes[0] == (32, 3, 3, 3)
    assert shapes[6] == (32, 1, 3, 3)  # the first depthwise filters, after the stem and its normalization
    assert shapes[-6] == (192, 1152, 1, 1)
    assert len(shapes) == 6 * (1 + 2 + 3 * 12)


def test_it_stays_small(network):
    assert sum(parameter.numel() for parameter in network.parameters()) < 1_700_000
