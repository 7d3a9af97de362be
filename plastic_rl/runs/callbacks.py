"""Callbacks of the command line, usable with any Stable-Baselines3 algorithm."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import safe_mean

from plastic_rl.runs.checkpoint import save_checkpoint
from plastic_rl.runs.folder import MONITOR, read_monitor
from plastic_rl.runs.logs import Note, TextLog
from plastic_rl.runs.output import say
from plastic_rl.runs.progress import Progress
from plastic_rl.training.distributed import processes_of

SAVE_EVERY = 180.0
"""Seconds between two saves of a training's model."""


class SaveModelCallback(BaseCallback):
    """Save the model every few minutes, between two rollouts, so that a killed run can be resumed.

    Beside it lies what its training goes on with, see `plastic_rl.runs.checkpoint`.

    A model that cannot be saved, as on a full disk, is a note: the one before stays, the next one is tried.

    Args:
        path: the model file; it always holds a whole model.
        every: seconds between two saves; 0 is before every rollout.
        note: is told what could not be saved.

    Attributes:
        saved_steps: those of the model that was saved last; None before that.
    """

    def __init__(self, path: str | Path, every: float = SAVE_EVERY, note: Note = say) -> None:
        super().__init__()
        self.path = Path(path)
        self.every = every
        self.saved_steps: int | None = None
        self._note = note
        self._last_save = 0.0

    def _on_training_start(self) -> None:
        self._last_save = time.monotonic()

    def _on_rollout_start(self) -> None:
        # The first of several processes keeps the time, the others have something to add.
        due = time.monotonic() - self._last_save >= self.every
        processes = processes_of(self.model)
        if processes.any(due and processes.first):
            try:
                save_checkpoint(self.model, self.path, note=self._note)
                self.saved_steps = self.num_timesteps
            except OSError as error:
                self._note(f"Note: step {self.num_timesteps:,} was not saved: {error.strerror or error}")
            self._last_save = time.monotonic()

    def _on_step(self) -> bool:
        return True


class StopCallback(BaseCallback):
    """Ask at every step and before every rollout whether the training is to stop.

    Args:
        check: is told whether this is between two rollouts, and raises to stop.
        begun: is called once, after the first step: what came before it, compiling say, left nothing to save.
    """

    def __init__(self, check: Callable[[bool], object], begun: Callable[[], object]) -> None:
        super().__init__()
        self._check, self._begun = check, begun
        self._steps = 0

    def _on_training_start(self) -> None:
        self._steps = 0

    def _on_rollout_start(self) -> None:
        self._check(True)

    def _on_step(self) -> bool:
        self._steps += 1
        if self._steps == 1:
            self._begun()
        self._check(False)
        return True


class EpisodeLogCallback(BaseCallback):
    """Write every finished episode to one ``monitor.csv``, going on with the one that is there.

    The file is what Stable-Baselines3's `Monitor` writes (return, length in steps, seconds of training since
    the start), read by its `load_results`. The number of episodes in it is kept on the model as
    `logged_episodes`, so that a model that was saved knows how much of the log belongs to it.

    Args:
        folder: the run's folder.
        env_id: the environment's id, for the file's header.
        note: is told when the file cannot be written any more.
    """

    def __init__(self, folder: str | Path, env_id: str, note: Note = say) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.env_id = env_id
        self._note = note
        self._log: TextLog | None = None
        self._start = 0.0
        self._episodes = 0

    def _on_training_start(self) -> None:
        path = self.folder / MONITOR
        elapsed = 0.0
        if path.is_file():
            times = read_monitor(path)["t"]
            self._episodes = len(times)
            elapsed = float(times[-1]) if len(times) else 0.0
        self._log = TextLog(path, self._note)
        if self._log.is_empty:
            header = json.dumps({"t_start": time.time(), "env_id": self.env_id})
            self._log.add(f"#{header}\nr,l,t\n")
        self._start = time.monotonic() - elapsed

    def _on_step(self) -> bool:
        if getattr(self.model, "rollout_episodes", None) is None and self.locals["dones"].any():
            self._add([info["episode"] for info in self.locals["infos"] if "episode" in info])
        return True

    def _on_rollout_end(self) -> None:
        # Of several processes the episodes of all become known here.
        self._add(getattr(self.model, "rollout_episodes", None) or [])

    def _add(self, ended: Sequence[Mapping[str, Any]]) -> None:
        if not ended:
            return
        assert self._log is not None
        seconds = round(time.monotonic() - self._start, 6)
        rows = "".join(f"{episode['r']!s},{episode['l']!s},{seconds}\n" for episode in ended)
        if self._log.add(rows):
            self._episodes += len(ended)
        self.model.logged_episodes = self._episodes  # type: ignore[attr-defined]

    def _on_training_end(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; for a training that ended with an exception."""
        if self._log is not None:
            self._log.close()
            self._log = None


class ProgressCallback(BaseCallback):
    """Show the steps done, the steps per second, the time left and the mean return of the last episodes.

    On a terminal this is a progress bar, elsewhere, and on a terminal without width, a plain line now and
    then.

    Args:
        every: seconds between two plain lines.
    """

    def __init__(self, every: float = 30.0) -> None:
        super().__init__()
        self.every = every
        self._progress: Progress | None = None

    def _on_training_start(self) -> None:
        self._progress = Progress(
            self.model._total_timesteps, "step", done=self.num_timesteps, every=self.every
        )

    def _on_step(self) -> bool:
        assert self._progress is not None
        self._progress.advance(self.num_timesteps)
        return True

    def _on_rollout_end(self) -> None:
        assert self._progress is not None
        self._progress.advance(self.num_timesteps, self._returns)

    def _on_training_end(self) -> None:
        self.close()

    def close(self) -> None:
        """Leave the bar or the last line standing; for a training that ended with an exception."""
        if self._progress is not None:
            self._progress.close(self._returns())

    def _returns(self) -> str:
        episodes = self.model.ep_info_buffer
        if not episodes:
            return "no episode finished yet"
        mean = safe_mean([info["r"] for info in episodes])
        return f"mean return {mean:.5g} (last {len(episodes)} episodes)"
