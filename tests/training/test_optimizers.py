"""The optimiser and the learning rates of the recurrent core."""

import copy

import pytest
import torch
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import IdentityEnvMultiDiscrete
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv

from plastic_rl import PlasticA2C
from plastic_rl.training.optimizers import WarmRMSprop


@pytest.mark.parametrize("kwargs", [{}, {"momentum": 0.5, "centered": True}])
def test_the_first_step_is_as_long_as_the_learning_rate_and_the_next_are_rmsprops(kwargs):
    gradients = [torch.tensor([3.0, -0.2]), torch.tensor([1.0, 0.4]), torch.tensor([-2.0, 0.1])]
    ours, theirs = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(2))
    warm = WarmRMSprop([ours], lr=0.1, alpha=0.9, eps=0.0, **kwargs)
    plain = torch.optim.RMSprop([theirs], lr=0.1, alpha=0.9, eps=0.0, **kwargs)
    ours.grad = theirs.grad = gradients[0]
    plain.step()
    warm.step()
    if not kwargs:
        torch.testing.assert_close(ours.detach(), torch.tensor([-0.1, 0.1]))
    # From the same inner state and place on, it is plain RMSprop.
    with torch.no_grad():
        theirs.copy_(ours)
    plain.load_state_dict(copy.deepcopy(warm.state_dict()))
    for gradient in gradients[1:]:
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        warm.step()
        plain.step()
        torch.testing.assert_close(ours, theirs)


def learning_rates(model):
    model._update_learning_rate(model.policy.optimizer)
    matrices = {id(model.policy.core.w), id(model.policy.core.alpha)}
    return {
        id(p) in matrices: group["lr"]
        for group in model.policy.optimizer.param_groups
        for p in group["params"]
    }


@pytest.mark.parametrize(("hidden_size", "scale"), [(32, 1.0), (64, 1.0), (200, 0.32)])
def test_large_cores_learn_more_slowly(hidden_size, scale, tmp_path):
    env = make_vec_env("CartPole-v1")
    model = PlasticA2C(
        "MlpPolicy", env, learning_rate=lambda left: 0.01 * left, policy_kwargs={"hidden_size": hidden_size}
    )
    model.learn(5)
    lr = 0.01 * model._current_progress_remaining
    assert learning_rates(model) == pytest.approx({False: lr, True: lr * scale})
    with pytest.warns(UserWarning, match=r"saved without learning_rate \(the function .*<lambda>\)"):
        model.save(tmp_path / "model")
    given = {"learning_rate": model.learning_rate}
    loaded = PlasticA2C.load(tmp_path / "model", env=env, custom_objects=given)
    loaded.learn(5, reset_num_timesteps=False)
    assert learning_rates(loaded)[True] == pytest.approx(learning_rates(loaded)[False] * scale)


def test_the_scale_can_be_set_and_is_checked():
    model = PlasticA2C("MlpPolicy", "CartPole-v1", policy_kwargs={"core_lr_scale": 1.0}).learn(5)
    assert len(set(learning_rates(model).values())) == 1
    with pytest.raises(ValueError, match=r"core_lr_scale must be a finite number above 0, got -1\.0"):
        PlasticA2C("MlpPolicy", "CartPole-v1", policy_kwargs={"core_lr_scale": -1.0})


@pytest.mark.slow
def test_a_core_of_default_size_survives_a2cs_defaults():
    """With plain RMSprop and one learning rate for all, this stays at chance, 6 of 100."""
    env = IdentityEnvMultiDiscrete(4)
    model = PlasticA2C("MlpPolicy", DummyVecEnv([lambda: env]), gamma=0.4, learning_rate=2e-3, seed=3)
    mean_return, _ = evaluate_policy(model.learn(1200), model.get_env(), n_eval_episodes=20, warn=False)
    assert not isinstance(mean_return, list)
    assert mean_return > 90
