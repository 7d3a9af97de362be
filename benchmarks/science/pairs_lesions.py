"""Where the pairs are kept: trained networks without their trace, or without their gates.

    python -m benchmarks.science.pairs_lesions [--networks ...] [--seeds 0 1 2] [--folder FOLDER]

Eight pairs, 16,000 weights. Every run trains a network as `benchmarks.science.pairs` does, then answers 256
fresh lifetimes with the most probable actions under each lesion. It is a small file of its own in the folder,
by default `benchmarks/results/pairs_lesions`; at the end the table is written.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from benchmarks.science import pairs
from benchmarks.science.pairs_networks import ENV_ID, run_name, settings
from benchmarks.science.sweep import Result, Run, make_parser, read_runs, train_missing
from plastic_rl.analysis import record_lifetimes
from plastic_rl.analysis.lesions import Lesion, freeze, wipe, wipe_once
from plastic_rl.analysis.tables import markdown_table, with_interval
from plastic_rl.policies import PlasticRNN

FOLDER = Path(__file__).parents[1] / "results" / "pairs_lesions"
NETWORKS = ("rnn modulated", "gru modulated")
N_PAIRS, WEIGHTS = 8, 16_000
# A pair is shown in two steps: from here on questions are asked.
SHOWN = 2 * N_PAIRS

LESIONS: dict[str, tuple[Lesion, ...]] = {
    "intact": (),
    "trace wiped before every step": (wipe(),),
    "trace wiped once after the showing": (wipe_once(SHOWN),),
    "trace frozen after the showing": (freeze(SHOWN),),
    "trace never changes after the first step": (freeze(1),),
}
GATES = "gates silenced"


@contextmanager
def silenced_gates(core: PlasticRNN) -> Iterator[None]:
    """While inside, a gru's core takes the whole of every candidate and resets nothing: z = 0, r = 1."""
    n = core.hidden_size
    assert core.cell == "gru"
    assert core.w_gates is not None
    changed = core.drive.weight, core.drive.bias, core.w_gates
    before = [one.detach().clone() for one in changed]
    with torch.no_grad():
        core.drive.weight[: 2 * n] = 0
        core.w_gates.zero_()
        core.drive.bias[:n], core.drive.bias[n : 2 * n] = 50.0, -50.0
    try:
        yield
    finally:
        with torch.no_grad():
            for one, kept in zip(changed, before, strict=True):
                one.copy_(kept)


def answered(model: BaseAlgorithm, seed: int, lesions: tuple[Lesion, ...]) -> float:
    """The share of right answers under lesions."""
    lives = record_lifetimes(
        model,
        ENV_ID,
        {"n_pairs": N_PAIRS},
        episodes=pairs.LIFETIMES,
        seed=pairs.EVALUATION_SEED + seed,
        deterministic=True,
        lesions=lesions,
    )
    return round(float(lives.returns.mean()) / N_PAIRS, 4)


def train(run: Run) -> Result:
    """One run: what the trained network answers under each lesion."""
    model, _ = pairs.learn(run)
    found = {name: answered(model, run.seed, lesions) for name, lesions in LESIONS.items()}
    core: Any = model.policy.core
    if core.cell == "gru":
        with silenced_gates(core):
            found[GATES] = answered(model, run.seed, ())
    return {"answered": found}


def table(runs: dict[str, list[Result]]) -> str:
    """Markdown: the shares that the networks answer, by lesion; means over seeds and their intervals."""
    columns = ["lesion", *runs]
    rows = [
        (
            lesion,
            *(
                with_interval([np.array([record["answered"][lesion] for record in records])], form=".3f")
                if lesion in records[0]["answered"]
                else ""
                for records in runs.values()
            ),
        )
        for lesion in (*LESIONS, GATES)
    ]
    return markdown_table(columns, rows) + "\n"


def main() -> None:
    """Train what is missing, then write the table."""
    parser = make_parser(__doc__, NETWORKS, FOLDER)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    group = f"pairs_{N_PAIRS}"
    train_missing(
        arguments.folder,
        [
            Run(group, network, seed, settings(run_name(network, WEIGHTS), N_PAIRS))
            for seed in arguments.seeds
            for network in arguments.networks
        ],
        train,
        lambda _, result: str(result["answered"]),
    )
    text = table(read_runs(arguments.folder, {group: NETWORKS})[group])
    (arguments.folder / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
