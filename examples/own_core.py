"""A core of your own in the place of the plastic one: an LSTM that PlasticA2C trains through time.

    python examples/own_core.py

A cue is shown at the first step of an episode, three steps later the action has to name it. An agent without
a memory is right half of the time. The core is a torch module with four methods, and its state a NamedTuple
of tensors: training, `predict`, saving and evaluation carry it along without knowing what is in it.
"""

import argparse
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from torch import Tensor, nn

import plastic_rl
from plastic_rl.ops.plastic_rnn import zero_rows
from plastic_rl.policies import RecurrentCore


class LstmState(NamedTuple):
    """What an LSTM carries from step to step: hidden (B, N) and cell (B, N)."""

    hidden: Tensor
    cell: Tensor


class LstmCore(nn.Module):
    """A `torch.nn.LSTM` as a `plastic_rl.policies.RecurrentCore`.

    Args:
        input_size: number of input features F.
        hidden_size: number of units N.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.lstm = nn.LSTM(input_size, hidden_size)

    def initial_state(self, batch_size: int) -> LstmState:
        """Zeros for so many environments."""
        zeros = next(self.parameters()).detach().new_zeros(batch_size, self.hidden_size)
        return LstmState(zeros, zeros.clone())

    def forward(
        self, features: Tensor, state: LstmState, episode_starts: Tensor | None = None
    ) -> tuple[Tensor, LstmState]:
        """Run a sequence, with gradients: one call of the LSTM from each step at which an episode starts.

        features: (T, B, F)
        episode_starts: (T, B)
        returns: y (T, B, N), state after the last step
        """
        n_steps = len(features)
        if episode_starts is None:
            episode_starts = torch.zeros(features.shape[:2], dtype=torch.bool, device=features.device)
        borders = sorted({0, *episode_starts.any(dim=1).nonzero().flatten().tolist()})
        parts = []
        for begin, end in zip(borders, [*borders[1:], n_steps], strict=True):
            hidden, cell = zero_rows(state, episode_starts[begin])
            y, (hidden, cell) = self.lstm(features[begin:end], (hidden[None], cell[None]))
            state = LstmState(hidden[0], cell[0])
            parts.append(y)
        return torch.cat(parts), state

    def step(
        self, features: Tensor, state: LstmState, episode_start: Tensor | None = None
    ) -> tuple[Tensor, LstmState]:
        """One step without gradients. features: (B, F), episode_start: (B,); returns y (B, N), new state."""
        with torch.no_grad():
            if episode_start is not None:
                state = zero_rows(state, episode_start)
            # A cell costs a fifth of what nn.LSTM needs for a sequence of one.
            hidden, cell = torch.lstm_cell(features, state, *self.lstm.all_weights[0])
        return hidden, LstmState(hidden, cell)

    def scaled_parameters(self) -> Iterable[nn.Parameter]:
        """None: all of an LSTM learns at the same rate."""
        return ()


class LstmPolicy(plastic_rl.PlasticPolicy):
    """`PlasticPolicy` with an LSTM of `hidden_size` units in the place of the plastic core."""

    def _make_core(self) -> RecurrentCore:
        return LstmCore(self.features_dim, self.hidden_size)


# A model file holds no code: it names the policy, and whoever loads it has to know that.
plastic_rl.register_for_loading(LstmPolicy)


class Recall(gym.Env[np.ndarray, Any]):
    """A cue at the first step only; the action of the last one, which is announced, must name it."""

    length = 4

    def __init__(self) -> None:
        self.observation_space = spaces.Box(0, 1, (3,), np.float32)
        self.action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Draw a cue and show it."""
        super().reset(seed=seed)
        self.cue, self.t = int(self.np_random.integers(2)), 0
        return np.eye(3, dtype=np.float32)[self.cue], {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Wait, and reward the right answer at the end."""
        self.t += 1
        done = self.t == self.length
        observation = np.array([0, 0, self.t == self.length - 1], dtype=np.float32)
        return observation, float(done and action == self.cue), done, False, {}


def main() -> None:
    """Train it, save it, load it, and ask it again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--timesteps", type=int, default=30_000, metavar="N")
    steps = parser.parse_args().timesteps
    env, test = (make_vec_env(Recall, n_envs=16, seed=seed) for seed in (0, 1000))
    model = plastic_rl.PlasticA2C(
        LstmPolicy,
        env,
        n_steps=12,
        learning_rate=3e-3,
        ent_coef=0.01,
        use_rms_prop=False,
        policy_kwargs={"hidden_size": 32},
        seed=0,
        device="cpu",
    )
    before, _ = evaluate_policy(model, test, n_eval_episodes=200)
    model.learn(steps)
    after, _ = evaluate_policy(model, test, n_eval_episodes=200)
    print(f"right answers: {before:.2f} before training, {after:.2f} after it; without a memory 0.50")

    observations = np.random.default_rng(0).random((2, 16, 3), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "lstm")
        again = plastic_rl.PlasticA2C.load(Path(folder) / "lstm", device="cpu")
    _, state = model.predict(observations[0])
    assert isinstance(state, LstmState)
    print("carried from step to step:", {name: part.shape for name, part in state._asdict().items()})
    actions, _ = model.predict(observations[1], state, deterministic=True)
    others, _ = again.predict(observations[1], state, deterministic=True)
    print("the loaded model acts alike:", np.array_equal(actions, others))


if __name__ == "__main__":
    main()
