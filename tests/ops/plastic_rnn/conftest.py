"""Problems for the plastic operator, and one way to run them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from plastic_rl.ops.plastic_rnn import (
    PlasticParams,
    PlasticState,
    get_cell,
    get_rule,
    map_state,
    plastic_rnn,
)

# Largest error over a tensor, relative to its largest element.
TOLERANCE = {torch.float32: 3e-4, torch.float64: 1e-10}

CLIP = 0.4


@dataclass
class Problem:
    """Inputs in float64, and random gradients to send back through every output."""

    leaves: dict[str, Tensor]
    rule: str
    activation: str
    episode_starts: Tensor | None
    clamp: tuple[Tensor, Tensor] | None
    upstream: tuple[Tensor, ...]
    repeats: Tensor | None = None
    cell: str = "rnn"
    core_steps: int = 1

    def params(self, leaves: dict[str, Tensor]) -> PlasticParams:
        of_params = {name: leaf for name, leaf in leaves.items() if name not in ("x", *PlasticState._fields)}
        return PlasticParams(
            rule=self.rule,
            activation=self.activation,
            trace_clip=CLIP,
            cell=self.cell,
            core_steps=self.core_steps,
            **of_params,
        )

    @staticmethod
    def state(leaves: dict[str, Tensor]) -> PlasticState:
        return PlasticState(**{name: leaves[name] for name in PlasticState._fields if name in leaves})

    def fresh_leaves(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """Separate leaf tensors, so that no gradient can be compared with itself."""
        return {
            name: leaf.detach().to(dtype, copy=True).requires_grad_() for name, leaf in self.leaves.items()
        }

    def moved(self, device: torch.device | str) -> Problem:
        """The same problem there."""

        def move(value: Any) -> Any:
            return (
                map_state(lambda part: part.to(device), value) if isinstance(value, Tensor | tuple) else value
            )

        leaves = {name: leaf.to(device) for name, leaf in self.leaves.items()}
        return Problem(**{name: move(value) for name, value in vars(self).items()} | {"leaves": leaves})

    def cast_clamp(self, dtype: torch.dtype) -> tuple[Tensor, Tensor] | None:
        return None if self.clamp is None else (self.clamp[0].to(dtype), self.clamp[1])

    def send_back(self, y: Tensor, state: PlasticState) -> None:
        """Random gradients into y and every part of the final state."""
        outputs = (y, *state)
        sum((out * up.to(out.dtype)).sum() for out, up in zip(outputs, self.upstream, strict=True)).backward()

    def run(self, backend: str, dtype: torch.dtype) -> dict[str, Tensor]:
        """Every output, and the gradient of every leaf."""
        leaves = self.fresh_leaves(dtype)
        y, final = plastic_rnn(
            leaves["x"],
            self.params(leaves),
            self.state(leaves),
            self.episode_starts,
            clamp=self.cast_clamp(dtype),
            repeats=self.repeats,
            backend=backend,
        )
        self.send_back(y, final)
        return collect(y, final, leaves)


def collect(y: Tensor, state: PlasticState, leaves: dict[str, Tensor]) -> dict[str, Tensor]:
    result = {"y": y.detach(), "final hidden": state.hidden.detach(), "final trace": state.trace.detach()}
    for name, part in state._asdict().items():
        if part.numel() > 0:
            result[f"final {name}"] = part.detach()
    for name, leaf in leaves.items():
        if leaf.grad is not None:
            result[f"gradient of {name}"] = leaf.grad
    return result


def make_problem(
    rule: str = "hebb",
    alpha: str = "full",
    *,
    cell: str = "rnn",
    steps: int = 12,
    batch: int = 3,
    n: int = 9,
    eta: float = 0.1,
    activation: str = "tanh",
    resets: bool = True,
    clamp: str = "none",
    seed: int = 0,
    core_steps: int = 1,
) -> Problem:
    """Random numbers of a size that keeps the network lively and its gradients of order one."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    scale = 0.5 / n**0.5
    definition = get_cell(cell)
    leaves = {"x": 0.7 * normal(steps, batch, len(definition.parts) * n), "w": scale * normal(n, n)}
    plastic = alpha != "none"
    if alpha == "full":
        leaves["alpha"] = scale * normal(n, n)
    elif alpha == "homogeneous":
        leaves["alpha"] = torch.tensor(0.3 / n**0.5, dtype=torch.float64)
    if plastic:
        make = {
            "eta": lambda: torch.tensor(eta, dtype=torch.float64),
            "w_m": lambda: normal(n) / n**0.5,
            "b_m": lambda: torch.tensor(0.2, dtype=torch.float64),
            "fan_out": lambda: 0.5 * normal(n),
        }
        leaves |= {name: make[name]() for name in get_rule(rule).parameters}
    if definition.gates:
        leaves["w_gates"] = 2 * scale * normal(n, definition.gates * n)
    if definition.reset_bias:
        leaves["b_u"] = 0.5 * normal(n)
    leaves["hidden"] = torch.tanh(normal(batch, n))
    leaves["trace"] = 0.2 * normal(batch, n, n) if plastic else torch.zeros(batch, 0, 0, dtype=torch.float64)

    if definition.memory:
        leaves["cell"] = normal(batch, n)
    if plastic and get_rule(rule).eligibility:
        leaves["eligibility"] = 0.2 * normal(batch, n, n)

    starts = None
    if resets:
        starts = torch.rand(steps, batch, generator=generator) < 0.15
        starts[0, 0] = False  # one row that the incoming state reaches
        starts[-3:] = False  # traces that have grown again at the end
    clamps = None
    if clamp != "none":
        mask = torch.ones(steps, batch, n, dtype=torch.bool)
        if clamp == "partial":
            mask = torch.rand(steps, batch, n, generator=generator) < 0.3
        clamps = (torch.rand(steps, batch, n, generator=generator, dtype=torch.float64) * 1.6 - 0.8, mask)
    upstream = [normal(steps, batch, n)]
    upstream += [normal(*part.shape) for part in Problem.state(leaves)]
    return Problem(
        leaves, rule, activation, starts, clamps, tuple(upstream), cell=cell, core_steps=core_steps
    )


def assert_same(result: dict[str, Tensor], expected: dict[str, Tensor], dtype: torch.dtype) -> None:
    """Every entry within the tolerance of the dtype."""
    assert result.keys() == expected.keys()
    for name, value in result.items():
        if value.numel() == 0:
            assert value.shape == expected[name].shape, name
            continue
        assert value.shape == expected[name].shape, name
        scale = expected[name].abs().max().item()
        error = (value.double() - expected[name].double()).abs().max().item()
        assert error <= TOLERANCE[dtype] * max(scale, 1e-3), f"{name}: off by {error:.2e} at size {scale:.2e}"


@pytest.fixture(name="make_problem")
def make_problem_fixture() -> Callable[..., Problem]:
    def make(*args: Any, **kwargs: Any) -> Problem:
        with torch.device("cpu"):  # the same numbers on every device
            problem = make_problem(*args, **kwargs)
        return problem.moved(torch.get_default_device())

    return make


@pytest.fixture(autouse=True)
def device_of_the_backend(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tests that are handed the backend ``triton`` make their tensors on a GPU."""
    parameters = getattr(getattr(request.node, "callspec", None), "params", {})
    on_gpu = parameters.get("backend") == "triton" and "make_problem" in request.fixturenames
    with torch.device("cuda") if on_gpu else nullcontext():
        yield


@pytest.fixture(name="assert_same")
def assert_same_fixture() -> Callable[..., None]:
    return assert_same


@pytest.fixture(name="collect")
def collect_fixture() -> Callable[..., dict[str, Tensor]]:
    return collect
