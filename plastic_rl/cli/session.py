"""A training in its folder: everything that the command line does around `learn`."""

import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import safe_mean
from tqdm import tqdm  # type: ignore[import-untyped]

from plastic_rl.analysis.playback import RenderError, record_episode, save_gif
from plastic_rl.analysis.plots import learning_curve
from plastic_rl.cli.user_input import shown_env, shown_levels, shows_training_data
from plastic_rl.envs import reference_levels
from plastic_rl.policies.plastic_modules import plastic_modules
from plastic_rl.runs import folder as runs
from plastic_rl.runs.callbacks import EpisodeLogCallback, ProgressCallback, SaveModelCallback
from plastic_rl.runs.record import RunRecord
from plastic_rl.tracking.plasticity import PlasticityCallback
from plastic_rl.tracking.tracker import Tracker, tracked
from plastic_rl.training.description import describe


@dataclass
class Session:
    """One training, from its first or next step to the run's number of steps, to an error or to Ctrl-C.

    Attributes:
        model: at the step that the training begins or goes on from.
        folder: the run's.
        record: the run's.
        rows: of the progress log, which are kept.
    """

    model: BaseAlgorithm
    folder: Path
    record: RunRecord
    rows: Sequence[Mapping[str, str]] = ()
    levels: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        self.levels = reference_levels(self.record.env_id, self.record.env_kwargs)

    def run(self, plans: Mapping[str, Mapping[str, Any]]) -> int:
        """Train, leave model and figures behind even when interrupted, and say what came of it.

        Args:
            plans: the trackers that record it, as `planned` returns them.

        Returns:
            The exit code: 0, or 130 after Ctrl-C. Nothing that comes after the last step changes it.
        """
        self._say_what_begins()
        steps_before = self.model.num_timesteps
        with tracked(plans, self.record, self.folder, tqdm.write) as trackers:
            start = time.monotonic()
            interrupted = self._learn(trackers)
            seconds = time.monotonic() - start
            runs.save_model(self.model, self.folder / runs.MODEL)
            if interrupted:
                self._say_how_to_go_on()
            self._leave_results(trackers)
            steps = self.model.num_timesteps - steps_before
            speed = f"{steps / seconds:,.0f} steps/s"
            print(f"{steps:,} steps in {seconds:,.1f} s ({speed}), stored in {self.folder}")
            if not interrupted:
                self._say_what_came()
        return 130 if interrupted else 0

    def _learn(self, trackers: Sequence[Tracker]) -> bool:
        """Train up to the run's number of steps; true if Ctrl-C was pressed before."""
        logger = runs.progress_logger(self.folder, self.rows)
        logger.output_formats += trackers
        self.model.set_logger(logger)
        episodes, progress = EpisodeLogCallback(self.folder, self.record.env_id), ProgressCallback()
        callbacks: list[BaseCallback] = [episodes, progress, SaveModelCallback(self.folder / runs.MODEL)]
        if plastic_modules(self.model.policy):
            callbacks.append(PlasticityCallback(image_freq=100_000 if trackers else None))
        done = self.model.num_timesteps
        try:
            self.model.learn(
                self.record.n_timesteps - done,
                callback=callbacks,
                log_interval=describe(self.model).log_interval,
                reset_num_timesteps=done == 0,
            )
        except KeyboardInterrupt:
            return True
        finally:
            progress.close()
            episodes.close()
            logger.close()
        return False

    def _leave_results(self, trackers: Sequence[Tracker]) -> None:
        """Figures, an animation, and what trackers make of them; whatever fails becomes a note."""
        assert self.model.env is not None
        with _noted("the environment was not closed"):
            self.model.env.close()
        with _noted(f"no {runs.CURVE}"):
            self._draw_curve()
        with _noted(f"no {runs.EPISODE}"):
            record = self.record
            episode = record_episode(self.model, record.env_id, record.env_kwargs, record.seed)
            save_gif(episode.frames, self.folder / runs.EPISODE)
        for tracker in trackers:
            with _noted("the results were not tracked"):
                tracker.log_results(self.model)

    def _draw_curve(self) -> None:
        log = self.folder / runs.MONITOR
        if not log.is_file() or not len(runs.read_monitor(log)["r"]):
            print(f"Note: no episode has finished yet, so there is no {runs.CURVE}")
            return
        record = self.record
        title = f"{record.algo} on {shown_env(record.env_id, record.env_kwargs)}, seed {record.seed}"
        learning_curve(log, self.folder / runs.CURVE, self.levels, title)

    def _say_what_begins(self) -> None:
        record, done = self.record, self.model.num_timesteps
        env = shown_env(record.env_id, record.env_kwargs)
        training = f"{record.n_timesteps:,} steps, {describe(self.model).batches}, seed {record.seed}"
        verb = "Resuming" if done else "Training"
        print(
            f"{verb} {record.algo} on {env}: {training}, {self.model.device}, from step {done:,}, "
            f"stored in {self.folder}",
            flush=True,
        )
        if self.levels:
            print(f"For comparison: {shown_levels(self.levels)}", flush=True)

    def _say_how_to_go_on(self) -> None:
        done, total = self.model.num_timesteps, self.record.n_timesteps
        print(f"\nInterrupted at step {done:,} of {total:,}: the model is saved.")
        print(f"To go on: plastic-rl train --resume {shlex.quote(str(self.folder))}")

    def _say_what_came(self) -> None:
        last = [info["r"] for info in self.model.ep_info_buffer or []]
        if last:
            comparison = f", {shown_levels(self.levels)}" if self.levels else ""
            mean = f"{safe_mean(last):.{describe(self.model).decimals}f}"
            print(f"Mean return of the last {len(last)} training episodes: {mean}{comparison}")
        what = shlex.join([str(self.folder), self.record.env_id])
        unseen = " --env-kwargs split:test" if shows_training_data(self.model) else ""
        print(f"Next: plastic-rl evaluate {what}{unseen}")
        print(f"      plastic-rl watch {what} --output episode.gif")


@contextmanager
def _noted(what: str) -> Iterator[None]:
    """Turn whatever goes wrong inside, Ctrl-C included, into one note that begins with `what`."""
    try:
        yield
    except RenderError as error:
        print(f"Note: {what}: {error}")
    except KeyboardInterrupt:
        print(f"Note: {what}: interrupted")
    except Exception as error:
        print(f"Note: {what}: {type(error).__name__}: {' '.join(str(error).split())}")
