"""What the tests of several processes run in each of them: ``python ranks.py WHAT FOLDER``.

With WORLD_SIZE processes each has its share of 8 environments; alone it has all of them. What each learned
goes to ``FOLDER/<world size>_<rank>.npz``.
"""

import atexit
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import plastic_rl
from plastic_rl.envs import Episodes
from plastic_rl.training import Rollout, distributed, rollout
from plastic_rl.training.distributed import join

N_ENVS, STEPS, SEED = 8, 6, 3
CORE = {"hidden_size": 7, "backend": "reference"}
PROCESSES = join()
OWN = PROCESSES.share("n_envs", N_ENVS)
FIRST = PROCESSES.rank * OWN


def same_noise_for_all_ranks() -> None:
    """Draw actions as one process with all environments would, each rank taking its own."""
    noise = torch.Generator()

    def sample(logits: torch.Tensor, action_masks: torch.Tensor | None = None) -> torch.Tensor:
        drawn = torch.empty(N_ENVS, logits.shape[1]).exponential_(generator=noise)
        return (logits - drawn.log()[FIRST : FIRST + OWN]).argmax(dim=-1)

    noise.manual_seed(SEED)
    rollout._sample_categorical = sample


def same_minibatches_for_all_ranks() -> None:
    """Two groups: the even and the odd environments, of which each rank has as many."""

    def split(self: Rollout, n_groups: int, generator: object = None) -> list[Rollout]:
        index = torch.arange(self.n_envs)
        return [self.environments(index[index % n_groups == k]) for k in range(n_groups)]

    mock.patch.object(Rollout, "split", split).start()


class Rows(BaseCallback):
    """What is logged after every update."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, float]] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        values = self.model.logger.name_to_value
        self.rows.append({key: value for key, value in values.items() if key.startswith("train/")})


def maze(normalize: bool = False) -> Any:
    # Single environments: those of a batch draw from one generator.
    env = plastic_rl.make_vec_env(
        "PlasticMaze-v0",
        OWN,
        vec_env_cls=DummyVecEnv,
        env_kwargs={"size": 5, "max_episode_steps": 9, "render_mode": None},
    )
    return VecNormalize(env) if normalize else env


def on_policy(algorithm: type, **kwargs: Any) -> dict[str, Any]:
    same_noise_for_all_ranks()
    model = algorithm(
        "MlpPolicy",
        maze(),
        n_steps=STEPS,
        seed=SEED,
        device="cpu",
        policy_kwargs=CORE,
        **kwargs,
    )
    rows = Rows()
    model.learn(5 * STEPS * N_ENVS, callback=rows, log_interval=None)
    assert not PROCESSES.alone or len(rows.rows) == 5
    return {
        **{f"parameter {name}": value.numpy() for name, value in model.policy.state_dict().items()},
        **{name: np.array([row.get(name, np.nan) for row in rows.rows]) for name in rows.rows[-1]},
        "num_timesteps": model.num_timesteps,
        "returns": np.array([info["r"] for info in model.ep_info_buffer]),
        "progress": model._current_progress_remaining,
    }


def a2c_on(env: Any, n_steps: int = STEPS, seed: int | None = None) -> plastic_rl.PlasticA2C:
    return plastic_rl.PlasticA2C(
        "MlpPolicy", env, n_steps=n_steps, seed=seed, device="cpu", policy_kwargs=CORE
    )


def a2c() -> dict[str, Any]:
    schedule = plastic_rl.hyperparams("PlasticMaze-v0", overrides={"learning_rate": "lin_0.01"})[
        "learning_rate"
    ]
    return on_policy(plastic_rl.PlasticA2C, normalize_advantage=True, learning_rate=schedule)


def ppo() -> dict[str, Any]:
    same_minibatches_for_all_ranks()
    # Such that some of the updates end before their last epoch.
    return on_policy(
        plastic_rl.PlasticPPO, n_epochs=3, batch_size=STEPS * N_ENVS // 2, learning_rate=1e-2, target_kl=1e-4
    )


def supervised() -> dict[str, Any]:
    env = plastic_rl.make_vec_env("PlasticPatternMemory-v0", 1, env_kwargs={"n_bits": 12, "n_patterns": 2})
    model = plastic_rl.SupervisedMetaLearner(
        "AutoassociatorPolicy", env, batch_size=N_ENVS, seed=SEED, device="cpu"
    )
    task = env.get_attr("task")[0]
    draw = task.sample_episodes

    def own_part(batch: int, rng: object) -> Any:
        if batch == 1:
            return draw(1, rng)  # the environment's own, which nothing is learned from
        whole = draw(N_ENVS, model_rng)
        own = slice(FIRST, FIRST + OWN)
        return Episodes(whole.observations[:, own], whole.targets[own])

    model_rng = np.random.default_rng(SEED)
    task.sample_episodes = own_part
    model.learn(4 * N_ENVS * task.episode_length)
    return {
        **{f"parameter {name}": value.numpy() for name, value in model.policy.state_dict().items()},
        "num_timesteps": model.num_timesteps,
        "returns": np.array([info["r"] for info in model.ep_info_buffer]),
    }


def statistics() -> dict[str, Any]:
    env = maze(normalize=True)
    seen: list[np.ndarray] = []
    step, reset = env.venv.step_wait, env.venv.reset

    def watched_step() -> Any:
        result = step()
        seen.append(result[0].copy())
        return result

    def watched_reset() -> Any:
        seen.append(reset().copy())
        return seen[-1]

    env.venv.step_wait, env.venv.reset = watched_step, watched_reset
    a2c_on(env, seed=SEED).learn(3 * STEPS * N_ENVS)
    return {
        "seen": np.concatenate(seen),
        "mean": env.obs_rms.mean,
        "var": env.obs_rms.var,
        "ret": env.ret_rms.var,
    }


def stopped() -> dict[str, Any]:
    """The last process stops in the middle of its second rollout."""
    last = PROCESSES.rank == PROCESSES.size - 1

    class Stop(BaseCallback):
        def _on_step(self) -> bool:
            return not last or self.n_calls < STEPS + 2

    model = a2c_on(maze(), seed=SEED)
    model.learn(10 * STEPS * N_ENVS, callback=Stop())
    return {"updates": model._n_updates}


def fails() -> dict[str, Any]:
    """The last process raises an error in its second rollout."""
    return end_in_second_rollout(raise_error)


def killed() -> dict[str, Any]:
    """The last process is killed in its second rollout."""
    return end_in_second_rollout(lambda: os.kill(os.getpid(), signal.SIGKILL))


def raise_error() -> None:
    raise OSError("its disk is full")


def end_in_second_rollout(end: Callable[[], None]) -> dict[str, Any]:
    class Fail(BaseCallback):
        def _on_step(self) -> bool:
            if PROCESSES.rank == PROCESSES.size - 1 and self.n_calls > STEPS + 2:
                end()
            return True

    a2c_on(maze()).learn(10**6, callback=Fail())
    return {}


def differs() -> dict[str, Any]:
    """What is said where the processes were given different settings."""
    try:
        a2c_on(maze(), n_steps=STEPS + PROCESSES.rank).learn(100)
    except ValueError as error:
        return {"error": str(error)}
    return {"error": ""}


def part() -> None:
    """Leave the others as at the end of the process, and see that nothing of gloo's is left running."""
    atexit.unregister(distributed._part)
    distributed._part()
    names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").glob("*")]
    assert not [name for name in names if "gloo" in name], names


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for what in sys.argv[2:]:
        found = globals()[what]()
        np.savez(folder / f"{what}_{PROCESSES.size}_{PROCESSES.rank}.npz", **found)
    part()
