"""Associative retrieval: letters with digits, then one of the letters, whose digit is wanted.

    python -m benchmarks.science.retrieval [--sizes 20 50] [--networks ...] [--seeds 0 1 2] [--folder FOLDER]

The task of Ba, Hinton, Mnih, Leibo & Ionescu ("Using Fast Weights to Attend to the Recent Past", NIPS 2016,
section 4.1), by supervised learning: `c9k8j3f1??c` should give 9. Theirs are 100,000 sequences to train on;
here every update draws fresh ones, and 20,000 others are the test. Plain networks have three times the
updates, and a smaller learning rate. Plastic ones have a tenth of the rate for w and alpha, without which
some trainings break.

Every run is a small file of its own in the folder, by default `benchmarks/results/retrieval`: a second call
trains only what is missing, or what other settings were used for. At the end the table is written.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from benchmarks.science.meta import meta_train, updates_to
from benchmarks.science.sweep import Result, Run, make_parser, read_runs, train_missing
from plastic_rl.analysis.tables import markdown_table
from plastic_rl.envs import Episodes
from plastic_rl.envs.sampling import draw_distinct

FOLDER = Path(__file__).parents[1] / "results" / "retrieval"
SIZES = (20, 50, 100)
UPDATES, PLAIN_UPDATES, BATCH = 6_000, 20_000, 128
LETTERS, DIGITS = 26, 10

NETWORKS: dict[str, dict[str, Any]] = {
    "rnn, modulated, two core steps": {"rule": "modulated", "core_steps": 2, "trace_clip": 1.0},
    "rnn, modulated": {"rule": "modulated", "trace_clip": 1.0},
    "rnn, hebb, two core steps": {"rule": "hebb", "core_steps": 2},
    "lstm, modulated, two core steps": {
        "cell": "lstm",
        "rule": "modulated",
        "core_steps": 2,
        "trace_clip": 1.0,
    },
    "lstm": {"cell": "lstm", "alpha": "none"},
    "gru": {"cell": "gru", "alpha": "none"},
    "rnn": {"alpha": "none"},
}


class RetrievalTask:
    """Pairs of a letter and a digit, two question marks, and one of the letters again.

    An observation is one of 37 symbols, one-hot: letters, digits, the question mark. No letter comes twice;
    digits may.

    Args:
        n_pairs: at least 1, at most 26.
    """

    def __init__(self, n_pairs: int = 4) -> None:
        self.n_pairs = n_pairs
        self.episode_length = 2 * n_pairs + 3
        self.observation_space = spaces.Box(0, 1, (LETTERS + DIGITS + 1,), np.float32)
        self.action_space = spaces.Discrete(DIGITS)

    def sample_episodes(self, batch: int, rng: np.random.Generator) -> Episodes:
        """Draw episodes: observations (T, B, 37), targets (B,), the digits."""
        letters = draw_distinct(rng, batch, LETTERS, self.n_pairs)
        digits = rng.integers(DIGITS, size=(batch, self.n_pairs))
        asked = rng.integers(self.n_pairs, size=batch)
        symbols = np.full((batch, self.episode_length), LETTERS + DIGITS)
        symbols[:, 0 : 2 * self.n_pairs : 2] = letters
        symbols[:, 1 : 2 * self.n_pairs : 2] = LETTERS + digits
        symbols[:, -1] = letters[np.arange(batch), asked]
        observations = np.eye(LETTERS + DIGITS + 1, dtype=np.float32)[symbols.T]
        return Episodes(observations, digits[np.arange(batch), asked])

    def score(self, episodes: Episodes, actions: NDArray[Any]) -> NDArray[Any]:
        """1 where the digit is right, otherwise 0; (B,)."""
        return (np.asarray(actions) == episodes.targets).astype(np.float32)


def settings(name: str, size: int) -> dict[str, Any]:
    """What a run is trained with, in plain values."""
    plain = NETWORKS[name].get("alpha") == "none"
    scale: dict[str, Any] = {} if plain else {"core_lr_scale": 0.1}
    return {
        "n_pairs": 4,
        "updates": PLAIN_UPDATES if plain else UPDATES,
        "batch_size": BATCH,
        "learning_rate": 0.003 if plain else 0.01,
        "max_grad_norm": 1.0,
        "policy_kwargs": {"hidden_size": size, **NETWORKS[name], **scale},
    }


def train(run: Run) -> Result:
    """One run: its errors in training and in the test, and how long it took."""
    return meta_train(RetrievalTask(run.settings["n_pairs"]), run.settings, run.seed)


def table(runs: dict[str, dict[str, list[Result]]]) -> str:
    """Markdown: per size and network the test's error of every seed, and what it took."""
    columns = ["units", "network", "weights", "wrong answers of each seed, %", "updates to 1 %", "CPU s"]
    rows = []
    for size, networks in runs.items():
        for name, records in networks.items():
            each = ", ".join(f"{100 * record['error']:.2f}" for record in records)
            reached = ", ".join(updates_to(record["curve"], 0.01) for record in records)
            seconds = np.mean([record["processor_seconds"] for record in records])
            rows.append((size, name, f"{records[0]['weights']:,}", each, reached, f"{seconds:,.0f}"))
    return markdown_table(columns, rows) + "\n"


def main() -> None:
    """Train what is missing, then write the table."""
    parser = make_parser(__doc__, NETWORKS, FOLDER)
    parser.add_argument("--sizes", type=int, nargs="+", default=[20, 50], choices=SIZES)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    wanted = [
        Run(str(size), name, seed, settings(name, size))
        for seed in arguments.seeds
        for size in arguments.sizes
        for name in arguments.networks
    ]
    train_missing(
        arguments.folder,
        wanted,
        train,
        lambda _, result: f"{100 * result['error']:.2f} % wrong in {result['processor_seconds']} CPU s",
    )
    text = table(read_runs(arguments.folder, {str(size): list(NETWORKS) for size in SIZES}))
    (arguments.folder / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
