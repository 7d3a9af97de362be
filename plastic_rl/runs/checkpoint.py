"""A model, and beside it what its training goes on with: both whole and of the same moment, always."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm

from plastic_rl.files import remove_partials
from plastic_rl.runs.folder import CONFIG, MODEL, MONITOR, PROGRESS, save_model
from plastic_rl.runs.logs import Note
from plastic_rl.runs.output import say
from plastic_rl.runs.plain_data import read_plain, write_plain
from plastic_rl.runs.statistics import STATISTICS
from plastic_rl.training.distributed import Processes, processes_of
from plastic_rl.training.training_state import get_training_state, set_training_state

STATE = "training_state.safetensors"

_NEXT = "training_state.next.safetensors"


def save_checkpoint(
    model: BaseAlgorithm, path: Path, between_rollouts: bool = True, note: Note = say
) -> None:
    """Save a model and, in a file beside it, the states of its environments and generators.

    The state names its model by a checksum. Whenever the process dies, the model file is whole, and if there
    was a state of that model, it is there, too.

    Of several processes that train the model each calls this: the first one writes, the states of all.

    Args:
        model: with its environment.
        path: of the model file.
        between_rollouts: whether the training can go on from here as if it had not stopped; in the middle of
            a rollout it cannot, and no state is saved.
        note: is told when the state cannot be written, which is no error.

    Raises:
        OSError: the model cannot be written; the one before stays.
    """
    following = path.with_name(_NEXT)
    processes = processes_of(model)
    states = processes.gather(get_training_state(model)) if between_rollouts else [None]
    if not processes.first:
        return

    def save_state(written: Path) -> None:
        if None in states:
            return
        content = {"state": states[0]} if processes.alone else {"states": states}
        try:
            write_plain(following, {"model": _checksum(written), **content})
        except OSError as error:
            reason = error.strerror or error
            note(f"Note: {path} is saved without the states of its episodes, new ones would begin: {reason}")

    save_model(model, path, before=save_state)
    # Of the old model, or of none.
    with suppress(FileNotFoundError):
        path.with_name(STATE).unlink()
    with suppress(FileNotFoundError):
        os.replace(following, path.with_name(STATE))


def restore_training(model: BaseAlgorithm, path: Path) -> bool:
    """Let a model that was loaded go on where its training was when it was saved.

    Args:
        model: loaded from `path` onto an environment like that of its training.
        path: of the model file.

    Returns:
        Whether there was a state of this model beside it, of as many processes as there are now; otherwise
        nothing was changed.

    Raises:
        OSError: a file cannot be read.
        ValueError: the state is damaged or does not fit.
    """
    found = _find_state(path, processes_of(model))
    if found is None:
        return False
    set_training_state(model, found)
    return True


def clear_up(folder: Path) -> None:
    """Remove what a killed training has left half written in its folder.

    Raises:
        OSError: it cannot be removed.
    """
    for name in (MODEL, STATE, _NEXT, STATISTICS, CONFIG, MONITOR, PROGRESS):
        remove_partials(folder / name)


def _find_state(path: Path, processes: Processes) -> Any:
    """The state of this process that belongs to this very model file; None if there is none."""
    checksum = _checksum(path)
    # The process may have died before the new state had taken the place of the old one.
    for candidate in (path.with_name(STATE), path.with_name(_NEXT)):
        if candidate.exists():
            try:
                content = read_plain(candidate)
            except ValueError as error:
                raise ValueError(f"{error}; without it new episodes begin") from error
            if isinstance(content, dict) and content.get("model") == checksum:
                if processes.alone:
                    return content.get("state")
                states = content.get("states")
                if isinstance(states, list) and len(states) == processes.size:
                    return states[processes.rank]
                return None
    return None


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
