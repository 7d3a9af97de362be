"""The triton backend without a GPU: its kernels interpreted and compiled, and what it is chosen for."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from plastic_rl.ops.plastic_rnn import ACTIVATIONS, BACKENDS, CELLS, PlasticParams, Refusal, backends
from plastic_rl.ops.plastic_rnn.triton import TritonBackend, memory

HERE = Path(__file__).parent


def version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(".")[:2])


@pytest.mark.slow
@pytest.mark.long
def test_the_kernels_in_the_interpreter():
    """In a process of its own: triton looks at the variable when it is imported."""
    triton = pytest.importorskip("triton")
    if version(triton.__version__) < (3, 9) and version(np.__version__) >= (2, 4):
        pytest.skip("interpreters before triton 3.9 do not know numpy 2.4")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-n",
        "0",
        "-q",
        "-p",
        "no:cacheprovider",
        HERE / "test_kernels.py",
        HERE / "test_captured.py",
    ]
    done = subprocess.run(
        command,
        env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        cwd=HERE.parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout


def variants():
    from plastic_rl.ops.plastic_rnn.triton import neurons, traces

    blocks = {"BE": 4, "BI": 16, "BJ": 32, "NP": 256}
    for second in (False, True):
        common = blocks | {"SECOND": second, "CLIP": second}
        yield traces.read_out, common | {"UPDATE": True, "FRESH": True}
        yield traces.read_out, common
        yield traces.update, common | {"RESET": True}
        yield traces.back, common | {"READ": True, "LAST": True, "FRESH": True, "UPDATE": True}
        yield traces.back, common | {"READ": True, "ZERO": True}
        yield traces.back, common | {"FRESH": True, "UPDATE": True}
    for cell, rule in enumerate((2, 0, 3)):
        common = blocks | {"CELL": cell, "ACT": cell, "RULE": rule, "CLAMPED": True, "FRESH": True}
        yield neurons.fire, common
        yield neurons.fire_back, common | {"LAST": True, "CARRIED": True, "SUMS": True}
        yield neurons.fire_back, common | {"RULE": -1, "ACT": 3}


# Of each, whatever it is called: the others are pointers to float32.
KINDS = (
    {"clip": "fp32"}
    | dict.fromkeys(("starts", "masks"), "*u8")
    | dict.fromkeys(("N", "parts_i", "parts_j"), "i32")
)


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
def test_the_kernels_compile_for_gpus(capability, monkeypatch, tmp_path):
    """To machine code, which needs no GPU."""
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    target = GPUTarget("cuda", capability, 32)
    for kernel, values in variants():
        constants = {p.name: values.get(p.name, False) for p in kernel.params if p.is_constexpr}
        kinds = {
            p.name: "constexpr"
            if p.is_constexpr
            else "i32"
            if p.do_not_specialize
            else KINDS.get(p.name, "*fp32")
            for p in kernel.params
        }
        options = {"num_warps": 4, "enable_fp_fusion": True}
        compiled = triton.compile(ASTSource(kernel, kinds, constants), target=target, options=options)
        assert compiled.asm["cubin"]


def test_every_kth_trace_is_kept_where_they_do_not_all_fit():
    for steps in (1, 2, 50, 1000):
        assert memory.spacing_within(steps, steps) == 1
        for traces in (0.5, 2, 26, 30, 64, 501, 999.5):
            k = memory.spacing_within(min(traces, steps - 0.5), steps)
            room = -(-steps // k) + k
            fewest = min(-(-steps // other) + other for other in range(1, steps + 1))
            # It fits, and with no smaller one; or there is none, and it is within one of the best.
            if fewest <= traces:
                assert room <= traces
                assert all(-(-steps // other) + other > traces for other in range(2, k))
            else:
                assert room <= fewest + 1
    trace = torch.empty(2, 3, 3)
    assert memory.spacing(trace, 50, False, None) == 1
    assert memory.spacing(trace, 50, False, 7) == 7
    assert memory.spacing(trace, 5, False, 7) == 5


def test_it_is_chosen_by_free_memory(monkeypatch):
    """Half of what is free, or is torch's and not used, may go into traces; a second trace is one more."""
    trace = SimpleNamespace(device=torch.device("cuda:0"), numel=lambda: 1000)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (300_000, 10**9))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 150_000)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 50_000)
    assert memory.spacing(trace, 50, False, None) == 1  # room for exactly 50
    assert memory.spacing(trace, 51, False, None) == 2
    assert memory.spacing(trace, 50, True, None) == memory.spacing_within(25, 50) > 1


def on(device, dtype=torch.float32):
    """What a choice looks at."""
    return SimpleNamespace(dtype=dtype, device=torch.device(device))


PARAMS = PlasticParams(torch.zeros(2, 2), torch.zeros(2, 2), torch.tensor(0.1))


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr(BACKENDS["triton"], "_installed", True)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)


def test_auto_takes_it_on_cuda(installed):
    for device, dtype, name in (
        ("cuda:1", torch.float32, "triton"),
        ("cuda", torch.float64, "reference"),
        ("cpu", torch.float32, "numba"),
    ):
        assert backends.choose_backend("auto", on(device, dtype), PARAMS) is BACKENDS[name]


@pytest.mark.parametrize(
    ("device", "dtype", "message"),
    [
        ("cpu", torch.float32, "takes float32 on CUDA, got torch.float32 on cpu: use"),
        ("cuda", torch.float64, "takes float32 on CUDA, got torch.float64 on cuda: use"),
    ],
)
def test_what_it_does_not_take_is_refused(installed, device, dtype, message):
    with pytest.raises(ValueError, match=message):
        backends.choose_backend("triton", on(device, dtype), PARAMS)


def test_a_rule_without_a_kernel_is_refused(installed, monkeypatch, caplog):
    from plastic_rl.ops.plastic_rnn import register_rule, rules

    monkeypatch.setattr(rules, "_RULES", dict(rules._RULES))
    register_rule("own", lambda y, params: (1 - params.eta, params.eta * y))
    own = PlasticParams(torch.zeros(2, 2), torch.zeros(2, 2), torch.tensor(0.1), rule="own")
    message = "has kernels for the rules hebb, oja, modulated, retroactive, got 'own'"
    with pytest.raises(ValueError, match=message):
        backends.choose_backend("triton", on("cuda"), own)
    backends._say.cache_clear()
    assert backends.choose_backend("auto", on("cuda"), own) is BACKENDS["reference"]
    backends._say.cache_clear()
    assert f"many times slower than 'triton', which {message}" in caplog.text


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"cell": "gru"}, "has kernels for the cells rnn, lstm, got 'gru'"),
        ({"activation": "relu"}, "has kernels for the activations tanh, sigmoid, linear, got 'relu'"),
    ],
)
def test_a_cell_or_an_activation_without_a_kernel_is_refused(installed, monkeypatch, changed, message):
    monkeypatch.setitem(CELLS, "gru", replace(CELLS["gru"], code=None))
    monkeypatch.setitem(ACTIVATIONS, "relu", ACTIVATIONS["relu"]._replace(code=None))
    with pytest.raises(ValueError, match=f"backend 'triton' {message}: use"):
        backends.choose_backend("triton", on("cuda"), replace(PARAMS, **changed))


def test_without_the_package_it_says_how_to_get_it(monkeypatch):
    backend = TritonBackend()
    monkeypatch.setattr(backend, "_installed", False)
    refusal = backend.can_run(on("cuda"), PARAMS)
    assert isinstance(refusal, Refusal)
    assert refusal.avoidable
    assert refusal.error is RuntimeError
    assert "python -m pip install triton" in refusal.reason


def test_a_spacing_below_one_is_refused():
    with pytest.raises(ValueError, match="trace_spacing must be an integer of at least 1, got 0"):
        TritonBackend(0)
