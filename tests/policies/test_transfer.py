"""Copying a trained core from a saved model into another policy."""

import io
import zipfile

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, DQN

from plastic_rl import PlasticA2C, UntrustedFileError, register_for_loading
from plastic_rl.policies import PlasticPolicy
from plastic_rl.policies.transfer import load_core

LEARNED = {
    "hebb": ["w", "alpha", "eta_logit"],
    "oja": ["w", "alpha", "eta_logit"],
    "modulated": ["w", "alpha", "w_m", "b_m", "fan_out"],
    "retroactive": ["w", "alpha", "eta_logit", "w_m", "b_m", "fan_out"],
}
OF_CELL = {"rnn": [], "gru": ["w_gates", "b_u"], "lstm": ["w_gates"]}


class Quiet(gym.Env):
    """An environment that has spaces only."""

    observation_space = spaces.Box(-1, 1, (5,), np.float32)
    action_space = spaces.Discrete(3)


class NamedRule(PlasticPolicy):
    """A policy whose rule no argument tells."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, rule="oja", **kwargs)


register_for_loading(NamedRule)


def save(path, policy="MlpPolicy", **policy_kwargs):
    """A saved model with random parameters, all of them other than a fresh model's."""
    kwargs = {"hidden_size": 6, **policy_kwargs}
    model = PlasticA2C(policy, Quiet(), policy_kwargs=kwargs, device="cpu", seed=1)
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.normal_()
    model.save(path)
    return model


def make(**kwargs):
    torch.manual_seed(7)
    space = spaces.Box(-1, 1, (2,), np.float32)
    return PlasticPolicy(space, spaces.Box(-1, 1, (1,)), lambda _: 1e-3, **{"hidden_size": 6, **kwargs})


def numbers(policy):
    return {name: parameter.detach().clone() for name, parameter in policy.named_parameters()}


@pytest.mark.parametrize("alpha", ["full", "homogeneous", "none"])
@pytest.mark.parametrize(
    ("cell", "rule"), [*(("rnn", rule) for rule in LEARNED), ("gru", "hebb"), ("lstm", "retroactive")]
)
def test_what_the_core_learned_is_copied_and_the_rest_stays(tmp_path, cell, rule, alpha):
    saved = save(tmp_path / "model.zip", cell=cell, rule=rule, alpha=alpha).policy
    policy = make(cell=cell, rule=rule, alpha=alpha)
    before = numbers(policy)
    transfer = load_core(tmp_path / "model.zip", policy)
    expected = OF_CELL[cell] + (["w"] if alpha == "none" else LEARNED[rule])
    assert set(transfer.copied) == {f"core.{name}" for name in expected}
    assert sorted(transfer.copied + transfer.fresh) == sorted(before)
    for name, value in numbers(policy).items():
        if name in transfer.copied:
            assert torch.equal(value, saved.state_dict()[name]), name
            assert not torch.equal(value, before[name]), name
        else:
            assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("saved_shares", [True, False])
def test_a_critic_with_a_core_of_its_own_is_served_too(tmp_path, saved_shares):
    saved = save(tmp_path / "model.zip", share_features_extractor=saved_shares).policy
    policy = make(share_features_extractor=False)
    transfer = load_core(tmp_path / "model.zip", policy)
    assert {"core.w", "critic_core.w", "critic_core.alpha", "critic_core.eta_logit"} <= set(transfer.copied)
    assert torch.equal(policy.core.w, saved.core.w)
    assert torch.equal(policy.critic_core.w, (saved.core if saved_shares else saved.critic_core).w)
    shared = make()
    assert all(name.startswith("core.") for name in load_core(tmp_path / "model.zip", shared).copied)
    assert torch.equal(shared.core.w, saved.core.w)


def test_only_the_moments_of_what_was_copied_are_cleared(tmp_path):
    save(tmp_path / "model.zip")
    policy = make()
    for parameter in policy.parameters():
        parameter.grad = torch.ones_like(parameter)
    policy.optimizer.step()
    transfer = load_core(tmp_path / "model.zip", policy)
    for name, parameter in policy.named_parameters():
        assert (parameter in policy.optimizer.state) == (name in transfer.fresh), name
    policy.optimizer.step()


@pytest.mark.parametrize(
    ("theirs", "ours", "message"),
    [
        ({"hidden_size": 7}, {}, "hidden_size=7.*hidden_size=6"),
        ({"rule": "oja"}, {}, "rule='oja'.*rule='hebb'"),
        ({"rule": "modulated"}, {"rule": "oja"}, "rule='modulated'.*rule='oja'"),
        ({"alpha": "homogeneous"}, {}, "alpha='homogeneous'.*alpha='full'"),
        ({"alpha": "none"}, {"alpha": "homogeneous"}, "alpha='none'.*alpha='homogeneous'"),
        ({"activation": "sigmoid"}, {}, "activation='sigmoid'.*activation='tanh'"),
        ({"rule": "modulated", "trace_clip": 1.0}, {"rule": "modulated"}, "trace_clip=1.0.*trace_clip=2.0"),
        ({"policy": NamedRule}, {}, "rule='oja'.*rule='hebb'"),
        ({}, {"cell": "gru"}, "has cell='rnn', this model's has cell='gru'"),
        ({"cell": "lstm"}, {"cell": "gru"}, "has cell='lstm', this model's has cell='gru'"),
    ],
)
def test_another_kind_of_core_is_refused(tmp_path, theirs, ours, message):
    save(tmp_path / "model.zip", **theirs)
    policy = make(**ours)
    before = numbers(policy)
    with pytest.raises(ValueError, match=message):
        load_core(tmp_path / "model.zip", policy)
    for name, value in numbers(policy).items():
        assert torch.equal(value, before[name]), name


def test_the_rule_of_a_policy_class_counts_not_only_the_arguments(tmp_path):
    save(tmp_path / "model.zip", policy=NamedRule)
    policy = make(rule="oja")
    before = policy.core.w.detach().clone()
    load_core(tmp_path / "model.zip", policy)
    assert not torch.equal(policy.core.w, before)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no saved model at .*missing"):
        load_core(tmp_path / "missing", make())


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_named(tmp_path, fraction):
    path = tmp_path / "model.zip"
    save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(ValueError, match=r"model\.zip is damaged or not a model"):
        load_core(path, make())


@pytest.mark.parametrize("member", ["settings.json", "policy.safetensors", None])
def test_a_damaged_or_foreign_archive_is_named(tmp_path, member):
    """Both the description and the parameters must be there and readable; other archives hold neither."""
    path = tmp_path / "model.zip"
    save(path)
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    for damaged in (None, b"", b"{}", b"garbage"):
        kept = {} if member is None else {name: part for name, part in content.items() if name != member}
        if damaged is not None:
            kept[member or "notes.txt"] = damaged
        with zipfile.ZipFile(path, "w") as archive:
            for name, part in kept.items():
                archive.writestr(name, part)
        with pytest.raises(ValueError, match=r"model\.zip is damaged or not a model"):
            load_core(path, make())


@pytest.mark.parametrize("algorithm", [A2C, DQN])
def test_models_of_other_algorithms_are_refused(tmp_path, algorithm):
    kwargs = {"buffer_size": 10} if algorithm is DQN else {}
    algorithm("MlpPolicy", Quiet(), device="cpu", **kwargs).save(tmp_path / "model.zip")
    with pytest.raises(UntrustedFileError, match=r"holds pickled objects \('policy_class', "):
        load_core(tmp_path / "model.zip", make())
    with pytest.raises(ValueError, match="no plastic core"):
        load_core(tmp_path / "model.zip", make(), trust=True)


def test_random_numbers_go_on_as_if_nothing_had_been_loaded(tmp_path):
    save(tmp_path / "model.zip")
    policy = make()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    load_core(tmp_path / "model.zip", policy)
    assert torch.equal(torch.rand(2), expected)


def test_the_suffix_may_be_left_out_and_open_files_are_read(tmp_path):
    saved = save(tmp_path / "model.zip").policy
    content = io.BytesIO((tmp_path / "model.zip").read_bytes())
    for source in (tmp_path / "model", str(tmp_path / "model"), content):
        policy = make()
        load_core(source, policy)
        assert torch.equal(policy.core.alpha, saved.core.alpha)
