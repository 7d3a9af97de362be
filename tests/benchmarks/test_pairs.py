"""The comparison on PlasticPairs-v0: what its names mean, what it trains, and what is read off."""

import json
from pathlib import Path

import pytest

from plastic_rl.runs.hyperparams import load_config


def test_names_say_network_and_weights():
    from benchmarks.science.pairs_networks import NETWORKS, network_of, run_name

    for network in NETWORKS:
        for weights in (4000, 64000):
            own = NETWORKS[network].algo == "recurrent_ppo"
            assert network_of(run_name(network, weights)) == (network, 0 if own else weights)


@pytest.mark.parametrize(
    "network",
    ["rnn modulated", "gru modulated", "lstm retroactive", "gru hebb", "gru none", "lstm none", "rnn none"],
)
def test_networks_have_the_weights_that_are_asked_for(network: str):
    import plastic_rl
    from benchmarks.science.pairs_networks import settings

    env = plastic_rl.make_vec_env("PlasticPairs-v0", 2)
    given = settings(f"{network}, 16,000", 16)
    for key in ("algo", "n_envs", "n_timesteps"):
        del given[key]
    kwargs = load_config("PlasticPairs-v0", overrides=given).kwargs()
    model = plastic_rl.PlasticA2C(env=env, device="cpu", **kwargs)
    weights = sum(one.numel() for one in model.policy.parameters() if one.requires_grad)
    assert 0.95 * 16_000 < weights <= 16_000
    assert model.n_steps == 4 * 16
    cell, rule = network.split()
    assert given["policy_kwargs"].get("cell", "rnn") == cell
    assert given["policy_kwargs"]["alpha" if rule == "none" else "rule"] == rule


def test_plain_networks_have_at_least_the_steps_of_plastic_ones():
    from benchmarks.science.pairs_networks import NETWORKS, STEPS

    for n_pairs in STEPS:
        plastic = NETWORKS["rnn modulated"].steps[n_pairs]
        plain = ("rnn none", "gru none", "lstm none", "PPO, gru none", "PPO, lstm none")
        assert all(NETWORKS[name].steps[n_pairs] >= plastic for name in plain)


def test_what_is_kept_was_trained_with_these_settings():
    from benchmarks.science.pairs import FOLDER
    from benchmarks.science.pairs_networks import NETWORKS, STEPS, WEIGHTS, run_name, settings
    from benchmarks.science.sweep import Run

    names = {run_name(network, weights) for network in NETWORKS for weights in WEIGHTS}
    kept = 0
    for n_pairs in STEPS:
        for name in names:
            for path in (FOLDER / f"pairs_{n_pairs}").glob(f"{name.replace(' ', '_')}_*.json"):
                stored = json.loads(path.read_text())
                assert Run(path.parent.name, name, stored["seed"], settings(name, n_pairs)).is_stored(FOLDER)
                kept += 1
    assert kept == len(list(FOLDER.glob("pairs_*/*.json"))) > 0


def test_capacity_is_read_off_between_numbers_of_pairs():
    from benchmarks.science.pairs_report import pairs_at

    assert pairs_at(0.95, {4: 0.99, 16: 0.91}) == "8"
    assert pairs_at(0.95, {4: 0.99, 8: 0.96}) == "8 or more"
    assert pairs_at(0.95, {4: 0.9, 8: 0.8}) == "less than 4"


def test_lines_differ_and_another_algorithm_keeps_the_colour():
    from benchmarks.science.pairs_report import DRAWN, style

    lines = {network: style(network) for network in DRAWN}
    assert len({str(line) for line in lines.values()}) == len(DRAWN)
    for network in ("rnn modulated", "gru none", "lstm none"):
        assert lines[f"PPO, {network}"]["color"] == lines[network]["color"]


def test_figures_leave_out_what_only_the_table_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from benchmarks.science import pairs_report

    runs = {
        "pairs_8": {
            f"{network}, 16,000": [{"curve": [(1, 0.5), (2, 0.6)], "answered": 0.6}]
            for network in ("rnn modulated", "gru hebb")
        }
    }
    asked = []

    def style(name: str) -> dict:
        asked.append(name)
        return {}

    monkeypatch.setattr(pairs_report, "style", style)
    pairs_report.draw_curves(tmp_path / "curves.png", runs)
    pairs_report.draw_load(tmp_path / "load.png", runs)
    assert asked == ["rnn modulated, 16,000"] * 2
