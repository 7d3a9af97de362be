"""The trainings of a sweep: processes here, or jobs of SLURM, both by submitit."""

import argparse
import contextlib
import io
import json
import os
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plastic_rl.cli.errors import CommandError
from plastic_rl.cli.start import untrained
from plastic_rl.cli.stops import Stopped, Stops
from plastic_rl.cli.sweep_report import failures, status
from plastic_rl.cli.user_input import bad_input, make_env
from plastic_rl.files import atomic
from plastic_rl.runs import folder as runs
from plastic_rl.runs.lock import locked
from plastic_rl.runs.output import say
from plastic_rl.runs.plain_yaml import parse_pairs
from plastic_rl.runs.statistics import normalized
from plastic_rl.runs.sweep import FAILURE, LOG, RESULT, Sweep, SweepRun

_JOBS, _SUBMITTED = "jobs", "submitted.json"
_TAIL = 15  # lines of a log that say why a run failed
_POLL = 0.2  # seconds
_FOREVER = 60 * 24 * 365  # minutes
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_QUEUED = ("PENDING", "RUNNING", "REQUEUED", "CONFIGURING", "COMPLETING", "SUSPENDED")


@dataclass(frozen=True)
class TrainJob:
    """What a process of a sweep does: train one run, from where it stands, and evaluate it.

    Attributes:
        run: which.
        evaluate: arguments of ``plastic-rl evaluate``.
    """

    run: SweepRun
    evaluate: dict[str, Any]

    def __call__(self) -> None:
        """Leave a result or a failure in the run's folder; neither where it was stopped."""
        folder = self.run.folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FAILURE).unlink(missing_ok=True)
        started = time.process_time()
        with _output_to(folder / LOG):
            try:
                code = self._train()
                before = self._spend(time.process_time() - started)
                if code == 0:
                    self._evaluate(before)
            except Exception:
                traceback.print_exc()
                code = 1
        if code in (1, 2):
            note_failure(self.run)

    def checkpoint(self) -> Any:
        """What SLURM runs again when the job's time is over: the same, which goes on."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _train(self) -> int:
        from plastic_rl.cli.main import main

        run, config = self.run, self.run.config
        steps = str(config.n_timesteps)
        if (run.folder / runs.CONFIG).is_file():
            return main(["train", "--resume", str(run.folder), "--timesteps", steps, "--trust"])
        settings = {
            **config.hyperparams,
            **({} if config.normalize is None else {"normalize": config.normalize}),
        }
        arguments = ["train", config.env_id, "--algo", config.algo, "--seed", str(run.seed)]
        arguments += ["--timesteps", steps, "--n-envs", str(config.n_envs), "--config", str(config.source)]
        arguments += ["--output", str(run.folder), "--hyperparams", *_pairs(settings)]
        if run.env_kwargs:
            arguments += ["--env-kwargs", *_pairs(run.env_kwargs)]
        code = main(arguments)
        if (run.folder / runs.CONFIG).is_file():
            record = runs.read_config(run.folder)
            runs.update_config(run.folder, replace(record, condition=run.condition))
        return code

    def _spend(self, seconds: float) -> float:
        """Add to the processor seconds of the run's trainings; all of them."""
        path = self.run.folder / "processor_seconds.txt"
        total = seconds + (float(path.read_text()) if path.is_file() else 0.0)
        with atomic(path) as partial:
            partial.write_text(f"{total:.1f}\n")
        return total

    def _evaluate(self, processor_seconds: float) -> None:
        from plastic_rl.cli.main import main

        arguments = ["evaluate", str(self.run.folder), "--json", "--trust"]
        arguments += ["--episodes", str(self.evaluate["episodes"]), "--seed", str(self.evaluate["seed"])]
        arguments += ["--deterministic"] if self.evaluate["deterministic"] else []
        with contextlib.redirect_stdout(io.StringIO()) as output:
            code = main(arguments)
        if code:
            raise RuntimeError("the trained agent could not be evaluated")
        result = {**json.loads(output.getvalue()), "processor_seconds": processor_seconds}
        with atomic(self.run.folder / RESULT) as partial:
            partial.write_text(json.dumps(result), encoding="utf-8")
        self.run.keep()


def run(sweep: Sweep, arguments: argparse.Namespace) -> int:
    """Train what is missing; the exit code: 1 where something has failed."""
    try:
        import submitit
    except ImportError as error:
        raise CommandError(f'{error} (it comes with pip install "plastic-rl[sweep]")') from error
    with bad_input(ValueError, OSError):
        for one in sweep.runs:
            one.check_settings()
        _check_networks(sweep)
        sweep.folder.mkdir(parents=True, exist_ok=True)
        held = contextlib.ExitStack()
        held.enter_context(locked(sweep.folder))
    with held:
        if arguments.retry:
            for one in sweep.of("failed"):
                (one.folder / FAILURE).unlink()
        with bad_input(OSError):
            for one in sweep.of("finished"):
                one.keep()
        todo = [*sweep.of("stopped"), *sweep.of("missing")]
        say(f"{len(todo)} of {len(sweep.runs)} runs are to be trained, in {sweep.folder}")
        os.environ.update(dict.fromkeys(_THREADS, str(arguments.threads)))
        jobs = [TrainJob(one, sweep.evaluate) for one in todo]
        logs = sweep.folder / _JOBS
        if arguments.slurm is not None:
            return _submit(submitit, jobs, logs, arguments)
        executor = submitit.AutoExecutor(folder=logs, cluster="local")
        executor.update_parameters(timeout_min=_FOREVER)
        _train_here(executor, jobs, arguments.jobs or os.cpu_count() or 1)
    say(status(sweep))
    return 1 if failures(sweep) else 0


def note_failure(run: SweepRun, reason: str = "") -> None:
    """Keep the end of what a run has printed as the reason of its failure."""
    log = run.folder / LOG
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / FAILURE).write_text("\n".join([*lines[-_TAIL:], reason]).strip() + "\n", encoding="utf-8")


def _train_here(executor: Any, jobs: Sequence[TrainJob], at_a_time: int) -> None:
    """Train in so many processes at a time.

    Raises:
        Stopped: after all of them have saved their models.
    """
    waiting, running = deque(jobs), dict[Any, SweepRun]()
    with Stops() as stops:
        stops.defer()
        try:
            while waiting or running:
                while waiting and len(running) < at_a_time:
                    job = waiting.popleft()
                    with _without_interrupts():
                        running[executor.submit(job)] = job.run
                time.sleep(_POLL)
                for process in [one for one in running if one.done()]:
                    _say_what_came(running.pop(process))
                stops.check(between_rollouts=True)
        except Stopped:
            for process in running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(process.job_id), signal.SIGTERM)
            while not all(one.done() for one in running):
                time.sleep(_POLL)
            say("Stopped: every run is saved, the same command goes on.")
            raise


def _say_what_came(run: SweepRun) -> None:
    if run.state() not in ("finished", "failed"):
        note_failure(run, "its process ended without a word: it may have been killed")
    result = run.result() if run.state() == "finished" else None
    if result is None:
        say(f"{run}: failed")
        return
    scores = ", ".join(f"{name} {measure['mean']:.5g}" for name, measure in result["measures"].items())
    say(f"{run}: {scores}, {result['processor_seconds'] / 60:.1f} CPU minutes")


def _submit(submitit: Any, jobs: Sequence[TrainJob], logs: Path, arguments: argparse.Namespace) -> int:
    """Hand the runs that are not there yet to SLURM."""
    path = logs / _SUBMITTED
    submitted: dict[str, str] = json.loads(path.read_text()) if path.is_file() else {}

    def queued(job: TrainJob) -> bool:
        job_id = submitted.get(str(job.run.folder))
        return job_id is not None and submitit.SlurmJob(logs, job_id, [0]).state in _QUEUED

    left = [job for job in jobs if not queued(job)]
    with bad_input(ValueError, NameError, RuntimeError):
        executor = submitit.AutoExecutor(folder=logs, cluster="slurm")
        executor.update_parameters(
            name="plastic-rl",
            cpus_per_task=arguments.threads,
            **({} if arguments.jobs is None else {"slurm_array_parallelism": arguments.jobs}),
            **parse_pairs(arguments.slurm),
        )
        found = executor.map_array(_call, left) if left else []
    submitted |= {str(job.run.folder): one.job_id for job, one in zip(left, found, strict=True)}
    with atomic(path) as partial:
        partial.write_text(json.dumps(submitted, indent=1))
    ids = f", {found[0].job_id} to {found[-1].job_id}" if found else ""
    say(f"{len(found)} jobs submitted{ids}; {len(jobs) - len(left)} are queued or running already")
    return 0


def _call(job: TrainJob) -> None:
    job()


def _check_networks(sweep: Sweep) -> None:
    """Build the network of all settings once: what is wrong with them shows before anything is trained."""
    for conditions in sweep.by_condition().values():
        for run, *_ in conditions.values():
            config = run.config
            env = make_env(config.env_id, run.env_kwargs, config.n_envs, run.seed)
            env = normalized(env, config.normalize, config.hyperparams.get("gamma", 0.99))
            untrained(run.record(), env, config.source)
            env.close()


def _pairs(values: Mapping[str, Any]) -> list[str]:
    """Values as ``key:value`` arguments."""
    return [f"{key}:{json.dumps(value)}" for key, value in values.items()]


@contextlib.contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Let all that this process prints, and libraries below Python, stand in a file, too late for nobody."""
    with path.open("a", encoding="utf-8") as log:
        for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
            stream.flush()
            os.dup2(log.fileno(), descriptor)
        yield
        sys.stdout.flush()
        sys.stderr.flush()


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """What is started inside ignores Ctrl-C: the sweep itself stops its trainings, by SIGTERM."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
