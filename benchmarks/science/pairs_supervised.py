"""The pairs of PlasticPairs-v0 by supervised learning: plastic and plain networks of 16,000 weights.

    python -m benchmarks.science.pairs_supervised [--n-pairs 4 8 16] [--networks ...] [--seeds 0 1 2]

Each pair is shown once, then one of them is asked for (`plastic_rl.envs.PairsTask`). Plain networks have ten
times the updates. Every run is a small file of its own in the folder, by default
`benchmarks/results/pairs_supervised`: a second call trains only what is missing, or what other settings were
used for. At the end the table is written.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import plastic_rl
from benchmarks.science.meta import meta_train, updates_to
from benchmarks.science.sweep import Result, Run, largest_size, make_parser, read_runs, train_missing
from plastic_rl.analysis.tables import markdown_table, with_interval
from plastic_rl.envs import PairsTask

FOLDER = Path(__file__).parents[1] / "results" / "pairs_supervised"
N_PAIRS = (2, 4, 8, 16, 32)
WEIGHTS = 16_000
UPDATES, PLAIN_UPDATES, BATCH = 2_000, 20_000, 64

NETWORKS: dict[str, dict[str, Any]] = {
    "rnn modulated": {"rule": "modulated", "core_steps": 2},
    "rnn hebb": {"rule": "hebb", "core_steps": 2},
    "gru modulated": {"cell": "gru", "rule": "modulated", "core_steps": 2},
    "lstm modulated": {"cell": "lstm", "rule": "modulated", "core_steps": 2},
    "gru none": {"cell": "gru", "alpha": "none"},
    "lstm none": {"cell": "lstm", "alpha": "none"},
    "rnn none": {"alpha": "none"},
}


@cache
def hidden_size_of(name: str) -> int:
    """The largest number of neurons with no more than so many weights."""
    task = PairsTask(8)

    def count(hidden_size: int) -> int:
        options = {"hidden_size": hidden_size, **NETWORKS[name]}
        policy = plastic_rl.policies.PlasticRNNPolicy(
            task.observation_space, task.action_space, lambda _: 0.0, **options
        )
        return sum(one.numel() for one in policy.parameters())

    return largest_size(count, WEIGHTS)


def settings(name: str) -> dict[str, Any]:
    """What a run is trained with, in plain values."""
    return {
        "updates": PLAIN_UPDATES if NETWORKS[name].get("alpha") == "none" else UPDATES,
        "batch_size": BATCH,
        "learning_rate": 0.003,
        "max_grad_norm": 1.0,
        "policy_kwargs": {"hidden_size": hidden_size_of(name), **NETWORKS[name]},
    }


def train(run: Run) -> Result:
    """One run: its errors in training and in the test, and how long it took."""
    return meta_train(PairsTask(int(run.group)), run.settings, run.seed)


def table(runs: dict[str, dict[str, list[Result]]]) -> str:
    """Markdown: per number of pairs and network what was answered in the test, and what it took."""
    columns = ["pairs", "network", "weights", "answered", "each seed", "updates to .90", "CPU s"]
    rows = []
    for n_pairs, networks in runs.items():
        for name, records in networks.items():
            shares = 1 - np.array([record["error"] for record in records])
            rows.append(
                (
                    n_pairs,
                    name,
                    f"{records[0]['weights']:,}",
                    with_interval([shares], form=".3f"),
                    ", ".join(f"{share:.3f}" for share in shares),
                    ", ".join(updates_to(record["curve"], 0.1) for record in records),
                    f"{np.mean([record['processor_seconds'] for record in records]):,.0f}",
                )
            )
    return markdown_table(columns, rows) + "\n"


def main() -> None:
    """Train what is missing, then write the table."""
    parser = make_parser(__doc__, NETWORKS, FOLDER)
    parser.add_argument("--n-pairs", type=int, nargs="+", default=[8], choices=N_PAIRS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    train_missing(
        arguments.folder,
        [
            Run(str(n_pairs), name, seed, settings(name))
            for seed in arguments.seeds
            for n_pairs in arguments.n_pairs
            for name in arguments.networks
        ],
        train,
        lambda _, result: f"{1 - result['error']:.3f} in {result['processor_seconds']} CPU s",
    )
    text = table(read_runs(arguments.folder, {str(n_pairs): list(NETWORKS) for n_pairs in N_PAIRS}))
    (arguments.folder / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
