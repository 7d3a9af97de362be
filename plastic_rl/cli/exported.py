"""What ``plastic-rl export`` does with a model that was saved."""

import argparse

import torch as th

from plastic_rl.cli.errors import CommandError
from plastic_rl.cli.saved import load_agent
from plastic_rl.cli.user_input import bad_input, shown_env
from plastic_rl.export import OnnxAgent, export_onnx, export_program
from plastic_rl.export.check import compare
from plastic_rl.export.metadata import describe_step
from plastic_rl.export.step import AgentStep
from plastic_rl.files import atomic

_N_ENVS = 4


def export(arguments: argparse.Namespace) -> int:
    """Write one step of a saved model, and say how well it agrees; the exit code."""
    output = arguments.output
    model, env_id, env_kwargs = load_agent(arguments, _N_ENVS)
    try:
        with bad_input(ValueError, ImportError):
            if output.suffix.lower() == ".onnx":
                export_onnx(model, output, env_id=env_id)
            else:
                metadata = describe_step(model, AgentStep(model), env_id)
                program = export_program(model)
                with atomic(output) as partial:
                    th.export.save(program, partial, extra_files=metadata)
    except OSError as error:
        raise CommandError(f"--output {output} cannot be written: {error.strerror or error}") from error
    size = output.stat().st_size / 1e6
    print(f"{shown_env(env_id, env_kwargs)}: one step of the agent, {size:.2f} MB, stored in {output}")
    if output.suffix.lower() == ".onnx":
        with bad_input(ImportError):
            found = compare(model, OnnxAgent(output))
        print(
            f"checked over {found.steps} steps in {found.n_envs} environments: actions differ from the "
            f"model's by at most {found.actions:.2g}, states by {found.states:.2g}"
        )
    assert model.env is not None
    model.env.close()
    return 0
