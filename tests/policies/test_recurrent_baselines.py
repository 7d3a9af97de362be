"""LSTM, plain RNN and plastic RNN for any episodic task."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from plastic_rl.policies import LSTMNetwork, PlasticRNNNetwork, RNNNetwork
from plastic_rl.policies.labelled_images import LabelledImages

NETWORKS = [LSTMNetwork, RNNNetwork, PlasticRNNNetwork]
T, B = 5, 3


def vectors() -> tuple[spaces.Space, torch.Tensor]:
    return spaces.Box(-1, 1, (2, 3)), torch.randn(T, B, 2, 3)


def labelled_images() -> tuple[spaces.Space, dict[str, torch.Tensor]]:
    space = spaces.Dict(image=spaces.Box(0, 1, (961,)), label=spaces.Box(0, 1, (4,)))
    return space, {"image": torch.rand(T, B, 961), "label": torch.rand(T, B, 4)}


def mixed() -> tuple[spaces.Space, dict[str, torch.Tensor]]:
    space = spaces.Dict(a=spaces.Box(-1, 1, (3,)), b=spaces.Discrete(4))
    return space, {"a": torch.randn(T, B, 3), "b": torch.randint(4, (T, B))}


def at(observations, t):
    if isinstance(observations, dict):
        return {key: part[t] for key, part in observations.items()}
    return observations[t]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("kind", [vectors, labelled_images, mixed])
def test_step_by_step_is_the_same(network, kind) -> None:
    torch.manual_seed(3)
    space, observations = kind()
    net = network(space, 7, hidden_size=6, channels=4)
    whole = net(observations)
    state = net.initial_state(B)
    outputs = []
    for t in range(T):
        answer, state = net.step(at(observations, t), state)
        outputs.append(answer)
    assert whole.shape == (B, 7)
    np.testing.assert_allclose(outputs[-1], whole.detach(), rtol=1e-4, atol=1e-6)
    assert (outputs[-1] - outputs[-2]).abs().max() > 1e-3
    assert not outputs[-1].requires_grad


@pytest.mark.parametrize("network", NETWORKS)
def test_every_input_reaches_the_answer(network) -> None:
    torch.manual_seed(3)
    space, observations = vectors()
    # The plastic core starts so small that what happened five steps ago is barely there.
    core = {"w_init": 0.5} if network is PlasticRNNNetwork else {}
    net = network(space, 2, hidden_size=6, **core)
    observations.requires_grad_()
    net(observations).sum().backward()
    assert observations.grad is not None
    assert (observations.grad.abs().amax(dim=(1, 2, 3)) > 1e-5).all()


def test_the_baselines_have_the_papers_size() -> None:
    space = spaces.Box(-1, 1, (50,))
    assert LSTMNetwork(space, 50).hidden_size == RNNNetwork(space, 50).hidden_size == 2050
    assert isinstance(RNNNetwork(space, 50, hidden_size=4).core, torch.nn.RNN)
    assert isinstance(LSTMNetwork(space, 50, hidden_size=4).core, torch.nn.LSTM)


def test_images_go_through_convolutions() -> None:
    space, observations = labelled_images()
    net = RNNNetwork(space, 4, hidden_size=6)
    assert isinstance(net.inputs, LabelledImages)
    assert net.inputs.features_dim == 64 + 4
    features = net.inputs(at(observations, 0))
    assert torch.equal(features[:, 64:], observations["label"][0])
    assert torch.equal(features[:, :64], net.inputs.features(observations["image"][0]))


def test_the_plastic_network_takes_the_cores_arguments() -> None:
    net = PlasticRNNNetwork(
        spaces.Box(-1, 1, (3,)), 2, hidden_size=5, rule="oja", alpha="homogeneous", eta=0.25
    )
    assert (net.core.rule, net.core.hidden_size) == ("oja", 5)
    assert net.eta.item() == pytest.approx(0.25)


@pytest.mark.parametrize("network", NETWORKS)
def test_bad_arguments_are_named(network) -> None:
    space = spaces.Box(-1, 1, (3,))
    with pytest.raises(ValueError, match="hidden_size must be an integer of at least 1, got 0"):
        network(space, 2, hidden_size=0)
    with pytest.raises(ValueError, match="observation_space must be Box, Discrete"):
        network(spaces.Text(3), 2)
    small = spaces.Dict(image=spaces.Box(0, 1, (100,)), label=spaces.Box(0, 1, (4,)))
    with pytest.raises(ValueError, match="n_pixels must be the square of a side of at least 31, got 100"):
        network(small, 4)
