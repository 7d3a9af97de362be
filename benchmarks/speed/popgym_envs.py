"""What POPGym's tasks cost: processor time of a step, and its share of whole trainings.

    python -m benchmarks.speed.popgym_envs [--difficulty Easy] [--condition "PPO gru hebb"] [--repeats 5]

Every row is a task in 16 environments one after the other, as POPGym's sweeps train on it, with random
actions: microseconds a step of one environment, median of the repeats, and what part they are of the time
per step of the condition's finished runs. That is an estimate: random actions may end episodes sooner or
later than a trained agent's, and the runs may be of another machine.
"""

import argparse
import time
from statistics import median

import numpy as np

import plastic_rl
from benchmarks.science.popgym_levels import DIFFICULTIES
from benchmarks.science.popgym_report import of_difficulty, read_finished
from plastic_rl.analysis.tables import markdown_table

N_ENVS, STEPS = 16, 200


def step_cost(task: str, repeats: int) -> float:
    """Processor seconds of one step of one environment; task: such as AutoencodeEasy."""
    env = plastic_rl.make_vec_env(f"benchmarks.science.popgym_tasks:Popgym{task}-v0", N_ENVS, seed=0)
    env.action_space.seed(0)
    env.reset()
    costs = []
    for _ in range(repeats):
        actions = [np.array([env.action_space.sample() for _ in range(N_ENVS)]) for _ in range(STEPS)]
        begin = time.process_time()
        for each in actions:
            env.step(each)
        costs.append((time.process_time() - begin) / STEPS / N_ENVS)
    env.close()
    return median(costs)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--difficulty", choices=DIFFICULTIES, default="Easy")
    parser.add_argument("--condition", default="PPO gru hebb")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    finished = read_finished()
    rows = []
    for task in of_difficulty(finished, arguments.difficulty):
        results = [run.result() for run in finished[task].get(arguments.condition, [])]
        known = [result for result in results if result is not None]
        if not known:
            continue
        cost = step_cost(task, arguments.repeats)
        whole = float(np.mean([result["processor_seconds"] / result["steps"] for result in known]))
        name = task.removesuffix(arguments.difficulty)
        rows.append((name, f"{1e6 * cost:.0f}", f"{1e6 * whole:.0f}", f"{100 * cost / whole:.0f} %"))
    if not rows:
        parser.error(f"no run of {arguments.condition!r} is finished in {arguments.difficulty}")
    columns = ["task", "environment, us a step", "training, us a step", "share"]
    print(markdown_table(columns, rows))


if __name__ == "__main__":
    main()
