"""Trained agents that come with the package: a model file and a record beside it.

    python -m plastic_rl.runs.pretrained RUN [--output FOLDER] [--half]

turns the run of a ``PlasticA2C`` into that form: ``<environment>.zip`` with the model, as ``save`` writes
it, and ``<environment>.json`` with its training and its score. Without ``--output`` it becomes the agent that
comes with the package for the run's environment.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnv

from plastic_rl.arguments import check_choice, split_env_id
from plastic_rl.files import read_text
from plastic_rl.runs import folder as runs
from plastic_rl.runs.hyperparams import RunConfig
from plastic_rl.runs.record import RunRecord
from plastic_rl.runs.score import score
from plastic_rl.saving import ModelFileError, save_model
from plastic_rl.training.a2c import PlasticA2C
from plastic_rl.training.vec_env import make_vec_env

FOLDER = Path(__file__).resolve().parent / "agents"
"""Where the package's own agents lie."""

_ALGO = "plastic_a2c"
_LARGEST = 2**20  # bytes of a record


@dataclass(frozen=True)
class AgentRecord:
    """What is stored beside an agent's model.

    Attributes:
        run: of the training that the agent comes from.
        sha256: checksum of the model's file.
        original: score of the agent before it was stored, None while it is unknown.
        score: the same of the stored agent.

    Raises:
        ValueError: an attribute is wrong.
    """

    run: RunRecord
    sha256: str
    original: dict[str, Any] | None = None
    score: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        kinds = {"sha256": str, "original": dict | None, "score": dict | None}
        for name, kind in kinds.items():
            if not isinstance(getattr(self, name), kind):
                raise ValueError(f"{name} is missing or wrong")

    @classmethod
    def from_json(cls, text: str) -> "AgentRecord":
        """The record that `to_json` gave.

        Raises:
            ValueError: the text is something else.
        """
        run = RunRecord.from_mapping(json.loads(text))
        own: dict[str, Any] = {name: run.others.get(name) for name in ("sha256", "original", "score")}
        others = {name: value for name, value in run.others.items() if name not in own}
        return cls(replace(run, others=others), **own)

    def to_json(self) -> str:
        """All of it on one level, what is not there left out."""
        own = {"sha256": self.sha256, "original": self.original, "score": self.score}
        present = {name: value for name, value in own.items() if value is not None}
        return json.dumps(self.run.to_mapping() | present, indent=1) + "\n"


def available(folder: Path | None = None) -> list[str]:
    """The ids of the environments that there is a trained agent for, in `folder` or in the package's own."""
    return sorted(path.stem for path in (folder or FOLDER).glob("*.json"))


def agent_name(env_id: str) -> str:
    """The name under which an environment's agent is stored: the id without its module."""
    return split_env_id(env_id)[1]


def load_pretrained(
    env_id: str,
    env: GymEnv | str | None = None,
    device: th.device | str = "auto",
    folder: Path | None = None,
    config: str | None = None,
) -> Any:
    """Load the trained agent that comes with the package, ready to act, to be evaluated and to learn on.

    Nothing in the files is run.

    Args:
        env_id: an environment's id, with or without its module in front, for example ``PlasticMaze-v0``; or
            ``hub:user/name`` for an agent from the Hugging Face Hub, see `plastic_rl.runs.hub.load`.
        env: the environment to attach; by default as many of the agent's own as it was trained on.
        device: ``auto``, ``cpu``, ``cuda``, ...
        folder: where the agents lie; the package's own if not given.
        config: the name of other hyper-parameters that there is an agent of, as in
            `plastic-rl train --config`: ``ungated``, the mazes' networks that keep the goal in the trace.

    Returns:
        The model: a `PlasticA2C`, or what the hub's agent was trained with.

    Raises:
        ValueError: there is no agent for this id or of this `config`, its files are damaged, or `env` has
            other spaces.
    """
    if env_id.startswith("hub:"):
        if config is not None:
            raise ValueError(f"config must be None for an agent from the hub, got {config!r}")
        from plastic_rl.runs import hub

        return hub.load(env_id, env, device)
    folder, name = folder or FOLDER, agent_name(env_id)
    if config is not None:
        check_choice("config", config, sorted(path.name for path in folder.iterdir() if path.is_dir()))
        folder /= config
    record = read_record(name, folder)
    path = _checked_model(folder / f"{name}.zip", record.sha256)
    if env is None:
        env = make_vec_env(name, record.run.n_envs, env_kwargs=record.run.env_kwargs)
    elif isinstance(env, str):
        env = make_vec_env(env)
    # The weights that the constructor draws are overwritten: the caller's random numbers go on as they were.
    with th.random.fork_rng(devices=[]):
        try:
            return PlasticA2C.load(path, env=env, device=device)
        except ModelFileError:
            raise
        except ValueError as error:
            raise ValueError(
                f"the trained agent for {name} does not fit this environment: {error}"
            ) from error


def read_record(env_id: str, folder: Path | None = None) -> AgentRecord:
    """What is stored beside an agent's model: its hyper-parameters, training and score.

    Raises:
        ValueError: there is no agent for this id, or the file is damaged.
    """
    folder, name = folder or FOLDER, agent_name(env_id)
    if name not in available(folder):
        known = ", ".join(available(folder)) or "none"
        raise ValueError(f"there is no trained agent for {env_id!r}; available: {known}")
    path = folder / f"{name}.json"
    try:
        return AgentRecord.from_json(read_text(path, _LARGEST))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def export(run: Path, folder: Path = FOLDER, half: bool = False, episodes: int = 256) -> AgentRecord:
    """Store the agent of a run without what only its training needs, and make sure that it plays as before.

    Args:
        run: the folder of a run of ``plastic_a2c``.
        folder: where to store it; the package's own agents lie in the default.
        half: store 16-bit numbers, half as large; the stored score is that of the rounded agent.
        episodes: lifetimes of fixed seeds that the scores are means of.

    Returns:
        What was stored beside the model, scores among it.

    Raises:
        ValueError: the run is of another algorithm, or its files are damaged.
        OSError: a file is missing or cannot be written.
    """
    record = runs.read_config(run)
    if record.algo != _ALGO:
        raise ValueError(f"{run} is a run of {record.algo}, not of {_ALGO}")
    if record.normalize is not None and record.normalize.get("norm_obs", True):
        raise ValueError(f"{run} was trained on normalized observations, for which an agent has no place")
    env_id, env_kwargs = agent_name(record.env_id), record.env_kwargs
    env = make_vec_env(env_id, record.n_envs, env_kwargs=env_kwargs)
    model = runs.load_model(runs.find_model(run), _ALGO, env, "cpu")
    original = score(model, env_id, env_kwargs, episodes)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{env_id}.zip"
    save_model(_without_training(model, record, env), path, half=half)
    # Where the training took place is of no account for whoever gets the agent.
    trained = replace(
        record,
        env_id=env_id,
        n_timesteps=model.num_timesteps,
        device="auto",
        condition=None,
        hyperparams_file=None,
        others={},
    )
    stored = AgentRecord(trained, hashlib.sha256(path.read_bytes()).hexdigest())
    _write_record(folder, stored)
    rounded = load_pretrained(env_id, env, "cpu", folder)
    reached = score(rounded, env_id, env_kwargs, episodes)
    env.close()
    stored = replace(stored, original=original, score=reached)
    _write_record(folder, stored)
    return stored


def _without_training(model: BaseAlgorithm, record: RunRecord, env: VecEnv) -> PlasticA2C:
    """The same agent without its optimiser's state, its seed and its last episodes."""
    config = RunConfig(
        env_id=record.env_id,
        algo=_ALGO,
        n_envs=record.n_envs,
        n_timesteps=record.n_timesteps,
        hyperparams=record.hyperparams,
        source=Path(runs.CONFIG),
    )
    fresh = PlasticA2C(env=env, device="cpu", **config.kwargs())
    fresh.policy.load_state_dict(model.policy.state_dict())
    fresh.num_timesteps = model.num_timesteps
    return fresh


def _write_record(folder: Path, record: AgentRecord) -> None:
    (folder / f"{record.run.env_id}.json").write_text(record.to_json(), encoding="utf-8")


def _checked_model(path: Path, sha256: str) -> Path:
    """The path of a model's file, once the file was found to be whole."""
    try:
        if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            raise ValueError("its checksum is not the one in the file beside it")
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is missing or damaged: {error}") from error
    return path


def main(argv: Sequence[str] | None = None) -> int:
    """Export a run from the command line; the exit code is 2 for bad input."""
    parser = argparse.ArgumentParser(description="Store the agent of a run as a model file and a record.")
    parser.add_argument("run", metavar="RUN", type=Path, help="the folder of a run of plastic_a2c")
    parser.add_argument("--output", metavar="FOLDER", type=Path, default=FOLDER, help="default: the package")
    parser.add_argument("--half", action="store_true", help="16-bit numbers")
    arguments = parser.parse_args(argv)
    try:
        stored = export(arguments.run, arguments.output, arguments.half)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    env_id = stored.run.env_id
    size = (arguments.output / f"{env_id}.zip").stat().st_size
    print(f"{env_id}: {size / 1e6:.2f} MB in {arguments.output}")
    for name, reached in (("original", stored.original), ("score", stored.score)):
        assert reached is not None
        low, high = reached["interval"]
        print(f"{name}: mean return {reached['mean_return']}, 95 % interval {low} to {high}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
