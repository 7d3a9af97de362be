"""What batched environments of all families keep: layout of results, seeds, arrays that are the caller's."""

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from plastic_rl.envs import (
    PlasticMazeVectorEnv,
    PlasticPairsVectorEnv,
    PlasticTargetDiscoveryVectorEnv,
    register_environments,
)

register_environments()

every_form = pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (PlasticMazeVectorEnv, {"size": 5, "max_episode_steps": 9, "observe_time": True}),
        (PlasticPairsVectorEnv, {"n_pairs": (1, 3)}),
        (PlasticTargetDiscoveryVectorEnv, {"n_trials": 2, "blank_steps": 0}),
        (PlasticPairsVectorEnv, {"n_pairs": (1, 3), "feedback": "tried", "n_rounds": 2}),
    ],
)


def draw_actions(steps, envs):
    return np.random.default_rng(0).integers(envs.single_action_space.n, size=(steps, envs.num_envs))


@pytest.mark.parametrize(
    ("env_id", "arguments", "mask_at", "ends"),
    [
        ("PlasticMaze-v0", {"size": 5, "max_episode_steps": 5}, 7, 1 + 2 * 4 + 1),
        ("PlasticPairs-v0", {"n_pairs": 2}, 3, 3 + 3),
        ("PlasticTargetDiscovery-v0", {"n_trials": 2, "blank_steps": 0}, 4, 5 + 4),
        ("PlasticPairs-v0", {"n_pairs": 3, "feedback": "tried", "n_rounds": 1}, 3, 5 + 4),
    ],
)
def test_results_are_laid_out_as_by_gymnasiums_vector_environment(layout, env_id, arguments, mask_at, ends):
    batch = gym.make_vec(env_id, num_envs=3, **arguments)
    model = gym.make_vec(
        env_id,
        num_envs=3,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
        **arguments,
    )
    assert isinstance(model, SyncVectorEnv)
    assert batch.metadata["autoreset_mode"] is model.metadata["autoreset_mode"]
    for name in ("observation_space", "action_space", "single_observation_space", "single_action_space"):
        assert getattr(batch, name) == getattr(model, name)
    assert layout(batch.reset(seed=0)[1]) == layout(model.reset(seed=0)[1])
    mask = np.array([False, True, False])
    for step, actions in enumerate(draw_actions(30, batch)):
        if step == mask_at:  # from here on, the episodes end at different steps
            again = [envs.reset(options={"reset_mask": mask.copy()})[1] for envs in (batch, model)]
            assert layout(again[0]) == layout(again[1])
        *ours, infos = batch.step(actions)
        *theirs, expected = model.step(actions)
        assert layout(infos) == layout(expected)
        for one, other in zip(ours, theirs, strict=True):
            assert (one.dtype, one.shape) == (other.dtype, other.shape)
        np.testing.assert_array_equal(ours[2:], theirs[2:])
        ends -= (ours[2] | ours[3]).any()
    assert ends == 0


def play(envs, seed, steps=290):
    return [envs.reset(seed=seed)] + [envs.step(actions) for actions in draw_actions(steps, envs)]


@pytest.mark.parametrize("seed", [3, [3, 1, 4, 1]])
@every_form
def test_seeds_decide_everything(make, arguments, seed):
    one = make(4, **arguments)
    results = play(one, seed)
    again = play(one, seed)  # what was left over from before must not come
    assert data_equivalence(results, again, exact=True)
    assert data_equivalence(results, play(make(4, **arguments), seed), exact=True)
    other = play(make(4, **arguments), 4 if seed == 3 else [3, 1, 4, 2])
    assert not data_equivalence(results, other, exact=True)
    assert sum(rewards.sum() for _, rewards, *_ in results[1:]) > 0


@every_form
def test_returned_arrays_never_change(make, arguments):
    envs = make(4, **arguments)
    kept = [envs.reset(seed=0)]
    copies = copy.deepcopy(kept)
    for actions in draw_actions(60, envs):
        kept.append(envs.step(actions))
        copies.append(copy.deepcopy(kept[-1]))
        actions[:] = 1
    for original, duplicate in zip(kept, copies, strict=True):
        assert data_equivalence(original, duplicate, exact=True)


@every_form
def test_changing_returned_arrays_changes_nothing(make, arguments):
    plain, vandalised = make(4, **arguments), make(4, **arguments)
    results = [plain.reset(seed=0), vandalised.reset(seed=0)]
    for actions in draw_actions(60, plain):
        for array in (*results[1][:-1], *results[1][-1].values()):
            if isinstance(array, np.ndarray):
                array[:] = 1
        results = [plain.step(actions), vandalised.step(actions)]
        assert data_equivalence(results[0], results[1], exact=True)
    mask = {"reset_mask": np.array([True, False, False, False])}
    results[1][1][:] = 7
    assert data_equivalence(plain.reset(options=mask), vandalised.reset(options=mask), exact=True)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda envs: pickle.loads(pickle.dumps(envs))])
@every_form
def test_copies_go_on_alike(make, arguments, duplicate):
    envs = make(3, **arguments)
    envs.reset(seed=0)
    for _ in range(7):
        envs.step([0, 1, 1])
    twin = duplicate(envs)
    for actions in draw_actions(60, envs):
        assert data_equivalence(envs.step(actions), twin.step(actions), exact=True)
