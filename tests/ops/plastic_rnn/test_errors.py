"""Bad input is refused in one line, before anything runs; the choice of backend is what was asked for."""

import logging
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from plastic_rl.ops.plastic_rnn import (
    PlasticParams,
    PlasticState,
    backends,
    initial_state,
    plastic_rnn,
    plastic_rnn_step_,
)

T, B, N = 4, 3, 5


def good_arguments() -> dict:
    params = PlasticParams(w=torch.zeros(N, N), alpha=torch.zeros(N, N), eta=torch.tensor(0.1))
    return {
        "x": torch.zeros(T, B, N),
        "params": params,
        "state": initial_state(params, B),
        "episode_starts": torch.zeros(T, B, dtype=torch.bool),
        "clamp": (torch.zeros(T, B, N), torch.zeros(T, B, N, dtype=torch.bool)),
    }


def modulated(params: PlasticParams, **changes) -> PlasticParams:
    complete = replace(
        params,
        rule="modulated",
        eta=None,
        w_m=torch.zeros(N),
        b_m=torch.tensor(0.0),
        fan_out=torch.zeros(N),
    )
    return replace(complete, **changes)


def with_nan(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.clone()
    tensor.view(-1)[-1] = torch.nan
    return tensor


def params_changed(**changes):
    return lambda a: a.update(params=replace(a["params"], **changes))


def modulated_changed(**changes):
    return lambda a: a.update(params=modulated(a["params"], **changes))


def state_changed(**changes):
    return lambda a: a.update(state=a["state"]._replace(**changes))


CASES = {
    "no steps": (lambda a: a.update(x=torch.zeros(0, B, N)), r"x must be \(T, B, N\).*got \(0, 3, 5\)"),
    "no batch": (lambda a: a.update(x=torch.zeros(T, 0, N)), r"x must be .*got \(4, 0, 5\)"),
    "no neurons": (lambda a: a.update(x=torch.zeros(T, B, 0)), r"x must be .*got \(4, 3, 0\)"),
    "x 2-D": (lambda a: a.update(x=torch.zeros(B, N)), r"x must be \(T, B, N\).*got \(3, 5\)"),
    "x of integers": (
        lambda a: a.update(x=torch.zeros(T, B, N, dtype=torch.int64)),
        "x must have a floating",
    ),
    "x of another width": (lambda a: a.update(x=torch.zeros(T, B, 6)), "x has 6 neurons, params.w has 5"),
    "x not finite": (lambda a: a.update(x=with_nan(a["x"])), "x must be finite"),
    "x infinite": (lambda a: a.update(x=a["x"] - torch.inf), "x must be finite, got values from -inf"),
    "w not square": (params_changed(w=torch.zeros(N, N + 1)), r"params\.w must be \(N, N\).*got \(5, 6\)"),
    "w empty": (params_changed(w=torch.zeros(0, 0)), r"params\.w must be \(N, N\) with N at least 1"),
    "w not finite": (params_changed(w=with_nan(torch.zeros(N, N))), r"params\.w must be finite"),
    "w of another dtype": (
        params_changed(w=torch.zeros(N, N).double()),
        r"params\.w must have the dtype of x",
    ),
    "w elsewhere": (
        params_changed(w=torch.zeros(N, N, device="meta")),
        r"params\.w must be on the device of x",
    ),
    "alpha of a wrong shape": (
        params_changed(alpha=torch.zeros(N)),
        r"params\.alpha must be \(5, 5\), \(\) or",
    ),
    "alpha not finite": (params_changed(alpha=torch.tensor(torch.inf)), r"params\.alpha must be finite"),
    "eta missing": (params_changed(eta=None), r"params\.eta must be given with rule 'hebb', got None"),
    "eta of a wrong shape": (params_changed(eta=torch.zeros(1)), r"params\.eta must be \(\), got \(1,\)"),
    "eta 0": (
        params_changed(eta=torch.tensor(0.0)),
        r"params\.eta must lie strictly between 0 and 1, got 0\.0",
    ),
    "eta 1": (
        params_changed(eta=torch.tensor(1.0)),
        r"params\.eta must lie strictly between 0 and 1, got 1\.0",
    ),
    "eta nan": (params_changed(eta=torch.tensor(torch.nan)), r"params\.eta must be finite"),
    "eta without alpha": (params_changed(alpha=None), r"params\.eta must be None without alpha"),
    "eta with modulated": (
        modulated_changed(eta=torch.tensor(0.1)),
        r"params\.eta must be None with rule 'modulated'",
    ),
    "w_m missing": (modulated_changed(w_m=None), r"params\.w_m must be given with rule 'modulated'"),
    "b_m missing": (modulated_changed(b_m=None), r"params\.b_m must be given with rule 'modulated'"),
    "fan_out of a wrong shape": (
        modulated_changed(fan_out=torch.zeros(2)),
        r"params\.fan_out must be \(5,\), got \(2,\)",
    ),
    "trace_clip 0": (
        modulated_changed(trace_clip=0.0),
        r"params\.trace_clip must be a finite number above 0",
    ),
    "w_m with hebb": (params_changed(w_m=torch.zeros(N)), r"params\.w_m must be None with rule 'hebb'"),
    "unknown rule": (
        params_changed(rule="hebbian"),
        r"params\.rule must be one of hebb, oja, modulated, retroactive, got 'heb",
    ),
    "no core steps": (
        params_changed(core_steps=0),
        r"params\.core_steps must be an integer of at least 1, got 0",
    ),
    "half a core step": (
        params_changed(core_steps=1.5),
        r"params\.core_steps must be an integer of at least 1, got 1\.5",
    ),
    "a flag as core steps": (
        params_changed(core_steps=True),
        r"params\.core_steps must be an integer of at least 1, got True",
    ),
    "unknown activation": (params_changed(activation="gelu"), r"params\.activation must be one of tanh"),
    "hidden of a wrong shape": (
        state_changed(hidden=torch.zeros(B, N + 1)),
        r"state\.hidden must be \(3, 5\), got \(3, 6\)",
    ),
    "hidden not finite": (state_changed(hidden=with_nan(torch.zeros(B, N))), r"state\.hidden must be finite"),
    "trace of a plain network": (
        state_changed(trace=torch.zeros(B, 0, 0)),
        r"state\.trace must be \(3, 5, 5\), got \(3, 0, 0\)",
    ),
    "trace not finite": (state_changed(trace=with_nan(torch.zeros(B, N, N))), r"state\.trace must be finite"),
    "trace of another dtype": (
        state_changed(trace=torch.zeros(B, N, N).double()),
        r"state\.trace must have the dtype of x",
    ),
    "starts of a wrong shape": (
        lambda a: a.update(episode_starts=torch.zeros(B, T, dtype=torch.bool)),
        r"episode_starts must be \(4, 3\), got \(3, 4\)",
    ),
    "starts that are no flags": (
        lambda a: a.update(episode_starts=torch.full((T, B), 0.5)),
        "episode_starts must be bool, or 0 and 1",
    ),
    "clamp values of a wrong shape": (
        lambda a: a.update(clamp=(torch.zeros(T, B, 1), a["clamp"][1])),
        r"clamp values must be \(4, 3, 5\), got \(4, 3, 1\)",
    ),
    "clamp mask of numbers": (
        lambda a: a.update(clamp=(a["clamp"][0], a["clamp"][1].float())),
        r"clamp mask must be bool, got torch\.float32",
    ),
    "repeats of a wrong shape": (
        lambda a: a.update(repeats=torch.ones(T, B, dtype=torch.int64)),
        r"repeats must be \(4,\), got \(4, 3\)",
    ),
    "repeats of another dtype": (
        lambda a: a.update(repeats=torch.ones(T)),
        r"repeats must have an integer dtype, got torch\.float32",
    ),
    "repeats of zero": (
        lambda a: a.update(repeats=torch.tensor([1, 1, 0, 1])),
        "repeats must be at least 1, got 0",
    ),
    "repeats where nothing is clamped": (
        lambda a: a.update(clamp=None, repeats=torch.tensor([1, 2, 1, 1])),
        r"repeats must be 1 where a neuron is not clamped, got repeats\[1\] = 2",
    ),
    "repeats where one neuron of one row is free": (
        lambda a: (
            a["clamp"][1].fill_(True)[2, 1].__setitem__(0, False),
            a.update(repeats=torch.tensor([3, 1, 2, 2])),
        ),
        r"repeats must be 1 where a neuron is not clamped, got repeats\[2\] = 2",
    ),
    "clamp values not finite where masked": (
        lambda a: a.update(clamp=(a["clamp"][0] + torch.nan, ~a["clamp"][1])),
        "clamp values .* must be finite",
    ),
}


def no_backend_runs(monkeypatch):
    for backend in backends.BACKENDS.values():
        for form in ("sequence", "step", "tape"):
            monkeypatch.setattr(backend, form, lambda *_: pytest.fail("a backend was reached"))


@pytest.mark.parametrize("backend", backends.backend_names())
@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_refused(case, backend, monkeypatch):
    change, message = CASES[case]
    arguments = good_arguments()
    change(arguments)
    no_backend_runs(monkeypatch)
    if backend == "numba" and arguments["x"].dtype != torch.float32:
        message = "backend 'numba' takes float32 on the CPU"
    if backend == "triton":
        message = "backend 'triton' takes float32 on CUDA"
    with pytest.raises(ValueError, match=message) as error:
        plastic_rnn(**arguments, backend=backend)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_good_input_is_taken(backend):
    arguments = good_arguments()
    # Clamp values count only where the mask is true.
    arguments["clamp"] = (torch.full((T, B, N), torch.nan), arguments["clamp"][1])
    y, state = plastic_rnn(**arguments, backend=backend)
    assert torch.equal(y, torch.zeros(T, B, N))
    assert state.trace.shape == (B, N, N)
    plastic_rnn(arguments["x"], modulated(arguments["params"]), backend=backend)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(T, B, N)}, r"x must be \(B, N\).*got \(4, 3, 5\)"),
        ({"x": torch.zeros(2, N)}, r"state\.hidden must be \(2, 5\), got \(3, 5\)"),
        ({"x": torch.zeros(B, N, device="meta")}, "must be on the device of x, meta, got cpu"),
        ({"episode_start": torch.zeros(T)}, r"episode_starts must be \(3,\), got \(4,\)"),
        (
            {"state": PlasticState(torch.zeros(B, N), torch.zeros(B, 0, 0))},
            r"state\.trace must be \(3, 5, 5\)",
        ),
    ],
)
def test_a_bad_step_is_refused(change, message):
    arguments = good_arguments()
    step = {"x": torch.zeros(B, N), "params": arguments["params"], "state": arguments["state"]}
    with pytest.raises(ValueError, match=message):
        plastic_rnn_step_(**(step | change))


def test_initial_state_needs_a_batch():
    with pytest.raises(ValueError, match="batch_size must be an integer of at least 1, got 0"):
        initial_state(good_arguments()["params"], 0)


def test_an_explicit_backend_that_cannot_run_says_why(monkeypatch):
    arguments = good_arguments()
    with pytest.raises(ValueError, match="backend must be one of auto, numba, triton, reference, got 'cuda'"):
        plastic_rnn(**arguments, backend="cuda")
    params = PlasticParams(w=torch.zeros(N, N).double())
    with pytest.raises(ValueError, match=r"float32 on the CPU, got torch\.float64 on cpu"):
        plastic_rnn(torch.zeros(T, B, N).double(), params, backend="numba")
    monkeypatch.setattr(backends.BACKENDS["numba"], "_installed", False)
    with pytest.raises(RuntimeError, match="python -m pip install numba"):
        plastic_rnn(**arguments, backend="numba")


@pytest.mark.parametrize(
    ("dtype", "installed", "expected", "level"),
    [
        (torch.float32, True, "numba", logging.INFO),
        (torch.float32, False, "reference", logging.WARNING),
        (torch.float64, True, "reference", logging.INFO),
    ],
)
def test_auto_logs_its_choice_once(monkeypatch, caplog, dtype, installed, expected, level):
    monkeypatch.setattr(backends.BACKENDS["numba"], "_installed", installed)
    backends._say.cache_clear()
    x, params = torch.zeros(1, dtype=dtype), good_arguments()["params"]
    with caplog.at_level(logging.INFO, logger="plastic_rl"):
        choices = [backends.choose_backend("auto", x, params) for _ in range(3)]
    backends._say.cache_clear()
    assert choices == [backends.BACKENDS[expected]] * 3
    assert [record.levelno for record in caplog.records] == [level]
    assert expected in caplog.text


def test_auto_takes_what_it_says(make_problem):
    problem = make_problem()
    for dtype, backend in ((torch.float32, "numba"), (torch.float64, "reference")):
        assert torch.equal(problem.run("auto", dtype)["y"], problem.run(backend, dtype)["y"])


def test_importing_the_operator_imports_no_compiler():
    code = "import sys, plastic_rl.ops.plastic_rnn; sys.exit(len({'numba', 'triton'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
