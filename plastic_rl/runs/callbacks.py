"""Callbacks of the command line, usable with any Stable-Baselines3 algorithm."""

import os
import sys
import time
from pathlib import Path

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import ResultsWriter
from stable_baselines3.common.utils import safe_mean
from tqdm import tqdm  # type: ignore[import-untyped]

from plastic_rl.runs.folder import MONITOR, read_monitor, save_model


class SaveModelCallback(BaseCallback):
    """Save the model every few minutes, between two rollouts, so that a killed run can be resumed.

    Args:
        path: the model file; it always holds a whole model.
        every: seconds between two saves.
    """

    def __init__(self, path: str | Path, every: float = 180.0) -> None:
        super().__init__()
        self.path = Path(path)
        self.every = every
        self._last_save = 0.0

    def _on_training_start(self) -> None:
        self._last_save = time.monotonic()

    def _on_rollout_start(self) -> None:
        if time.monotonic() - self._last_save >= self.every:
            save_model(self.model, self.path)
            self._last_save = time.monotonic()

    def _on_step(self) -> bool:
        return True


class EpisodeLogCallback(BaseCallback):
    """Write every finished episode to one ``monitor.csv``, going on with the one that is there.

    The file is what Stable-Baselines3's `Monitor` writes (return, length in steps, seconds of training since
    the start), read by its `load_results`. The number of episodes in it is kept on the model as
    `logged_episodes`, so that a model that was saved knows how much of the log belongs to it.

    Args:
        folder: the run's folder.
        env_id: the environment's id, for the file's header.
    """

    def __init__(self, folder: str | Path, env_id: str) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.env_id = env_id
        self._writer: ResultsWriter | None = None
        self._start = 0.0
        self._episodes = 0

    def _on_training_start(self) -> None:
        path = self.folder / MONITOR
        elapsed = 0.0
        if path.is_file():
            times = read_monitor(path)["t"]
            self._episodes = len(times)
            elapsed = float(times[-1]) if len(times) else 0.0
        header: dict[str, float | str] = {"t_start": time.time(), "env_id": self.env_id}
        self._writer = ResultsWriter(str(path), header, override_existing=not path.is_file())
        self._start = time.monotonic() - elapsed

    def _on_step(self) -> bool:
        if self.locals["dones"].any():
            assert self._writer is not None
            seconds = round(time.monotonic() - self._start, 6)
            for info in self.locals["infos"]:
                if "episode" in info:
                    episode = info["episode"]
                    self._writer.write_row({"r": episode["r"], "l": episode["l"], "t": seconds})
                    self._episodes += 1
            self.model.logged_episodes = self._episodes  # type: ignore[attr-defined]
        return True

    def _on_training_end(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; for a training that ended with an exception."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class ProgressCallback(BaseCallback):
    """Show the steps done, the steps per second and the mean return of the last training episodes.

    On a terminal this is a progress bar, elsewhere, and on a terminal without width, a plain line now and
    then.

    Args:
        every: seconds between two plain lines.
    """

    def __init__(self, every: float = 30.0) -> None:
        super().__init__()
        self.every = every
        self._bar: tqdm | None = None
        self._start_steps = 0
        self._start = self._last_line = 0.0

    def _on_training_start(self) -> None:
        self._start_steps = self.num_timesteps
        self._start = self._last_line = time.monotonic()
        if sys.stdout.isatty() and _columns() > 0:
            self._bar = tqdm(
                total=self._total(),
                initial=self.num_timesteps,
                unit="step",
                unit_scale=True,
                dynamic_ncols=True,
                file=sys.stdout,
            )

    def _on_step(self) -> bool:
        if self._bar is not None:
            self._bar.update(min(self.num_timesteps, self._total()) - self._bar.n)
        return True

    def _on_rollout_end(self) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(self._returns(), refresh=False)
        elif time.monotonic() - self._last_line >= self.every:
            self._last_line = time.monotonic()
            print(self._line(), flush=True)

    def _on_training_end(self) -> None:
        self.close()

    def close(self) -> None:
        """Leave the bar or the last line standing; for a training that ended with an exception."""
        if self._bar is not None:
            self._bar.set_postfix_str(self._returns(), refresh=False)
            self._bar.close()
            self._bar = None

    def _total(self) -> int:
        return self.model._total_timesteps

    def _line(self) -> str:
        speed = (self.num_timesteps - self._start_steps) / max(time.monotonic() - self._start, 1e-9)
        return f"{self.num_timesteps:,} of {self._total():,} steps, {speed:,.0f} steps/s, {self._returns()}"

    def _returns(self) -> str:
        episodes = self.model.ep_info_buffer
        if not episodes:
            return "no episode finished yet"
        mean = safe_mean([info["r"] for info in episodes])
        return f"mean return {mean:.5g} (last {len(episodes)} episodes)"


def _columns() -> int:
    """The width of the terminal; in some containers it is 0, and a bar would show nothing."""
    return os.get_terminal_size(sys.stdout.fileno()).columns
