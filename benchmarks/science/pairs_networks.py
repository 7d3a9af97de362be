"""The networks that are compared on PlasticPairs-v0: their settings, steps and sizes."""

from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import plastic_rl
from benchmarks.science.sweep import largest_size
from plastic_rl.runs.hyperparams import load_config

ENV_ID = "PlasticPairs-v0"
# Environment steps of the plastic networks.
STEPS = {2: 300_000, 4: 300_000, 8: 600_000, 16: 3_000_000, 32: 6_000_000, 64: 6_000_000}
PLAIN_STEPS = {2: 3_000_000, 4: 3_000_000, 8: 6_000_000, 16: 6_000_000, 32: 6_000_000, 64: 6_000_000}
WEIGHTS = (4_000, 16_000, 64_000)
# With all networks of PlasticA2C, as when the comparison began; zoo_configs/ has half as many again.
N_ENVS = 32
# For w and alpha of the largest plastic networks: with a quarter, as smaller ones have it, 16 pairs break.
LARGE, LARGE_CORE_LR_SCALE = 64_000, 0.1


@dataclass(frozen=True)
class Network:
    """What is compared: an algorithm of the command line, and what is changed of its settings.

    Attributes:
        steps: of the environment, by the number of pairs.
        drawn: whether figures show it; the table has all of them.
    """

    algo: str = "plastic_a2c"
    policy_kwargs: dict[str, Any] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)
    steps: dict[int, int] = field(default_factory=lambda: STEPS)
    drawn: bool = True


def _plain(cell: str, **changes: Any) -> Network:
    policy_kwargs = {"cell": cell, "alpha": "none", "core_steps": 1, "core_lr_scale": 1.0}
    network = Network(policy_kwargs=policy_kwargs, others={"learning_rate": "lin_0.003"}, steps=PLAIN_STEPS)
    return replace(network, **changes)


NETWORKS = {
    "rnn modulated": Network(),
    "gru modulated": Network(policy_kwargs={"cell": "gru"}),
    "lstm modulated": Network(policy_kwargs={"cell": "lstm"}, drawn=False),
    "rnn retroactive": Network(policy_kwargs={"rule": "retroactive"}),
    "gru retroactive": Network(policy_kwargs={"cell": "gru", "rule": "retroactive"}, drawn=False),
    "lstm retroactive": Network(policy_kwargs={"cell": "lstm", "rule": "retroactive"}, drawn=False),
    "rnn hebb": Network(policy_kwargs={"rule": "hebb"}),
    "gru hebb": Network(policy_kwargs={"cell": "gru", "rule": "hebb"}, drawn=False),
    "lstm hebb": Network(policy_kwargs={"cell": "lstm", "rule": "hebb"}, drawn=False),
    "gru none": _plain("gru"),
    "lstm none": _plain("lstm"),
    "rnn none": _plain("rnn"),
    "PPO, rnn modulated": Network(algo="plastic_ppo"),
    "PPO, gru none": _plain("gru", algo="plastic_ppo"),
    "PPO, lstm none": _plain("lstm", algo="plastic_ppo"),
    "RecurrentPPO": Network(algo="recurrent_ppo"),
}


def run_name(network: str, weights: int) -> str:
    """What a network of so many weights is called."""
    return network if NETWORKS[network].algo == "recurrent_ppo" else f"{network}, {weights:,}"


def network_of(name: str) -> tuple[str, int]:
    """The network and its number of weights, 0 where it has its own."""
    network = next(one for one in NETWORKS if name == one or name.startswith(f"{one}, "))
    size = name.removeprefix(network).strip(", ")
    return network, int(size.replace(",", "") or 0)


def _settings(network: Network, n_pairs: int, hidden_size: int | None) -> dict[str, Any]:
    overrides = dict(network.others)
    if network.algo == "plastic_a2c":
        overrides["n_envs"] = N_ENVS
    if hidden_size is not None:
        overrides |= {"n_steps": 4 * n_pairs}
        overrides["policy_kwargs"] = {**network.policy_kwargs, "hidden_size": hidden_size}
    config = load_config(ENV_ID, network.algo, overrides=overrides)
    run = {"algo": network.algo, "n_envs": config.n_envs, "n_timesteps": network.steps[n_pairs]}
    found = {**run, **config.hyperparams}
    if "alpha" in network.policy_kwargs:
        del found["policy_kwargs"]["trace_clip"]  # there is no trace, and the file's bound does nothing
    return found


@cache
def hidden_size_of(name: str, weights: int) -> int:
    """The largest number of neurons with no more than so many weights."""
    env = plastic_rl.make_vec_env(ENV_ID, 1, 0, env_kwargs={"render_mode": None})

    def count(hidden_size: int) -> int:
        options = _settings(NETWORKS[name], 8, hidden_size)["policy_kwargs"]
        policy = plastic_rl.PlasticPolicy(env.observation_space, env.action_space, lambda _: 0.0, **options)
        return sum(one.numel() for one in policy.parameters() if one.requires_grad)

    return largest_size(count, weights)


def settings(name: str, n_pairs: int) -> dict[str, Any]:
    """What a run is trained with, in plain values."""
    network, weights = network_of(name)
    found = _settings(NETWORKS[network], n_pairs, hidden_size_of(network, weights) if weights else None)
    if weights == LARGE and found["policy_kwargs"].get("alpha") == "full":
        found["policy_kwargs"]["core_lr_scale"] = LARGE_CORE_LR_SCALE
    return found
