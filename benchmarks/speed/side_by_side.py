"""What k small networks trained side by side in one process could gain: the most that sharing Python saves.

    python -m benchmarks.speed.side_by_side [--hidden-size 64] [--updates 40] [--repeats 3]

Python costs the same for a step of 32 environments and of 256. A training of k times as many environments
therefore costs what k trainings with one set of calls would cost at the least: parameters with a leading
axis read k times as many weights, and are no quicker. Processor time, one thread, the fastest repeat.
"""

import argparse
import time

import torch

import plastic_rl
from plastic_rl.analysis.tables import markdown_table
from plastic_rl.ops.plastic_rnn import torch_in_one_thread
from plastic_rl.policies import PlasticRNN

ENV_ID = "PlasticMaze-v0"
COUNTS = (1, 2, 4, 8, 16)


def training(envs: int, hidden_size: int, updates: int) -> float:
    """Processor seconds of a step of one environment."""
    env = plastic_rl.make_vec_env(ENV_ID, envs, env_kwargs={"render_mode": None})
    overrides = {"policy_kwargs": {"hidden_size": hidden_size}}
    model = plastic_rl.PlasticA2C(
        env=env, **plastic_rl.hyperparams(ENV_ID, overrides=overrides), device="cpu"
    )
    model.learn(2 * model.n_steps * envs)
    start = time.process_time()
    model.learn(updates * model.n_steps * envs, log_interval=10**9)
    return (time.process_time() - start) / (updates * model.n_steps * envs)


def operator(envs: int, hidden_size: int, calls: int, repeats: int = 20) -> float:
    """Processor seconds of a step of one environment in the operator alone, forward and backward."""
    core = PlasticRNN(10, hidden_size, rule="modulated")
    x = torch.randn(50, envs, 10)
    with torch_in_one_thread():
        for count in (1, repeats):
            start = time.process_time()
            for _ in range(count * calls):
                core(x, core.initial_state(envs))[0].sum().backward()
    return (time.process_time() - start) / (50 * envs * calls * repeats)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hidden-size", type=int, default=64)
    parser.add_argument("--envs", type=int, default=16, help="of each network")
    parser.add_argument("--updates", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for count in COUNTS:
        size, envs = arguments.hidden_size, count * arguments.envs
        whole = min(training(envs, size, arguments.updates) for _ in range(arguments.repeats))
        inner = min(operator(envs, size, 1) for _ in range(arguments.repeats))
        each = min(operator(arguments.envs, size, count) for _ in range(arguments.repeats))
        rows.append((count, f"{1e6 * whole:.1f}", f"{1e6 * inner:.1f}", f"{1e6 * each:.1f}"))
    columns = ["networks", "training, one set of calls", "operator, one call", "operator, a call for each"]
    print(f"Microseconds per step, {arguments.hidden_size} neurons, {arguments.envs} environments each")
    print(markdown_table(columns, rows))


if __name__ == "__main__":
    main()
