"""The network that tells characters apart."""

import numpy as np
import pytest
import torch

from plastic_rl.policies import PlasticClassifier
from plastic_rl.policies.classifier import ImageFeatures

SIDE = 31


def episodes(n_way: int = 3, batch: int = 4, told: int = 3) -> dict[str, torch.Tensor]:
    """Four random images; the first `told` of them have labels, the others have none."""
    generator = torch.Generator().manual_seed(0)
    images = (torch.rand(n_way + 1, batch, SIDE**2, generator=generator) < 0.3).float()
    classes = torch.stack([torch.randperm(n_way, generator=generator) for _ in range(batch)], dim=1)
    labels = torch.nn.functional.one_hot(torch.cat((classes, classes[:1])), n_way).float()
    labels[told:] = 0
    return {"image": images, "label": labels}


def network(n_way: int = 3, **kwargs: object) -> PlasticClassifier:
    torch.manual_seed(2)
    return PlasticClassifier(n_way, channels=8, **kwargs)


def by_the_equations(net: PlasticClassifier, observations: dict[str, torch.Tensor]) -> np.ndarray:
    """Eq. 1 to 3 of the paper for one episode after the other, in float64; returns the last logits."""
    connections = net.connections
    w = connections.w.detach().double().numpy()
    alpha = 0.0 if connections.alpha is None else connections.alpha.detach().double().numpy()
    eta = 0.0 if net.eta is None else net.eta.item()
    features = net.features(observations["image"]).detach().double().numpy()
    labels = observations["label"].double().numpy()
    answers = []
    for b in range(labels.shape[1]):
        trace = np.zeros_like(w)
        for x, label in zip(features[:, b], labels[:, b], strict=True):
            logits = x @ (w + alpha * trace)
            y = label if label.any() else np.exp(logits) / np.exp(logits).sum()
            forgotten = y**2 if connections.rule == "oja" else 1.0
            trace = trace * (1 - eta * forgotten) + eta * np.outer(x, y)
        answers.append(logits)
    return np.stack(answers)


@pytest.mark.parametrize("rule", ["oja", "hebb"])
@pytest.mark.parametrize("alpha", ["full", "homogeneous", "none"])
@pytest.mark.parametrize("told", [3, 1])
def test_it_follows_the_equations(rule: str, alpha: str, told: int) -> None:
    net, observations = network(rule=rule, alpha=alpha), episodes(told=told)
    logits = net(observations).detach().numpy()
    assert logits.shape == (4, 3)
    assert np.abs(logits).max() > 0.01
    np.testing.assert_allclose(logits, by_the_equations(net, observations), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("alpha", ["full", "homogeneous", "none"])
@pytest.mark.parametrize("told", [3, 1])
def test_step_by_step_is_the_same(alpha: str, told: int) -> None:
    net, observations = network(alpha=alpha), episodes(told=told)
    state = net.initial_state(4)
    for image, label in zip(observations["image"], observations["label"], strict=True):
        logits, state = net.step({"image": image, "label": label}, state)
    np.testing.assert_allclose(logits, net(observations).detach(), rtol=1e-4, atol=1e-6)
    assert not logits.requires_grad


def test_an_image_that_was_shown_is_known_again() -> None:
    # With starts like these the trace tells images apart before any training: there is no plateau to leave.
    torch.manual_seed(2)
    net, observations = PlasticClassifier(3), episodes(batch=50)
    for shown in range(3):
        observations["image"][3] = observations["image"][shown]
        right = net(observations).argmax(dim=-1) == observations["label"][shown].argmax(dim=-1)
        assert right.float().mean() > 0.7
    blind = PlasticClassifier(3, alpha="none", w_init=0.0)
    assert torch.equal(blind(observations), torch.zeros(50, 3))


def test_the_label_of_the_last_image_does_not_count() -> None:
    net, observations = network(), episodes()
    expected = net(observations)
    observations["label"][3] = torch.eye(3)[1]
    assert torch.equal(net(observations), expected)


def test_it_has_the_papers_size() -> None:
    net = PlasticClassifier()
    assert net.features.size == 64
    convolutions = 64 * 9 + 64 + 3 * (64 * 64 * 9 + 64)
    assert sum(parameter.numel() for parameter in net.parameters()) == convolutions + 2 * 64 * 5 + 1


def test_the_features_of_larger_images() -> None:
    features = ImageFeatures(47**2, channels=3)
    assert features(torch.rand(2, 47**2)).shape == (2, features.size)
    assert features.size == 12


def test_all_images_have_features_of_one_size() -> None:
    images = episodes(batch=50)["image"]
    features = ImageFeatures(SIDE**2)(torch.cat((images, 0.1 * images)))
    torch.testing.assert_close(features.mean(dim=-1), torch.zeros(8, 50), atol=1e-5, rtol=0)
    # torch's own start makes the last layer's signal a thousand times smaller, too small even for this.
    torch.testing.assert_close(features.var(dim=-1, correction=0), torch.ones(8, 50), atol=0.03, rtol=0)


@pytest.mark.parametrize("alpha", ["full", "homogeneous", "none"])
def test_gradients_reach_everything(alpha: str) -> None:
    net = network(alpha=alpha)
    torch.nn.functional.cross_entropy(net(episodes()), torch.tensor([0, 1, 2, 0])).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-6, name


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"n_way": 1}, "n_way must be at least 2, got 1"),
        ({"n_pixels": 900}, "n_pixels must be the square of a side of at least 31, got 900"),
        ({"n_pixels": 962}, "n_pixels must be the square of a side of at least 31, got 962"),
        ({"channels": 0}, "channels must be an integer of at least 1, got 0"),
        ({"channels": 1}, "channels must be at least 2, got 1"),
        ({"channels": [8, 8, 8, 1]}, r"channels must be at least 2, got \[8, 8, 8, 1\]"),
        ({"channels": [8, 8]}, r"channels must be one number, or one for each of 4 layers, got \[8, 8\]"),
        ({"rule": "modulated"}, "rule must be one of hebb, oja, got 'modulated'"),
        ({"alpha": "some"}, "alpha must be one of full, homogeneous, none, got 'some'"),
        ({"eta": 0}, "eta must lie strictly between 0 and 1, got 0"),
        ({"alpha_init": -1}, "alpha_init must be a finite number of at least 0, got -1"),
    ],
)
def test_bad_arguments_are_named(kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PlasticClassifier(**kwargs)


def test_an_image_that_comes_up_many_times_is_looked_at_once() -> None:
    torch.manual_seed(0)
    features = ImageFeatures(SIDE**2, channels=8)
    images = (torch.rand(5, SIDE**2) < 0.3).float()[torch.tensor([[0, 1, 2], [1, 1, 4], [3, 0, 2]])]
    seen: list[int] = []
    features.layers[0].register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    together = features(images)
    together.square().sum().backward()
    weight = features.get_parameter("layers.0.weight")
    assert weight.grad is not None
    gradient = weight.grad.clone()
    assert seen == [5]

    features.zero_grad()
    one_by_one = torch.stack([features(image.unsqueeze(0))[0] for image in images.flatten(0, 1)])
    one_by_one.square().sum().backward()
    torch.testing.assert_close(together.flatten(0, 1), one_by_one)
    torch.testing.assert_close(gradient, weight.grad, rtol=1e-4, atol=1e-4)
    assert gradient.abs().max() > 0.01


def test_every_layer_has_its_own_channels() -> None:
    net = PlasticClassifier(channels=[2, 3, 4, 5])
    weights = [net.features.get_parameter(f"layers.{i}.weight") for i in range(4)]
    assert [weight.shape[:2] for weight in weights] == [(2, 1), (3, 2), (4, 3), (5, 4)]
    assert net.connections.w.shape == (5, 5)
    assert net.features(torch.rand(3, SIDE**2)).shape == (3, 5)


def test_images_are_not_taken_for_the_same_by_rounding() -> None:
    features = ImageFeatures(SIDE**2, channels=8)
    images = torch.zeros(2, SIDE**2)
    # Beside the large pixel the other one disappears in any sum.
    images[:, 0], images[1, 1] = 1e30, 1.0
    seen: list[int] = []
    features.layers[0].register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    features(images)
    assert seen == [2]
