"""Turn a Gymnasium environment into a meta-learning problem, and see the agent learn within its lifetime.

    python examples/lifetime_bandit.py

A slot machine with three arms, one of them good, three pulls an episode: on its own, nothing to remember.
`Lifetime` makes one episode of six such episodes on one machine, another machine in every lifetime, and
`PreviousActionReward` shows the agent what its last pull brought. An agent with a memory can now look for the
good arm in the first inner episodes and use it in the later ones.

Measured on lifetimes with seeds that were not trained on: the return of the last inner episode minus that of
the first. The control is the same trained agent, its memory emptied at the start of every inner episode.
Pulling at random brings 1.1 an inner episode, always the good arm 2.7.
"""

import argparse

import gymnasium as gym
import numpy as np
from gymnasium import spaces

import plastic_rl
from plastic_rl.analysis.playback import play
from plastic_rl.envs import Lifetime, PreviousActionReward
from plastic_rl.training.evaluation import mean_interval

ARMS, PULLS, EPISODES = 3, 3, 6
EVALUATION_SEED = 1_000_000  # environments are seeded from here on; training uses small numbers


class Bandit(gym.Env):
    """A slot machine: every arm pays 1 with a chance of its own. An episode is `PULLS` pulls."""

    observation_space = spaces.Discrete(1)
    action_space = spaces.Discrete(ARMS)
    chances = np.full(ARMS, 0.5)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[int, dict]:
        """Start an episode on the same machine."""
        super().reset(seed=seed)
        self.pulls = 0
        return 0, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict]:
        """Pull an arm."""
        self.pulls += 1
        reward = float(self.np_random.random() < self.chances[action])
        return 0, reward, self.pulls == PULLS, False, {}


def draw_arms(env: Bandit, np_random: np.random.Generator) -> None:
    """The task of one lifetime: which arm is the good one."""
    env.chances = np.full(ARMS, 0.1)
    env.chances[np_random.integers(ARMS)] = 0.9


def make_env() -> gym.Env:
    """A lifetime of inner episodes on one machine."""
    return PreviousActionReward(
        Lifetime(Bandit(), episodes=EPISODES, sample_task=draw_arms), reward_range=(0, 1)
    )


def train(seed: int, timesteps: int) -> plastic_rl.PlasticA2C:
    """Train on lifetimes; one rollout is one lifetime."""
    model = plastic_rl.PlasticA2C(
        "MlpPolicy",
        plastic_rl.make_vec_env(make_env, n_envs=16, seed=1000 * seed),
        n_steps=EPISODES * PULLS,
        learning_rate=3e-3,
        gamma=0.8,
        ent_coef=0.03,
        use_rms_prop=False,
        normalize_advantage=True,
        policy_kwargs={"hidden_size": 64, "eta": 0.3, "alpha_init": 0.02},
        seed=seed,
        device="cpu",
    )
    return model.learn(timesteps)


def inner_returns(model: plastic_rl.PlasticA2C, lifetimes: int, forget: bool) -> np.ndarray:
    """Play every lifetime once: returns of the inner episodes, (lifetimes, EPISODES).

    Args:
        model: acts, sampling its actions.
        lifetimes: how many.
        forget: empty the memory at the start of every inner episode, not only of every lifetime.
    """
    env = plastic_rl.make_vec_env(make_env, n_envs=lifetimes, seed=EVALUATION_SEED)
    returns = np.zeros((lifetimes, EPISODES))
    for step in play(model, env, EPISODES * PULLS):
        ended = np.array(["inner_return" in info for info in step.infos])
        for i in np.flatnonzero(ended):
            returns[i, step.infos[i]["inner_episode"]] = step.infos[i]["inner_return"]
        if forget:
            step.starts[ended] = True
    env.close()
    return returns


def describe(values: np.ndarray) -> str:
    """A mean with its 95 % interval."""
    low, high = mean_interval(values)
    return f"{values.mean():6.2f}  [{low:5.2f}, {high:5.2f}]"


def main() -> None:
    """Train, evaluate, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="one training run each")
    parser.add_argument("--timesteps", type=int, default=240_000, help="per training run")
    parser.add_argument("--lifetimes", type=int, default=500, help="to evaluate on, per training run")
    args = parser.parse_args()

    print(f"Inner returns (of {PULLS} pulls), means and 95 % intervals over {args.lifetimes} new lifetimes")
    print(f"{'seed':4}  {'agent':22} {'first':>6} {'last':>6}   last - first")
    for seed in args.seeds:
        model = train(seed, args.timesteps)
        gains = []
        for name, forget in [("plastic", False), ("state reset (control)", True)]:
            returns = inner_returns(model, args.lifetimes, forget)
            gains.append(returns[:, -1] - returns[:, 0])
            first, last = returns[:, 0].mean(), returns[:, -1].mean()
            print(f"{seed:4}  {name:22} {first:6.2f} {last:6.2f} {describe(gains[-1])}")
        print(f"{seed:4}  {'plastic minus control':36} {describe(gains[0] - gains[1])}", flush=True)


if __name__ == "__main__":
    main()
