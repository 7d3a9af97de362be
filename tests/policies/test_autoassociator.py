"""The network that completes patterns."""

import numpy as np
import pytest
import torch

from plastic_rl.policies import Autoassociator, autoassociator


def episodes(steps: int = 9, batch: int = 3, elements: int = 7, seed: int = 0) -> torch.Tensor:
    """Patterns with gaps: a quarter of the elements is unknown, and all of one step in the middle."""
    generator = torch.Generator().manual_seed(seed)
    observations = torch.randn(steps, batch, elements, generator=generator).clamp(-1, 1)
    observations[torch.rand(steps, batch, elements, generator=generator) < 0.25] = 0
    observations[steps // 2] = 0
    return observations


def network(n_elements: int = 7, **kwargs: object) -> Autoassociator:
    torch.manual_seed(1)
    return Autoassociator(n_elements, **{"w_init": 0.5, "alpha_init": 0.5, "eta": 0.3, **kwargs})


def by_the_equations(net: Autoassociator, observations: torch.Tensor) -> np.ndarray:
    """Eq. 1 to 3 of the paper for one episode after the other, neuron by neuron's column, in float64."""
    connections = net.connections
    w = connections.w.detach().double().numpy()
    alpha = 0.0 if connections.alpha is None else connections.alpha.detach().double().numpy()
    eta = 0.0 if net.eta is None else net.eta.item()
    answers = []
    for episode in observations.double().numpy().swapaxes(0, 1):
        y, trace = np.zeros(len(w)), np.zeros_like(w)
        for seen in episode:
            before, clamped = y, np.append(seen, 1.0)
            y = np.where(clamped != 0, clamped, np.tanh(before @ (w + alpha * trace)))
            forgotten = y**2 if connections.rule == "oja" else 1.0
            trace = trace * (1 - eta * forgotten) + eta * np.outer(before, y)
        answers.append(y[:-1])
    return np.stack(answers)


@pytest.mark.parametrize("rule", ["hebb", "oja"])
@pytest.mark.parametrize("alpha", ["full", "homogeneous", "none"])
@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_it_follows_the_equations(rule: str, alpha: str, backend: str) -> None:
    net = network(rule=rule, alpha=alpha, backend=backend)
    observations = episodes()
    answers = net(observations).detach().numpy()
    assert answers.shape == (3, 7)
    np.testing.assert_allclose(answers, by_the_equations(net, observations), atol=1e-5)


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_patterns_that_stay_are_passed_over_at_once(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net, observations = network(backend=backend), episodes(4)
    # Complete and the same for all, complete but for one element of one episode, and changing in one episode.
    observations[observations == 0] = 0.5
    observations[2, 1, 3] = 0
    lengths = torch.tensor([3, 2, 4, 1])
    observations = observations.repeat_interleave(lengths, dim=0)
    observations = torch.cat((observations, torch.zeros(2, 3, 7), observations[:2], observations[-1:]))
    observations[1, 2, 5] = -0.25

    seen = []
    plain = autoassociator.plastic_rnn

    def spy(*args: object, **kwargs: object) -> object:
        seen.append(kwargs["repeats"].tolist())
        return plain(*args, **kwargs)

    monkeypatch.setattr(autoassociator, "plastic_rnn", spy)
    answers = net(observations).detach().numpy()
    # The first run of 3 is broken by a change in one episode; steps with a gap stay as they are.
    assert seen == [[1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 2, 1]]
    np.testing.assert_allclose(answers, by_the_equations(net, observations), atol=1e-5)


@pytest.mark.parametrize("alpha", ["full", "homogeneous", "none"])
def test_step_by_step_is_the_same(alpha: str) -> None:
    net = network(alpha=alpha)
    observations = episodes()
    state = net.initial_state(3)
    for seen in observations:
        answer, state = net.step(seen, state)
    np.testing.assert_allclose(answer, net(observations).detach(), atol=1e-5)
    assert not answer.requires_grad


def test_what_is_known_stays_as_it_is() -> None:
    net, observations = network(), episodes()
    known = observations[-1] != 0
    answers = net(observations)
    assert torch.equal(answers[known], observations[-1][known])
    assert (answers[~known] != 0).all()


def test_it_has_the_papers_size() -> None:
    net = Autoassociator(1000)
    sizes = {name: parameter.numel() for name, parameter in net.named_parameters()}
    assert sizes == {"connections.w": 1001**2, "connections.alpha": 1001**2, "connections.eta_logit": 1}
    assert sizes["connections.w"] + sizes["connections.alpha"] == 2_004_002


def test_weights_start_around_zero() -> None:
    net = Autoassociator(300)
    for start in (net.connections.w, net.connections.alpha):
        assert abs(start.mean().item()) < 1e-4
        assert start.std().item() == pytest.approx(0.01, rel=0.05)
    assert net.eta.item() == pytest.approx(0.01)
    assert Autoassociator(5, alpha="homogeneous", alpha_init=0.2).connections.alpha.item() == pytest.approx(
        0.2
    )


@pytest.mark.parametrize("alpha", ["full", "homogeneous", "none"])
def test_gradients_reach_everything(alpha: str) -> None:
    net = network(alpha=alpha)
    net(episodes()).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-4, name


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"n_elements": 0}, "n_elements must be an integer of at least 1, got 0"),
        ({"alpha": "some"}, "alpha must be one of full, homogeneous, none, got 'some'"),
        ({"rule": "modulated"}, "rule must be one of hebb, oja, got 'modulated'"),
        ({"eta": 1.0}, "eta must lie strictly between 0 and 1, got 1.0"),
        ({"w_init": -0.1}, "w_init must be a finite number of at least 0, got -0.1"),
        ({"alpha_init": float("inf")}, "alpha_init must be a finite number of at least 0, got inf"),
        ({"activation": "step"}, "activation must be one of tanh, sigmoid, relu, linear, got 'step'"),
        ({"backend": "cuda"}, "backend must be one of"),
    ],
)
def test_bad_arguments_are_named(kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        Autoassociator(**{"n_elements": 3, **kwargs})
