"""What random actions have on POPGym's tasks, and the most that can be had where that is known.

    python -m benchmarks.science.popgym_levels

writes `benchmarks/results/popgym_levels.json`: by the task's name, the mean return of actions drawn
uniformly over 500 episodes, and the best expected return, null where it is not known:

- 1 where an agent that forgets nothing is always right: Autoencode, CountRecall, RepeatFirst and
  RepeatPrevious;
- 1 where a pole can be balanced to the end: PositionOnlyCartPole and VelocityOnlyCartpole. With noise it may
  be less;
- HigherLower: who counts cards says of what there are more left. The mean over 20,000 decks.

The others have no level: what an agent can infer of a Battleship or a MineSweeper board, how fast a bandit's
arms are told apart, how soon a pendulum that starts anywhere can be upright.
"""

import json
from functools import cache
from pathlib import Path

import gymnasium as gym
import numpy as np

from benchmarks.science import popgym_tasks
from plastic_rl.analysis.tables import markdown_table

PATH = Path(__file__).parents[1] / "results" / "popgym_levels.json"
EPISODES, DECKS, SEED = 500, 20_000, 0
DIFFICULTIES = ("Easy", "Medium", "Hard")
ALWAYS_RIGHT = ("Autoencode", "CountRecall", "RepeatFirst", "RepeatPrevious")
BALANCED = ("PositionOnlyCartPole", "VelocityOnlyCartpole")
RANKS, SUITS = 13, 4


def random_level(task: str, episodes: int = EPISODES) -> float:
    """The mean return of actions drawn uniformly; task: POPGym's id."""
    env = popgym_tasks.make(task)
    env.action_space.seed(SEED)
    total = 0.0
    for episode in range(episodes):
        env.reset(seed=SEED + episode)
        over = False
        while not over:
            _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            total += float(reward)
            over = terminated or truncated
    return total / episodes


def counting_cards(n_decks: int, games: int = DECKS) -> float:
    """The mean return of HigherLower for who counts the cards and says of what there are more left."""
    rng = np.random.default_rng(SEED)
    cards = np.tile(np.arange(RANKS), SUITS * n_decks)
    total = 0.0
    for _ in range(games):
        dealt = rng.permutation(cards)
        left = np.bincount(dealt, minlength=RANKS)
        for card in dealt[:-1]:
            left[card] -= 1
            total += abs(left[card + 1 :].sum() - left[:card].sum()) / left.sum() / len(cards)
    return float(total / games)


def best_level(name: str, difficulty: str) -> float | None:
    """The best expected return of a task, None where it is not known."""
    if name in (*ALWAYS_RIGHT, *BALANCED):
        return 1.0
    if name == "HigherLower":
        return counting_cards(1 + DIFFICULTIES.index(difficulty))
    return None


@cache
def read_levels() -> dict[str, dict[str, float | None]]:
    """`random` and `best` by the task's name, such as AutoencodeEasy."""
    found: dict[str, dict[str, float | None]] = json.loads(PATH.read_text())
    return found


def main() -> None:
    """Find and store all of them."""
    levels: dict[str, dict[str, float | None]] = {}
    for task in popgym_tasks.tasks():
        short = task.removeprefix("popgym-").removesuffix("-v0")
        difficulty = next(one for one in DIFFICULTIES if short.endswith(one))
        best = best_level(short.removesuffix(difficulty), difficulty)
        levels[short] = {"random": round(random_level(task), 4), "best": best and round(best, 4)}
        print(short, levels[short], flush=True)
    PATH.write_text(json.dumps(levels, indent=1) + "\n")
    rows = [
        (name, level["random"], "" if level["best"] is None else level["best"])
        for name, level in levels.items()
    ]
    print(markdown_table(["task", "random", "best"], rows))


if __name__ == "__main__":
    gym.logger.min_level = gym.logger.ERROR
    main()
