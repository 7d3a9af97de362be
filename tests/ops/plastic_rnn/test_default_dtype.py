"""What torch's default dtype is makes no difference: tensors of float32 are computed with in float32."""

import sys
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from plastic_rl.ops.plastic_rnn import (
    BACKENDS,
    CELLS,
    RULES,
    Recording,
    initial_state,
    plastic_rnn_replay,
    plastic_rnn_step_,
)


@pytest.fixture
def in_double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def outputs(problem, backend) -> dict[str, Tensor]:
    """Of a sequence, of its gradients, of a step, and of a recording where there is one."""
    found = problem.run(backend, torch.float32)
    leaves = problem.fresh_leaves(torch.float32)
    params = problem.params({name: leaf.detach() for name, leaf in leaves.items()})
    state = initial_state(params, 3)
    found["step"] = plastic_rnn_step_(leaves["x"][0].detach(), params, state, backend=backend)
    found |= {f"step {name}": part for name, part in state._asdict().items()}
    recording = Recording(len(leaves["x"]), params, state, backend)
    for x, starts in zip(leaves["x"].detach(), problem.episode_starts, strict=True):
        recording.step(x, starts, params)
    y, final = plastic_rnn_replay(leaves["x"], problem.params(leaves), recording)
    problem.send_back(y, final)
    found |= {"recorded": y, **{f"recorded {name}": leaf.grad for name, leaf in leaves.items()}}
    return {name: value for name, value in found.items() if value is not None}


def compiled() -> set[tuple[str, str]]:
    """Numba's functions and the arguments for which each is compiled."""
    modules = [module for name, module in sys.modules.items() if "plastic_rnn.numba." in name]
    found = [(name, value) for module in modules for name, value in vars(module).items()]
    return {(name, str(kinds)) for name, value in found for kinds in getattr(value, "signatures", ())}


@pytest.mark.pairwise
@pytest.mark.parametrize("core_steps", [1, 2])
@pytest.mark.parametrize("backend", list(BACKENDS))
@pytest.mark.parametrize("alpha", ["full", "homogeneous", "none"])
@pytest.mark.parametrize("rule", list(RULES))
@pytest.mark.parametrize("cell", list(CELLS))
def test_single_precision_in_a_session_of_double(
    make_problem, in_double, cell, rule, alpha, backend, core_steps
):
    problem = make_problem(rule, alpha, cell=cell, core_steps=core_steps)
    found = outputs(problem, backend)
    before = compiled()
    torch.set_default_dtype(torch.float32)
    wanted = outputs(problem, backend)
    assert compiled() == before, "compiled again, for arguments of other kinds"
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name].dtype == torch.float32, name
        assert torch.equal(found[name], value), name
