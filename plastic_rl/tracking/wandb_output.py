"""Weights & Biases for the command line: an output of the logger that cannot hurt the training."""

import os
import queue
import secrets
import shlex
import subprocess
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Image, filter_excluded_keys

from plastic_rl.runs import folder as runs
from plastic_rl.runs.record import RunRecord
from plastic_rl.tracking.options import TRACKERS
from plastic_rl.tracking.plasticity import plasticity_images
from plastic_rl.tracking.tracker import Report, Tracker

INIT_TIMEOUT = 20.0
"""Seconds that W&B may take to reach its server before the run is recorded offline."""
FINISH_TIMEOUT = 120.0
"""Seconds that the end of a training waits for W&B to upload what is left."""

_GRACE = 40.0  # W&B's own, on top of its timeout
_PATIENCE = 3.0  # seconds of waiting before the user is told
_WAITING_ROWS = 10_000
_PROJECT = "plastic-rl"
_STEP = "global_step"  # as W&B's own recipes call it

Action = Callable[[Any], None]


class WandbOutput(Tracker):
    """A W&B run as one of the outputs of SB3's logger.

    W&B is only ever called from a thread of its own, which takes what is to be recorded from a queue: however
    long a call takes, the training does not wait for it. The first error ends the tracking, with one line to
    the user, and the training goes on.

    Args:
        record: the training's; stored as the W&B run's configuration, but for what trackers keep in it.
        plan: names the W&B run.
        folder: of the training; W&B keeps its files in ``wandb`` inside.
        report: is given, line by line, what the user should know.
    """

    def __init__(self, record: RunRecord, plan: Mapping[str, Any], folder: Path, report: Report) -> None:
        super().__init__(record, plan, folder, report)
        self._mode = plan["mode"]
        self._arguments = {
            "project": plan["project"],
            "entity": plan["entity"],
            "id": plan["id"],
            "name": plan["run_name"],
            "resume": "allow",
            "config": {key: value for key, value in record.to_mapping().items() if key not in TRACKERS},
            "dir": str(folder),
        }
        # W&B asks for an account where there is a terminal, and it says a lot; what matters is reported here.
        os.environ.setdefault("WANDB_SILENT", "true")
        self._queue: queue.Queue[Action | None] = queue.Queue(_WAITING_ROWS)
        self._ready = threading.Event()
        self._stopped = False
        self._exit_code = 0
        self._upload = "wandb sync"
        self._thread = threading.Thread(target=self._work, name="wandb", daemon=True)
        self._thread.start()
        if not self._ready.wait(INIT_TIMEOUT + _GRACE):
            self._stop("it did not start")

    @classmethod
    def plan(
        cls, given: Mapping[str, str], folder: Path, old: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The W&B run that a training is recorded in: a new one, or that of the training that is resumed."""
        if old is not None and not _is_plan(old):
            raise ValueError(f"{folder / runs.CONFIG} is not the configuration of a run: wandb is {old!r}")
        try:
            # The module alone does not say it: a folder of this name, left behind by a run, imports just as
            # well.
            from wandb import init  # noqa: F401
        except ImportError as error:
            raise ImportError(
                f'--track needs Weights & Biases: pip install "plastic-rl[wandb]" ({error})'
            ) from error
        new = {
            "id": secrets.token_hex(4),
            "project": os.environ.get("WANDB_PROJECT") or _PROJECT,
            "entity": None,
            "run_name": folder.absolute().name,
            "mode": None,
        }
        return {**new, **(old or {}), **given}

    def write(
        self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0
    ) -> None:
        """Record one row: the numbers and pictures that TensorBoard would be given."""
        row = filter_excluded_keys(key_values, key_excluded, "tensorboard")
        self._do(lambda run: run.log({_STEP: step, **_for_wandb(row)}))

    def close(self) -> None:
        """Nothing yet: what a training leaves behind is still to come when its logger is closed."""

    def log_results(self, model: BaseAlgorithm) -> None:
        """Record what the training has left: its figures, the animation, the matrices and the model.

        Args:
            model: as it is at the end of the training, and as it lies in the folder.
        """
        images = {key: Image(pixels, "HWC") for key, pixels in plasticity_images(model).items()}
        steps = model.num_timesteps

        def log(run: Any) -> None:
            import wandb

            row = _for_wandb(images)
            if (self.folder / runs.CURVE).is_file():
                row["figures/learning_curve"] = wandb.Image(str(self.folder / runs.CURVE))
            if (self.folder / runs.EPISODE).is_file():
                row["figures/episode"] = wandb.Video(str(self.folder / runs.EPISODE), format="gif")
            run.log({_STEP: steps, **row})
            artifact = wandb.Artifact(f"model-{run.id}", type="model", metadata={_STEP: steps})
            for name in (runs.MODEL, runs.CONFIG):
                artifact.add_file(str(self.folder / name))
            run.log_artifact(artifact)

        self._do(log)

    def finish(self, exit_code: int = 0) -> None:
        """Wait until all is stored, but not forever; Ctrl-C ends the waiting.

        Args:
            exit_code: 0, or 1 for a training that has failed.
        """
        self._exit_code = exit_code
        with suppress(queue.Full):
            self._queue.put_nowait(None)
        if not self._stopped:
            with suppress(KeyboardInterrupt):
                self._thread.join(_PATIENCE)
                if self._thread.is_alive():
                    self.report(
                        f"W&B: storing what is left, for at most {FINISH_TIMEOUT:.0f} s (Ctrl-C skips it)"
                    )
                    self._thread.join(FINISH_TIMEOUT)
        if self._thread.is_alive():
            self._stop(f"it does not finish; what it has can be uploaded: {self._upload}")
            # Whatever the thread waits for, this ends it; so does Python's end, which would wait as well.
            process = _service_process()
            if process is not None:
                process.kill()
            self._thread.join(_GRACE)

    def _do(self, action: Action) -> None:
        if self._stopped:
            return
        try:
            self._queue.put_nowait(action)
        except queue.Full:
            self._stop("it takes nothing any more")

    def _stop(self, reason: str) -> None:
        if not self._stopped:
            self._stopped = True
            self.report(f"W&B: tracking has stopped, the training has not: {_one_line(reason)}")

    def _work(self) -> None:
        try:
            run = self._start()
            self._ready.set()
            while (action := self._queue.get()) is not None:
                action(run)
            run.finish(exit_code=self._exit_code)
        # W&B leaves by SystemExit where its service process was killed.
        except (Exception, SystemExit) as error:
            self._stop(f"{type(error).__name__}: {error}")
            _end_service()
        finally:
            self._ready.set()

    def _start(self) -> Any:
        """The W&B run, offline where it cannot be had online."""
        import wandb

        settings = wandb.Settings(init_timeout=INIT_TIMEOUT, console="off")
        try:
            run = wandb.init(mode=self._mode, settings=settings, **self._arguments)
        except Exception as error:
            if self._mode == "offline":
                raise
            self.report(f"W&B: not online, recording offline instead: {_one_line(error)}")
            # Its service holds on to the run's id.
            _end_service()
            run = wandb.init(mode="offline", settings=settings, **self._arguments)
        run.define_metric(_STEP, hidden=True)
        run.define_metric("*", step_metric=_STEP)
        self._upload = f"wandb sync {shlex.quote(str(Path(run.dir).parent))}"
        self.report(f"W&B: recording {run.url or f'offline; to upload it: {self._upload}'}")
        return run


def _is_plan(plan: object) -> bool:
    return (
        isinstance(plan, Mapping)
        and set(plan) == {"id", "project", "entity", "run_name", "mode"}
        and all(isinstance(plan[key], str) for key in ("id", "project", "run_name"))
        and isinstance(plan["entity"], str | None)
        and plan["mode"] in (None, "online", "offline")
    )


def _for_wandb(row: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers and pictures of a row of SB3's logger as W&B takes them."""
    import wandb

    values: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, Image) and value.dataformats == "HWC":
            values[key] = wandb.Image(np.asarray(value.image))
        elif isinstance(value, np.ScalarType):
            values[key] = value
    return values


def _one_line(message: object) -> str:
    return " ".join(str(message).split())


def _end_service() -> None:
    """Let go of W&B's service process, which may be dead or useless."""
    import wandb

    process = _service_process()
    # Left to W&B, this would be tried when Python ends, and fail there with a traceback.
    with suppress(Exception, SystemExit):
        wandb.teardown()
    if process is not None:
        process.kill()
        process.wait()


def _service_process() -> "subprocess.Popen[bytes] | None":
    """W&B's service process; there is no public way to it."""
    import wandb

    connection = getattr(wandb.setup(), "_connection", None)
    return getattr(getattr(connection, "_proc", None), "_process", None)
