"""Trained agents on the Hugging Face Hub: a run's folder goes up with a card, its safe files come down."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnv

from plastic_rl.runs import folder as runs
from plastic_rl.runs.card import card
from plastic_rl.runs.record import imports_more
from plastic_rl.runs.score import score
from plastic_rl.runs.statistics import STATISTICS, find_normalize, normalized_as_trained
from plastic_rl.training.vec_env import make_vec_env

PREFIX = "hub:"
"""Stands before the name of a repository where a path or the id of an environment may be."""

# What loading an agent needs; nothing of it runs code. All else in a repository is left there.
_LOADED = (runs.MODEL, runs.CONFIG, STATISTICS)
_SHOWN = (runs.CURVE, runs.EPISODE)
_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")


class HubError(OSError):
    """The hub cannot be reached, or refuses."""


def push(
    run: Path, repo: str, *, episodes: int = 100, private: bool = False, token: str | None = None
) -> str:
    """Put the agent of a run on the hub, with a card that says what it is and how well it plays.

    Up go the model, the run's record without what belongs to this machine, the statistics of normalized
    observations, the learning curve, the animation, and the card. What is there under these names is
    replaced.

    Args:
        run: the folder of a run.
        repo: ``user/name``; it is made if it is not there.
        episodes: that the score on the card is the mean of, at least 2.
        private: whether a new repository is visible to its owner alone.
        token: of the hub; by default that of ``hf auth login`` or of ``HF_TOKEN``.

    Returns:
        The address of the repository.

    Raises:
        ImportError: huggingface_hub is not installed.
        HubError: the hub cannot be reached, or refuses.
        ValueError: another name, the run's files are damaged or hold pickled objects, or its environment is
            not registered.
        OSError: a file cannot be read.
    """
    name, revision = _parsed(repo)
    if revision is not None:
        raise ValueError(f"repo must be user/name without a revision, got {repo!r}")
    if episodes < 2:
        raise ValueError(f"episodes must be at least 2, got {episodes}")
    hub = _hub()
    path = runs.find_model(run)
    record = runs.read_config(run)
    model = _load(run, None, "cpu")
    result = score(model, record.env_id, record.env_kwargs, episodes)
    assert model.env is not None
    model.env.close()
    # Where the training took place is of no account for whoever gets the agent.
    shared = replace(record, device="auto", hyperparams_file=None, others={})
    with tempfile.TemporaryDirectory() as staged:
        folder = Path(staged)
        shutil.copyfile(path, folder / runs.MODEL)
        for other in (STATISTICS, *_SHOWN):
            if (run / other).is_file():
                shutil.copyfile(run / other, folder / other)
        (folder / runs.CONFIG).write_text(shared.to_yaml(), encoding="utf-8")
        pictures = [one for one in _SHOWN if (folder / one).is_file()]
        text = card(shared, result, name, model.num_timesteps, pictures)
        (folder / "README.md").write_text(text, encoding="utf-8")
        with _refusals():
            api = hub.HfApi(token=token)
            address = api.create_repo(name, private=private, exist_ok=True)
            title = f"{record.algo} on {record.env_id}"
            api.upload_folder(repo_id=name, folder_path=folder, commit_message=title)
    return str(address)


def load(repo: str, env: GymEnv | str | None = None, device: th.device | str = "auto") -> BaseAlgorithm:
    """Load an agent from the hub, ready to act, to be evaluated and to learn on. Nothing in the files is run.

    Args:
        repo: ``user/name``, or ``user/name@revision``; ``hub:`` may stand before it.
        env: the environment to attach; by default as many of the agent's own as it was trained on.
            Observations are normalized as in its training.
        device: ``auto``, ``cpu``, ``cuda``, ...

    Raises:
        ImportError: huggingface_hub is not installed.
        HubError: the hub cannot be reached, or there is no such repository.
        ValueError: the repository holds no agent, its files are damaged or hold pickled objects, its
            environment would import a module, or ``env`` has other spaces.
    """
    return _load(fetch(repo), env, device)


def fetch(repo: str) -> Path:
    """The folder of an agent of the hub: its safe files, downloaded where they are not there already.

    Args:
        repo: as in `load`.

    Raises:
        ImportError: huggingface_hub is not installed.
        HubError: the hub cannot be reached, or there is no such repository.
        ValueError: another name, or the repository holds no agent.
    """
    name, revision = _parsed(repo)
    hub = _hub()
    with _refusals():
        folder = Path(hub.snapshot_download(name, revision=revision, allow_patterns=list(_LOADED)))
    for needed in (runs.MODEL, runs.CONFIG):
        if not (folder / needed).is_file():
            raise ValueError(f"{PREFIX}{name} holds no agent of plastic_rl: there is no {needed}")
    return folder


def _load(folder: Path, env: GymEnv | str | None, device: th.device | str) -> BaseAlgorithm:
    record = runs.read_config(folder)
    if env is None:
        if imports_more(record.env_id):
            raise ValueError(
                f"the agent plays {record.env_id}, which would import a module: import it yourself if you "
                "trust it, and give env"
            )
        env = make_vec_env(record.env_id, record.n_envs, env_kwargs=record.env_kwargs)
    elif not isinstance(env, VecEnv):
        env = make_vec_env(env) if isinstance(env, str) else make_vec_env(lambda: env)  # type: ignore[arg-type, return-value]
    if find_normalize(env) is None:
        env = normalized_as_trained(env, record.normalize, folder)
    # The weights that the constructor draws are overwritten: the caller's random numbers go on as they were.
    with th.random.fork_rng(devices=[]):
        return runs.load_model(folder / runs.MODEL, record.algo, env, str(device))


def _parsed(repo: str) -> tuple[str, str | None]:
    """The repository and the revision that are meant.

    Raises:
        ValueError: it is no such name.
    """
    found = _NAME.fullmatch(repo.removeprefix(PREFIX))
    if found is None:
        raise ValueError(f"repo must be user/name or user/name@revision, got {repo!r}")
    return found["repo"], found["revision"]


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError('the hub needs huggingface_hub: pip install "plastic-rl[hub]"') from error
    return huggingface_hub


@contextmanager
def _refusals() -> Iterator[None]:
    """Whatever the hub or the way to it raises, in one line."""
    from huggingface_hub.errors import HFValidationError

    try:
        yield
    except HFValidationError as error:
        raise ValueError(str(error)) from error
    except Exception as error:  # the network's errors have no class in common
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise HubError(f"the hub: {' '.join(lines[:2]) or type(error).__name__}") from error
