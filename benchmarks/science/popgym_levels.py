"""What random actions have on POPGym's tasks, and the most that can be had where that is known.

    python -m benchmarks.science.popgym_levels

writes `benchmarks/results/popgym_levels.json`: by the task's name, the mean return of actions drawn
uniformly over 500 episodes, and the best expected return, null where it is not known:

- 1 where an agent that forgets nothing is always right: Autoencode, CountRecall, RepeatFirst and
  RepeatPrevious;
- 1 where a pole can be balanced to the end: PositionOnlyCartPole and VelocityOnlyCartpole. With noise it may
  be less;
- HigherLower: who counts cards says of what there are more left. The mean over 20,000 decks;
- Concentration with two colours (Easy and Medium): who forgets no card and turns over what brings the fewest
  that do not match. Exactly, by dynamic programming over the cards of each colour that were and were not
  seen.

The others have no level: what an agent can infer of a Battleship or a MineSweeper board, how fast a bandit's
arms are told apart, how soon a pendulum that starts anywhere can be upright, Concentration with thirteen
ranks.
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


@cache
def fewest_mismatches(unseen: int, unseen_others: int, seen: int = 0, seen_others: int = 0) -> float:
    """Turns of Concentration, in the mean, that turn over cards of two colours, until none are left.

    unseen, unseen_others: cards of either colour that lie face down and were never turned over
    seen, seen_others: those that were, and lie face down again
    """
    cards = unseen + unseen_others
    if cards == 0:
        return 0.0

    def second(same: int, other: int, seen_same: int, seen_other: int) -> float:
        # One card is up; the second: a seen one of its colour, an unseen one, a seen one of the other colour.
        ways = []
        if seen_same:
            ways.append(fewest_mismatches(same, other, seen_same - 1, seen_other))
        if same + other:
            match = fewest_mismatches(same - 1, other, seen_same, seen_other) if same else 0.0
            none = 1 + fewest_mismatches(same, other - 1, seen_same + 1, seen_other + 1) if other else 0.0
            ways.append((same * match + other * none) / (same + other))
        if seen_other:
            ways.append(1 + fewest_mismatches(same, other, seen_same + 1, seen_other))
        return min(ways)

    # An unseen card tells more if it is the first of the two than if it is the second.
    mean = unseen * second(unseen - 1, unseen_others, seen, seen_others) if unseen else 0.0
    if unseen_others:
        mean += unseen_others * second(unseen_others - 1, unseen, seen_others, seen)
    return mean / cards


def remembering_cards(n_decks: int) -> float:
    """The mean return of Concentration with two colours for who forgets nothing."""
    cards = SUITS * RANKS * n_decks
    # All pairs together bring 1, and two cards that do not match cost one part in the number of cards.
    return 1 - fewest_mismatches(cards // 2, cards // 2) / cards


def best_level(name: str, difficulty: str) -> float | None:
    """The best expected return of a task, None where it is not known."""
    if name in (*ALWAYS_RIGHT, *BALANCED):
        return 1.0
    if name == "HigherLower":
        return counting_cards(1 + DIFFICULTIES.index(difficulty))
    if name == "Concentration" and difficulty != "Hard":
        return remembering_cards(1 + DIFFICULTIES.index(difficulty))
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
