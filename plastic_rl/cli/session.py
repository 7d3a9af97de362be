"""A training in its folder: everything that the command line does around `learn`."""

import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import safe_mean

from plastic_rl.analysis.playback import RenderError, record_episode, save_gif
from plastic_rl.analysis.plots import learning_curve
from plastic_rl.cli.stops import Stops
from plastic_rl.cli.user_input import shown_env, shown_levels, shows_training_data
from plastic_rl.envs import reference_levels
from plastic_rl.policies.plastic_modules import plastic_modules
from plastic_rl.runs import folder as runs
from plastic_rl.runs.callbacks import EpisodeLogCallback, ProgressCallback, SaveModelCallback, StopCallback
from plastic_rl.runs.checkpoint import save_checkpoint
from plastic_rl.runs.output import say
from plastic_rl.runs.record import RunRecord
from plastic_rl.tracking.plasticity import PlasticityCallback
from plastic_rl.tracking.tracker import Tracker, tracked
from plastic_rl.training.description import describe
from plastic_rl.training.distributed import Processes, processes_of


@dataclass
class Session:
    """One training, from its first or next step to the run's number of steps, to an error or to a signal.

    Attributes:
        model: at the step that the training begins or goes on from, as its folder holds it.
        folder: the run's.
        record: the run's.
        stops: what asks it to end.
        save_every: seconds between two saves of the model.
        rows: of the progress log, which are kept.
    """

    model: BaseAlgorithm
    folder: Path
    record: RunRecord
    stops: Stops
    save_every: float
    rows: Sequence[Mapping[str, str]] = ()
    levels: dict[str, float] = field(init=False)
    processes: Processes = field(init=False)

    def __post_init__(self) -> None:
        self._saved_steps = self.model.num_timesteps
        self.processes = processes_of(self.model)
        self.levels = reference_levels(self.record.env_id, self.record.env_kwargs)

    def run(self, plans: Mapping[str, Mapping[str, Any]]) -> int:
        """Train, leave model and figures behind even when stopped, and say what came of it.

        Args:
            plans: the trackers that record it, as `planned` returns them.

        Returns:
            The exit code: 0; 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP; 1 if the model could not
            be saved. Nothing else that comes after the last step changes it.
        """
        if not self.processes.first:
            return self._follow()
        self._say_what_begins()
        steps_before = self.model.num_timesteps
        with tracked(plans, self.record, self.folder, say) as trackers:
            start = time.monotonic()
            try:
                stop = self._learn(trackers)
                seconds = time.monotonic() - start
                saved = self._save(stop)
            finally:
                self.stops.deferred = False
            if stop is not None:
                self._say_how_to_go_on(saved)
            self._leave_results(trackers)
            steps = self.model.num_timesteps - steps_before
            speed = f"{steps / seconds:,.0f} steps/s"
            say(f"{steps:,} steps in {seconds:,.1f} s ({speed}), stored in {self.folder}")
            if stop is None and saved:
                self._say_what_came()
        if stop is not None:
            return getattr(stop, "exit_code", 130)
        if self.stops.hurried:
            return self.stops.exit_code
        return 0 if saved else 1

    def _learn(self, trackers: Sequence[Tracker]) -> KeyboardInterrupt | None:
        """Train up to the run's number of steps; what has stopped it before, if anything."""
        logger = runs.progress_logger(self.folder, self.rows)
        logger.output_formats += trackers
        self.model.set_logger(logger)
        episodes, progress = EpisodeLogCallback(self.folder, self.record.env_id), ProgressCallback()
        callbacks: list[BaseCallback] = [episodes, progress]
        if plastic_modules(self.model.policy):
            callbacks.append(PlasticityCallback(image_freq=100_000 if trackers else None))
        try:
            return self._train(callbacks)
        finally:
            progress.close()
            episodes.close()
            logger.close()

    def _train(self, callbacks: Sequence[BaseCallback] = ()) -> KeyboardInterrupt | None:
        """What all processes of a training do; the callbacks are the first one's."""
        save = SaveModelCallback(self.folder / runs.MODEL, self.save_every)
        stop = StopCallback(self._check_stop, self.stops.defer)
        done = self.model.num_timesteps
        try:
            self.model.learn(
                self.record.n_timesteps - done,
                callback=[*callbacks, stop, save],
                log_interval=describe(self.model).log_interval,
                # Also of the first step: a checkpoint of step 0 has its episodes.
                reset_num_timesteps=False,
            )
        except KeyboardInterrupt as stopped:
            return stopped
        finally:
            self._saved_steps = save.saved_steps or done
        return None

    def _check_stop(self, between_rollouts: bool) -> None:
        """Stop here if this or another process of the training was asked to."""
        if between_rollouts:
            asked = self.processes.largest(self.stops.asked or 0)
            if asked:
                self.stops.note(asked)
        self.stops.check(between_rollouts)

    def _follow(self) -> int:
        """Train as one of the processes that the first one speaks for; the exit code."""
        try:
            stop = self._train()
            self._save(stop)
        finally:
            self.stops.deferred = False
        return 0 if stop is None else getattr(stop, "exit_code", 130)

    def _save(self, stop: KeyboardInterrupt | None) -> bool:
        """Save the model as the training has left it; whether that was possible."""
        if getattr(stop, "at_once", False):
            return False  # perhaps in the middle of an update
        self.stops.defer()
        try:
            if self.processes.first and not self.folder.is_dir():
                # It has vanished meanwhile; the model is worth a new one.
                self.folder.mkdir(parents=True)
                runs.update_config(self.folder, self.record)
            save_checkpoint(
                self.model, self.folder / runs.MODEL, getattr(stop, "between_rollouts", stop is None)
            )
        except OSError as error:
            step = f"{self.model.num_timesteps:,}"
            say(f"The model of step {step} could not be saved: {error.strerror or error}")
            return False
        self._saved_steps = self.model.num_timesteps
        return True

    def _leave_results(self, trackers: Sequence[Tracker]) -> None:
        """Figures, an animation, and what trackers make of them; whatever fails becomes a note.

        Once another signal than Ctrl-C has come, no more of them: whoever sent it kills soon.
        """
        assert self.model.env is not None
        results: list[tuple[str, Callable[[], object]]] = [
            ("the environment was not closed", self.model.env.close),
            (f"no {runs.CURVE}", self._draw_curve),
            (f"no {runs.EPISODE}", self._play_episode),
        ]
        results += [
            ("the results were not tracked", partial(one.log_results, self.model)) for one in trackers
        ]
        for what_is_missing, leave in results:
            if self.stops.hurried:
                return
            with _noted(what_is_missing):
                leave()

    def _play_episode(self) -> None:
        record = self.record
        episode = record_episode(self.model, record.env_id, record.env_kwargs, record.seed)
        save_gif(episode.frames, self.folder / runs.EPISODE)

    def _draw_curve(self) -> None:
        log = self.folder / runs.MONITOR
        if not log.is_file() or not len(runs.read_monitor(log)["r"]):
            say(f"Note: no episode has finished yet, so there is no {runs.CURVE}")
            return
        record = self.record
        title = f"{record.algo} on {shown_env(record.env_id, record.env_kwargs)}, seed {record.seed}"
        learning_curve(log, self.folder / runs.CURVE, self.levels, title, resumed=record.resumed or ())

    def _say_what_begins(self) -> None:
        record, done = self.record, self.model.num_timesteps
        env = shown_env(record.env_id, record.env_kwargs)
        training = f"{record.n_timesteps:,} steps, {describe(self.model).batches}, seed {record.seed}"
        verb = "Resuming" if done else "Training"
        say(
            f"{verb} {record.algo} on {env}: {training}, {self.model.device}, from step {done:,}, "
            f"stored in {self.folder}"
        )
        if self.levels:
            say(f"For comparison: {shown_levels(self.levels)}")

    def _say_how_to_go_on(self, saved: bool) -> None:
        done, total = self.model.num_timesteps, self.record.n_timesteps
        what = "is saved" if saved else f"of step {self._saved_steps:,} is what is saved"
        say(f"\nInterrupted at step {done:,} of {total:,}: the model {what}.")
        say(f"To go on: plastic-rl train --resume {shlex.quote(str(self.folder))}")

    def _say_what_came(self) -> None:
        last = [info["r"] for info in self.model.ep_info_buffer or []]
        if last:
            comparison = f", {shown_levels(self.levels)}" if self.levels else ""
            mean = f"{safe_mean(last):.{describe(self.model).decimals}f}"
            say(f"Mean return of the last {len(last)} training episodes: {mean}{comparison}")
        what = shlex.join([str(self.folder), self.record.env_id])
        unseen = " --env-kwargs split:test" if shows_training_data(self.model) else ""
        say(f"Next: plastic-rl evaluate {what}{unseen}")
        say(f"      plastic-rl watch {what} --output episode.gif")


@contextmanager
def _noted(what: str) -> Iterator[None]:
    """Turn whatever goes wrong inside, signals included, into one note that begins with `what`."""
    try:
        yield
    except RenderError as error:
        say(f"Note: {what}: {error}")
    except KeyboardInterrupt:
        say(f"Note: {what}: interrupted")
    except Exception as error:
        say(f"Note: {what}: {type(error).__name__}: {' '.join(str(error).split())}")
