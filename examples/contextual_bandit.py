"""Learning to learn: which answer is right for which of four contexts is new in every lifetime.

    python examples/contextual_bandit.py

Trains a plastic agent on `PlasticBandit-v0` for some twenty seconds of one core, and one without plasticity
on as many steps. Then both live 512 fresh lifetimes, in which no weight changes. Each context comes six
times. The first time nobody can know the answer; what is right from the second time on was found out within
the lifetime, by trial and reward. At best .25, .50, .75, and from then on all are right: .75 of all answers.
"""

import argparse
import time
from typing import Any

import numpy as np

import plastic_rl
from plastic_rl.analysis.playback import play

ENV_ID = "PlasticBandit-v0"
CONTEXTS, ROUNDS = 4, 6
ENV_KWARGS = {"n_pairs": CONTEXTS, "n_rounds": ROUNDS}
LIFETIMES = 512
# Without a trace the rate of the plastic network's settings is too large.
NOT_PLASTIC = {"learning_rate": 3e-3, "policy_kwargs": {"alpha": "none", "core_lr_scale": 1.0}}


def train(timesteps: int, seed: int, overrides: dict[str, Any]) -> plastic_rl.PlasticA2C:
    """Train with the settings of the command line, a rollout being one lifetime."""
    env = plastic_rl.make_vec_env(ENV_ID, n_envs=32, seed=seed, env_kwargs=ENV_KWARGS)
    overrides = {"n_steps": 2 * CONTEXTS * ROUNDS, **overrides}
    settings = plastic_rl.hyperparams(ENV_ID, overrides=overrides)
    model = plastic_rl.PlasticA2C(env=env, **settings, seed=seed, device="cpu")
    return model.learn(timesteps)


def right_answers(model: plastic_rl.PlasticA2C, lifetimes: int) -> np.ndarray:
    """The share of right answers in every round, (rounds,), over fresh lifetimes."""
    env = plastic_rl.make_vec_env(ENV_ID, n_envs=lifetimes, seed=10_000, env_kwargs=ENV_KWARGS)
    steps = play(model, env, 2 * CONTEXTS * ROUNDS, deterministic=True)
    rewards = np.stack([step.rewards for step in steps])
    # An answer is wanted at every other step.
    return rewards[::2].reshape(ROUNDS, -1).mean(axis=1)


def main() -> None:
    """Train both, and print what each knows in every round of a lifetime."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--timesteps", type=int, default=500_000)
    parser.add_argument("--lifetimes", type=int, default=LIFETIMES)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    levels = plastic_rl.reference_levels(ENV_ID, ENV_KWARGS)
    questions = CONTEXTS * ROUNDS
    print(
        f"chance {levels['chance'] / questions:.2f}, best possible {levels['best possible'] / questions:.2f}"
    )
    for name, overrides in {"plastic": {}, "not plastic": NOT_PLASTIC}.items():
        start = time.process_time()
        model = train(arguments.timesteps, arguments.seed, overrides)
        seconds = time.process_time() - start
        shares = right_answers(model, arguments.lifetimes)
        rounds = " ".join(f"{share:.2f}" for share in shares)
        print(
            f"{name:11} {shares.mean():.3f} right, by round {rounds} ({seconds:.0f} CPU seconds of training)"
        )


if __name__ == "__main__":
    main()
