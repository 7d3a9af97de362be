"""A backend from outside the package, in one file: the protocol, a row of the table, and all three forms."""

import pytest
import torch

from plastic_rl.ops.plastic_rnn import (
    OperatorBackend,
    PlasticState,
    Recording,
    Refusal,
    RerunTape,
    backends,
    plastic_rnn,
    plastic_rnn_replay,
    plastic_rnn_step_,
)
from plastic_rl.policies import PlasticRNN


class Halves:
    """Runs a sequence in two halves of its batch, and knows no clamp."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def can_run(self, x, params):
        return Refusal("wants the rule oja", avoidable=True) if params.rule != "oja" else None

    def sequence(self, x, params, state, episode_starts, clamp, repeats):
        assert clamp is None
        assert repeats is None
        self.calls.append("sequence")
        parts = []
        for half in (slice(0, 1), slice(1, None)):
            starts = None if episode_starts is None else episode_starts[:, half]
            begin = PlasticState(*(part[half] for part in state))
            parts.append(plastic_rnn(x[:, half], params, begin, starts, backend="reference"))
        y = torch.cat([y for y, _ in parts], dim=1)
        return y, PlasticState(
            *(torch.cat(halves) for halves in zip(*(end for _, end in parts), strict=True))
        )

    def step(self, x, params, state, episode_start, clamp):
        self.calls.append("step")
        return plastic_rnn_step_(x, params, state, episode_start, clamp=clamp, backend="reference")

    def tape(self, params, episode_starts, y):
        self.calls.append("tape")
        return RerunTape(self, episode_starts, y)


@pytest.fixture
def halves(monkeypatch):
    backend: OperatorBackend = Halves()
    # First in the table, and so asked first by "auto".
    monkeypatch.setattr(backends, "BACKENDS", {"halves": backend, **backends.BACKENDS})
    return backend


@pytest.mark.parametrize("name", ["halves", "auto"])
def test_it_runs_the_sequence(make_problem, assert_same, halves, name):
    problem = make_problem("oja")
    assert_same(problem.run(name, torch.float64), problem.run("reference", torch.float64), torch.float64)
    assert halves.calls == ["sequence"]


def test_it_runs_steps_and_recordings(make_problem, assert_same, halves):
    problem = make_problem("oja")
    expected = problem.run("reference", torch.float64)
    leaves = problem.fresh_leaves(torch.float64)
    params, state = problem.params(leaves), PlasticState(leaves["hidden"], leaves["trace"]).detach()
    recording = Recording(len(leaves["x"]), params, state, "halves")
    acting = state.clone()
    for t, x in enumerate(leaves["x"].detach()):
        y = plastic_rnn_step_(x, params, acting, problem.episode_starts[t], backend="halves")
        assert torch.equal(recording.step(x, problem.episode_starts[t], params), y)
    assert_same(recording.state._asdict(), acting._asdict(), torch.float64)
    y, final = plastic_rnn_replay(leaves["x"], params, recording)
    problem.send_back(y, final)
    result = {f"gradient of {name}": leaves[name].grad for name in ("x", "w", "alpha", "eta")} | {
        "y": y.detach()
    }
    assert_same(result, {name: expected[name] for name in result}, torch.float64)
    assert halves.calls == ["tape", *["step"] * 24, "sequence"]


def test_it_says_why_it_cannot_run(make_problem, halves):
    problem = make_problem("hebb")
    with pytest.raises(ValueError, match="backend 'halves' wants the rule oja: use 'reference' or 'auto'"):
        problem.run("halves", torch.float64)
    problem.run("auto", torch.float64)
    assert halves.calls == []


def test_a_network_takes_it_by_name(halves):
    layer = PlasticRNN(3, 5, rule="oja", backend="halves")
    layer(torch.randn(4, 2, 3), layer.initial_state(2))
    assert halves.calls == ["sequence"]
    with pytest.raises(
        ValueError, match="backend must be one of auto, halves, numba, triton, reference, got 'cuda'"
    ):
        PlasticRNN(3, 5, backend="cuda")
