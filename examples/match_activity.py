"""Look into an agent's units while it holds a sample in memory, with and without its trace.

    python examples/match_activity.py

The task is the delayed match to sample of NeuroGym's `DelayMatchSample-v0`, one trial an episode: one of two
stimuli is shown, a delay follows, then a second stimulus; when the fixation point goes out the agent says
whether both were the same. An agent is trained on it for half a minute. Then the same trials are played three
times: with the agent as it is, with its trace wiped once in the middle of the delay, and with the units
silenced that told most about the sample just before. Printed is how many it answers right; the picture
`match_activity.png` shows how much of each unit's activity the sample explains at every step of the trial.
"""

import argparse
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

import plastic_rl
from plastic_rl.analysis import Activity, Lesion, record_activity, selectivity, silence, wipe_once
from plastic_rl.analysis.plots.style import picture

PERIODS = {"fixation": 2, "sample": 3, "delay": 6, "test": 3, "decision": 1}
ENDS = dict(zip(PERIODS, np.cumsum(list(PERIODS.values())).tolist(), strict=True))
MID_DELAY = ENDS["sample"] + PERIODS["delay"] // 2


class DelayedMatch(gym.Env):
    """Delayed match to sample with two stimuli, one trial an episode.

    Observation: the fixation point, then two noisy channels, of which a stimulus drives one. Actions: 0 keeps
    fixating, 1 is "the same", 2 is "another". Reward: 1 for the right answer in the last step, -0.1 for
    whatever else is not fixating.
    """

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)
        self.action_space = gym.spaces.Discrete(3)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Draw another trial."""
        super().reset(seed=seed)
        self.t = 0
        self.sample, self.test = (int(stimulus) for stimulus in self.np_random.integers(2, size=2))
        return self._observe(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Answer in the last step, fixate in all others."""
        self.t += 1
        over = self.t == ENDS["decision"]
        right = int(action) == (1 if self.sample == self.test else 2)
        reward = float(right) if over else -0.1 * (int(action) != 0)
        info = {"sample": self.sample, "test": self.test}
        return self._observe(), reward, over, False, info

    def _observe(self) -> np.ndarray:
        period = next((name for name, end in ENDS.items() if self.t < end), "decision")
        shown = {"sample": self.sample, "test": self.test}.get(period)
        channels = self.np_random.normal(0.0, 0.2, 2)
        if shown is not None:
            channels[shown] += 1
        return np.array([period != "decision", *channels], dtype=np.float32)


def answered_right(activity: Activity) -> float:
    """The share of right answers."""
    last = activity["step"] == ENDS["decision"] - 1
    return float((activity["reward"][last] == 1).mean())


def sample_selectivity(activity: Activity) -> np.ndarray:
    """(steps, N), how much of the variance of each unit the sample explains at each step."""
    steps = [activity["step"] == t for t in range(ENDS["decision"])]
    return np.stack([selectivity(activity["hidden"][at], activity["info/sample"][at]) for at in steps])


def draw(selectivities: dict[str, np.ndarray], path: Path) -> None:
    """One panel for each condition: all units, the most selective ones on top, at every step of the trial."""
    order = np.argsort(-next(iter(selectivities.values()))[MID_DELAY - 1])
    with picture(path, (4 * len(selectivities), 4.4)) as figure:
        panels = figure.subplots(1, len(selectivities), sharey=True)
        for panel, (name, values) in zip(panels, selectivities.items(), strict=True):
            image = panel.imshow(values[:, order].T, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
            for period, end in ENDS.items():
                panel.axvline(end - 0.5, color="white", linewidth=0.8)
                middle = end - PERIODS[period] / 2 - 0.5
                panel.text(middle, -1, period, ha="center", va="bottom", fontsize=7, rotation=30)
            panel.set_title(name, pad=32)
            panel.set_xlabel("step")
            panel.set_xticks(range(0, ENDS["decision"], 2))
        panels[0].set_ylabel("unit, by its selectivity in the delay")
        figure.colorbar(image, ax=panels, label="share of variance that the sample explains")


def main() -> None:
    """Train, play three times, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--timesteps", type=int, default=1_000_000, help="of the training")
    parser.add_argument("--trials", type=int, default=400, help="to play under each condition")
    parser.add_argument("--silenced", type=int, default=8, help="units")
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--output", type=Path, default=Path("match_activity.png"), help="the picture")
    args = parser.parse_args()

    env = plastic_rl.make_vec_env(DelayedMatch, n_envs=32, seed=args.seed)
    core = {"hidden_size": 40, "rule": "modulated"}
    model = plastic_rl.PlasticA2C(
        "MlpPolicy", env, n_steps=15, learning_rate=2e-3, ent_coef=0.01, gamma=0.95, seed=args.seed,
        device="cpu", policy_kwargs=core,
    )  # fmt: skip
    model.learn(args.timesteps)

    def play(*lesions: Lesion) -> Activity:
        return record_activity(
            model,
            env,
            args.trials,
            deterministic=True,
            lesions=lesions,
            keep=["states"],
            info_keys=["sample"],
        )

    intact = play()
    telling = np.argsort(-sample_selectivity(intact)[MID_DELAY - 1])[: args.silenced]
    recorded = {
        "intact": intact,
        "trace wiped in the delay": play(wipe_once(MID_DELAY)),
        f"{len(telling)} units silenced": play(silence(telling.tolist(), MID_DELAY)),
    }
    for name, activity in recorded.items():
        print(f"{name}: {answered_right(activity):.1%} right")
    draw({name: sample_selectivity(activity) for name, activity in recorded.items()}, args.output)
    print(f"picture in {args.output}")


if __name__ == "__main__":
    main()
