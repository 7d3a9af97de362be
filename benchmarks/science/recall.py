"""Multi-query associative recall: keys with values, then each key once more, whose value is wanted at once.

    python -m benchmarks.science.recall [--networks ...] [--sizes 64] [--epochs 4] [--seeds 0]

The task of Arora, Eyuboglu, Timalsina, Johnson, Poli, Zou, Rudra & Re ("Zoology: Measuring and Improving
Recall in Efficient Language Models", ICLR 2024) in the smallest setting of its Figure 2: 4 pairs in sequences
of 64 tokens out of 8,192, half of them keys and half values, 100,000 sequences to train on, 3,000 others for
the test, 64 numbers for each token. Theirs are networks of two or four layers, trained for 64 epochs with the
best of four learning rates; here it is one layer, with few epochs and one rate.

With a plastic core `w` and `alpha` have a tenth of that rate: with all of it, the loss falls within some
hundred updates and then rises beyond that of guessing.

Every run is a small file of its own in the folder, by default `benchmarks/results/recall`: a second call
trains only what is missing, or what other settings were used for. At the end the table is written.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.science.sweep import Result, Run, make_parser, read_runs, train_missing
from plastic_rl.analysis.tables import markdown_table
from plastic_rl.envs.sampling import draw_distinct
from plastic_rl.policies import PlasticRNN
from plastic_rl.policies.core import rate_groups

FOLDER = Path(__file__).parents[1] / "results" / "recall"
VOCABULARY, LENGTH, PAIRS = 8_192, 64, 4
SEQUENCES, TEST_SEQUENCES, TEST_SEED = 100_000, 3_000, 10_000
SIZES = (64, 128, 256)
BATCH = 128
# The gap between a pair and its question follows a power law: 1 would be uniform.
POWER = 0.01

NETWORKS: dict[str, dict[str, Any]] = {
    "rnn modulated, two core steps": {"rule": "modulated", "core_steps": 2, "trace_clip": 1.0},
    "rnn modulated": {"rule": "modulated", "trace_clip": 1.0},
    "gru none": {"cell": "gru", "alpha": "none"},
    "lstm none": {"cell": "lstm", "alpha": "none"},
}


def draw_sequences(
    rng: np.random.Generator, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Tokens (LENGTH, count), and when each pair is asked for and its value, both (PAIRS, count).

    Token 0 stands where there is nothing; keys are the tokens below half of the vocabulary.
    """
    half = VOCABULARY // 2
    keys = 1 + draw_distinct(rng, count, half - 1, PAIRS)
    values = half + draw_distinct(rng, count, half, PAIRS)
    places = (LENGTH - 2 * PAIRS) // 2
    weights = np.arange(1, places + 1) ** (POWER - 1.0)
    # The largest of the logarithms plus Gumbel noise are a draw by weight, without replacement.
    noise = np.log(weights) + rng.gumbel(size=(count, places))
    asked = 2 * PAIRS + 2 * np.argsort(-noise, axis=1)[:, :PAIRS]
    tokens = np.zeros((count, LENGTH), np.int64)
    tokens[:, 0 : 2 * PAIRS : 2] = keys
    tokens[:, 1 : 2 * PAIRS : 2] = values
    np.put_along_axis(tokens, asked, keys, axis=1)
    return tokens.T.copy(), asked.T.copy(), values.T.copy()


class RecallNetwork(nn.Module):
    """A vector for each token, a recurrent core of as many neurons, and the tokens' vectors as read-out.

    Args:
        size: numbers for each token, and neurons.
        **options: of the core, see `PlasticRNN`.
    """

    def __init__(self, size: int, **options: Any) -> None:
        super().__init__()
        self.vectors = nn.Embedding(VOCABULARY, size)
        self.core = PlasticRNN(size, size, **options)
        self.readout = nn.Linear(size, size)

    def forward(self, tokens: Tensor, asked: Tensor) -> Tensor:
        """The tokens' logits at the questions, (PAIRS, B, VOCABULARY).

        tokens: (LENGTH, B)
        asked: when, (PAIRS, B)
        """
        y, _ = self.core(self.vectors(tokens), self.core.initial_state(tokens.shape[1]))
        at = asked.unsqueeze(-1).expand(-1, -1, y.shape[-1])
        return self.readout(y.gather(0, at)) @ self.vectors.weight.T


def settings(name: str, size: int, epochs: int) -> dict[str, Any]:
    """What a run is trained with, in plain values."""
    plastic = NETWORKS[name].get("alpha") != "none"
    return {
        "epochs": epochs,
        "batch_size": BATCH,
        "learning_rate": 0.001,
        "core_lr_scale": 0.1 if plastic else 1.0,
        "max_grad_norm": 1.0,
        "size": size,
        "core": NETWORKS[name],
    }


def train(run: Run) -> Result:
    """One run: the share of right answers in the test after every epoch, and how long it took."""
    given = run.settings
    torch.manual_seed(run.seed)
    rng = np.random.default_rng(run.seed)
    network = RecallNetwork(given["size"], **given["core"])
    groups = rate_groups(network, network.core.scaled_parameters(), given["core_lr_scale"])
    optimizer = torch.optim.Adam(
        [{"params": one["params"], "lr": given["learning_rate"] * one["lr_scale"]} for one in groups]
    )
    updates = given["epochs"] * (SEQUENCES // given["batch_size"])
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, updates)
    sequences = [torch.as_tensor(part) for part in draw_sequences(rng, SEQUENCES)]
    test = draw_sequences(np.random.default_rng(TEST_SEED + run.seed), TEST_SEQUENCES)
    curve: list[float] = []
    processor = time.process_time()
    for _ in range(given["epochs"]):
        order = torch.as_tensor(rng.permutation(SEQUENCES))
        for chosen in order.split(given["batch_size"]):
            if len(chosen) < given["batch_size"]:
                break
            tokens, asked, values = (part[:, chosen] for part in sequences)
            logits = network(tokens, asked)
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), values.flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), given["max_grad_norm"])
            optimizer.step()
            schedule.step()
        curve.append(round(accuracy(network, *(torch.as_tensor(part) for part in test)), 4))
        print(f"epoch {len(curve)}: {curve[-1]:.4f}", flush=True)
    return {
        "accuracy": curve[-1],
        "curve": curve,
        "processor_seconds": round(time.process_time() - processor, 1),
        "weights": sum(one.numel() for one in network.parameters()),
    }


@torch.no_grad()
def accuracy(network: RecallNetwork, tokens: Tensor, asked: Tensor, values: Tensor) -> float:
    """The share of questions that are answered rightly."""
    right = 0
    for part in torch.arange(tokens.shape[1]).split(500):
        right += int((network(tokens[:, part], asked[:, part]).argmax(-1) == values[:, part]).sum())
    return right / values.numel()


def table(runs: dict[str, dict[str, list[Result]]]) -> str:
    """Markdown: per size and network the share of right answers of every seed, and what it took."""
    columns = ["size", "network", "weights", "epochs", "right answers of each seed, %", "CPU s"]
    rows = []
    for size, networks in runs.items():
        for name, records in networks.items():
            each = ", ".join(f"{100 * record['accuracy']:.1f}" for record in records)
            seconds = np.mean([record["processor_seconds"] for record in records])
            epochs = records[0]["settings"]["epochs"]
            rows.append((size, name, f"{records[0]['weights']:,}", epochs, each, f"{seconds:,.0f}"))
    return markdown_table(columns, rows) + "\n"


def main() -> None:
    """Train what is missing, then write the table."""
    parser = make_parser(__doc__, NETWORKS, FOLDER, seeds=[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[64], choices=SIZES)
    parser.add_argument("--epochs", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    train_missing(
        arguments.folder,
        [
            Run(str(size), name, seed, settings(name, size, arguments.epochs))
            for seed in arguments.seeds
            for size in arguments.sizes
            for name in arguments.networks
        ],
        train,
        lambda _, result: f"{100 * result['accuracy']:.1f} % right in {result['processor_seconds']} CPU s",
    )
    text = table(read_runs(arguments.folder, {str(size): list(NETWORKS) for size in SIZES}))
    (arguments.folder / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
