"""Lesions of networks that answer pairs."""

import torch

from benchmarks.science import pairs_lesions
from benchmarks.science.pairs_networks import run_name, settings
from benchmarks.science.sweep import Run
from plastic_rl.policies import PlasticRNN


def test_gates_are_silenced_and_come_back() -> None:
    torch.manual_seed(0)
    core = PlasticRNN(5, 4, cell="gru")
    features, state = torch.randn(3, 5), core.initial_state(3)
    _, state = core.step(features, state)
    before, given = core.gates(features, state), core.drive.weight.detach().clone()
    with pairs_lesions.silenced_gates(core):
        gates = core.gates(features, state)
        assert (gates["z"] < 1e-6).all()
        assert (gates["r"] > 1 - 1e-6).all()
        assert torch.equal(core.drive.weight[8:], given[8:])
    after = core.gates(features, state)
    assert all(torch.equal(before[name], after[name]) for name in ("r", "z"))


def test_the_table_has_a_row_for_each_lesion() -> None:
    rnn = {"answered": dict.fromkeys(pairs_lesions.LESIONS, 0.5)}
    gru = {"answered": {**rnn["answered"], pairs_lesions.GATES: 0.25}}
    rows = pairs_lesions.table({"rnn hebb": [rnn], "gru modulated": [gru]}).splitlines()
    assert rows[2] == "| intact | 0.500 | 0.500 |"
    assert rows[-1] == "| gates silenced |  | 0.250 |"


def test_what_is_kept_was_trained_with_these_settings() -> None:
    kept = 0
    for network in pairs_lesions.NETWORKS:
        given = settings(run_name(network, pairs_lesions.WEIGHTS), pairs_lesions.N_PAIRS)
        for seed in range(3):
            run = Run(f"pairs_{pairs_lesions.N_PAIRS}", network, seed, given)
            assert run.is_stored(pairs_lesions.FOLDER)
            kept += 1
    assert kept == len(list(pairs_lesions.FOLDER.glob("*/*.json")))
