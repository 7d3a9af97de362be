"""What is done to a state goes over its fields, whatever they are."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from plastic_rl.ops.plastic_rnn import PlasticState, batch_size, map_state, take_rows, tensors, zero_rows
from plastic_rl.ops.plastic_rnn.state import put_back
from plastic_rl.policies import PolicyState


class Richer(NamedTuple):
    hidden: Tensor
    trace: Tensor
    cell: Tensor | None = None
    pair: tuple[Tensor, ...] = ()


def richer():
    return Richer(torch.rand(3, 2), torch.rand(3, 2, 2), None, (torch.rand(3), torch.rand(3, 4)))


def test_all_tensors_are_reached_and_the_kind_is_kept():
    state = richer()
    doubled = map_state(lambda part: 2 * part, state)
    assert isinstance(doubled, Richer)
    assert doubled.cell is None
    assert len(list(tensors(state))) == 4
    for one, other in zip(tensors(state), tensors(doubled), strict=True):
        assert torch.equal(2 * one, other)
    total = map_state(torch.add, state, doubled)
    assert torch.equal(total.pair[1], 3 * state.pair[1])
    assert batch_size(state) == 3


def test_rows_are_zeroed_and_taken_in_every_tensor():
    state = richer()._replace(hidden=torch.tensor([[1.0, 2.0], [float("inf"), float("nan")], [3.0, 4.0]]))
    zeroed = zero_rows(state, torch.tensor([False, True, False]))
    for part, before in zip(tensors(zeroed), tensors(state), strict=True):
        assert (part[1] == 0).all()
        assert torch.equal(part[[0, 2]], before[[0, 2]])
    for part, before in zip(tensors(take_rows(state, np.array([2, 0]))), tensors(state), strict=True):
        assert torch.equal(part, before[[2, 0]])


def test_another_structure_is_refused():
    with pytest.raises(ValueError, match="the same structure"):
        map_state(torch.add, richer(), (torch.rand(3, 2),))


def test_plastic_and_policy_states():
    trace = torch.rand(3, 2, 2, requires_grad=True)
    state = PlasticState(torch.rand(3, 2), trace)
    assert not state.detach().trace.requires_grad
    assert state.clone().hidden.data_ptr() != state.hidden.data_ptr()
    assert torch.equal(state.rows([1]).trace, trace[[1]])
    assert isinstance(state.to_numpy().trace, np.ndarray)
    assert state.zeroed(torch.tensor([True, True, True])).trace.abs().max() == 0
    both = PolicyState(richer(), state)
    rows = both.rows(np.array([2]))
    assert isinstance(rows.actor, Richer)
    assert torch.equal(rows.critic.trace, trace[[2]])
    assert not both.detach().critic.trace.requires_grad
    assert PolicyState(state).detach().critic is None


def test_what_is_put_back_is_copied_or_there_already_and_graphs_notice_both():
    parts = [torch.rand(2, 3, 3, requires_grad=True), torch.rand(3, 2).t(), torch.rand(2, 3)]
    losses = [(part * torch.rand(3, requires_grad=True)).sum() for part in parts]
    changed = [torch.rand(2, 3, 3), torch.rand(2, 3), parts[2].detach()]
    changed[2].numpy()[:] = 7.0  # torch does not see it
    put_back(parts, changed)
    for part, new, loss in zip(parts, changed, losses, strict=True):
        assert torch.equal(part, new)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()
