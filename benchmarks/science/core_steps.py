"""How often the core should run for each observation, and at which of these runs its trace should change.

    python -m benchmarks.science.core_steps [--tasks ...] [--networks ...] [--seeds 0 1] [--folder FOLDER]

Every run trains one network on one task with the settings of `zoo_configs/`, of which only the core is
changed, then plays fresh episodes. What it found is a small file of its own in the folder, by default
`benchmarks/results/core_steps`: a second call trains only what is missing, or what other settings were used
for. At the end the table of all runs in the folder is written (`table.md`).

The tasks of other packages need `pip install -e ".[envs,zoo]"`.
"""

import argparse
import math
import time
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

import plastic_rl
from benchmarks.science.curve import CurveCallback
from benchmarks.science.sweep import Result, Run, read_runs, train_missing
from plastic_rl.analysis.tables import markdown_table
from plastic_rl.envs import evaluates_sampled
from plastic_rl.ops.plastic_rnn import PlasticState
from plastic_rl.ops.plastic_rnn.reference import inner_step
from plastic_rl.ops.plastic_rnn.rules import update_trace
from plastic_rl.policies import PlasticRNN, RecurrentCore
from plastic_rl.policies.core_options import CoreOptions
from plastic_rl.runs.hyperparams import RunConfig, algorithm_class, load_config
from plastic_rl.training.evaluation import evaluate

FOLDER = Path(__file__).parents[1] / "results" / "core_steps"
# Far from the seeds of the training, whose environments count on from them.
EVALUATION_SEED = 10_000


class PreviousOutputCore(PlasticRNN):
    """A core whose trace changes in the last run, by the output of the observation before and by the new one.

    In `PlasticRNN` with `inner_updates="last"` it is the activity of the run before and the output. Plain
    torch: slow.
    """

    def forward(
        self, features: Tensor, state: PlasticState, episode_starts: Tensor | None = None
    ) -> tuple[Tensor, PlasticState]:
        """Run a sequence, with gradients. features: (T, B, F), episode_starts: (T, B)."""
        x, params = self.drive(features), self.params()
        assert params.alpha is not None
        outputs = []
        for t in range(len(x)):
            if episode_starts is not None and bool(episode_starts[t].any()):
                state = state.zeroed(episode_starts[t])
            before, weights = state.hidden, params.w + params.alpha * state.trace
            for _ in range(params.core_steps):
                y, state = inner_step(x[t], weights, params, state, None)
            trace, eligibility = update_trace(state.trace, state.eligibility, before, y, state.hidden, params)
            state = state._replace(trace=trace, eligibility=eligibility)
            outputs.append(state.hidden)
        return torch.stack(outputs), state

    def step(
        self, features: Tensor, state: PlasticState, episode_start: Tensor | None = None
    ) -> tuple[Tensor, PlasticState]:
        """One step without gradients. features: (B, F), episode_start: (B,)."""
        with torch.no_grad():
            y, state = self(features[None], state, None if episode_start is None else episode_start[None])
        return y[0], state


class PreviousOutputPolicy(plastic_rl.PlasticPolicy):
    """`PlasticPolicy` with that core."""

    def _make_core(self) -> RecurrentCore:
        return PreviousOutputCore(self.features_dim, self.hidden_size, **asdict(self.core_options))


class ReadOutCore(nn.Module):
    """A core with one run for each observation, and after it a layer whose connections are plastic, too.

    With the core's activities y_t the layer gives z_j = tanh(b_j + sum_i y_i (w_ij + alpha_ij H_ij)), and
    its trace changes by neuromodulation: H_ij <- clip(H_ij + k_j tanh(b_m + z w_m) y_i z_j). What is seen now
    is in y_t, so that it addresses this trace at once. Plain torch after the core: slow.
    """

    def __init__(self, input_size: int, hidden_size: int, options: CoreOptions) -> None:
        super().__init__()
        n = hidden_size
        self.core = PlasticRNN(input_size, n, **asdict(options))
        bound = 1 / math.sqrt(n)
        self.w = nn.Parameter(torch.empty(n, n).uniform_(-bound, bound))
        self.alpha = nn.Parameter(options.alpha_init * torch.rand(n, n))
        self.bias = nn.Parameter(torch.zeros(n))
        self.w_m = nn.Parameter(torch.empty(n).uniform_(-bound, bound))
        self.b_m = nn.Parameter(torch.zeros(()))
        self.fan_out = nn.Parameter(torch.ones(n))
        self.trace_clip = options.trace_clip

    def initial_state(self, batch_size: int) -> tuple[PlasticState, Tensor]:
        """Zeros: the core's state, and the layer's trace (B, N, N)."""
        return self.core.initial_state(batch_size), self.w.new_zeros(batch_size, *self.w.shape)

    def forward(
        self,
        features: Tensor,
        state: tuple[PlasticState, Tensor],
        episode_starts: Tensor | None = None,
    ) -> tuple[Tensor, tuple[PlasticState, Tensor]]:
        """Run a sequence, with gradients. features: (T, B, F), episode_starts: (T, B)."""
        y, below = self.core(features, state[0], episode_starts)
        trace, outputs = state[1], []
        for t in range(len(y)):
            if episode_starts is not None and bool(episode_starts[t].any()):
                trace = trace.masked_fill(episode_starts[t].bool()[:, None, None], 0.0)
            z = torch.tanh(self.bias + torch.bmm(y[t, :, None], self.w + self.alpha * trace)[:, 0])
            gain = self.fan_out * torch.tanh(self.b_m + z @ self.w_m)[:, None] * z
            trace = (trace + y[t, :, :, None] * gain[:, None]).clamp(-self.trace_clip, self.trace_clip)
            outputs.append(z)
        return torch.stack(outputs), (below, trace)

    def step(
        self,
        features: Tensor,
        state: tuple[PlasticState, Tensor],
        episode_start: Tensor | None = None,
    ) -> tuple[Tensor, tuple[PlasticState, Tensor]]:
        """One step without gradients. features: (B, F), episode_start: (B,)."""
        with torch.no_grad():
            z, state = self(features[None], state, None if episode_start is None else episode_start[None])
        return z[0], state

    def scaled_parameters(self) -> list[nn.Parameter]:
        """Those that have a learning rate of their own."""
        return [*self.core.scaled_parameters(), self.w, self.alpha]


class ReadOutPolicy(plastic_rl.PlasticPolicy):
    """`PlasticPolicy` with that core."""

    def _make_core(self) -> RecurrentCore:
        return ReadOutCore(self.features_dim, self.hidden_size, self.core_options)


@dataclass(frozen=True)
class Task:
    """What is learned, with the settings of an algorithm for an environment.

    Attributes:
        module: registers the environment.
        overrides: what is changed of the settings, for all networks.
        n_timesteps: instead of those of the settings.
        stop: ends the training after so many environment steps; schedules go on as if it did not.
        questions: scores are mean returns divided by this.
        levels: what a score is to be held against, in words.
        config: settings of its own instead of the package's.
    """

    env_id: str
    levels: str
    algo: str = "plastic_a2c"
    module: str | None = None
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    overrides: dict[str, Any] = field(default_factory=dict)
    n_timesteps: int | None = None
    stop: int | None = None
    episodes: int = 256
    questions: int = 1
    config: Path | str | None = None


@dataclass(frozen=True)
class Network:
    """What is compared.

    Attributes:
        policy_kwargs: what is changed of the settings.
        overrides: of them beside the policy's.
        policy: instead of that of the settings.
    """

    policy_kwargs: dict[str, Any]
    overrides: dict[str, Any] = field(default_factory=dict)
    policy: type[plastic_rl.PlasticPolicy] | None = None


CONFIG = Path(__file__).with_name("core_steps_hyperparams.yml")


def _popgym(name: str, levels: str) -> Task:
    return Task(
        f"popgym-{name}-v0",
        levels,
        "plastic_ppo",
        module="popgym",
        n_timesteps=400_000,
        episodes=100,
        config=CONFIG,
    )


def _maze(env_id: str) -> Task:
    # 12,000 episodes of the settings without gates, whose schedule ends after 80,000.
    return Task(env_id, "random 0, best possible 293", stop=3_000_000, config="ungated")


TASKS = {
    "pairs, asked at the cue": Task(
        "PlasticPairs-v0",
        "counting .44",
        env_kwargs={"answer_delay": 0},
        overrides={"n_steps": 24},
        questions=8,
        config=CONFIG,
    ),
    "pairs, asked one step later": Task("PlasticPairs-v0", "counting .44", questions=8, config=CONFIG),
    "bandit, drawn cues": Task(
        "PlasticBandit-v0",
        "chance .25, best possible .75",
        env_kwargs={"n_pairs": 4, "cues": "drawn"},
        questions=24,
    ),
    "bandit, fixed cues": Task(
        "PlasticBandit-v0",
        "chance .25, best possible .75",
        env_kwargs={"n_pairs": 4},
        questions=24,
    ),
    "PlasticMaze-v0": _maze("PlasticMaze-v0"),
    "PlasticMazePrevAction-v0": _maze("PlasticMazePrevAction-v0"),
    "CartPole without velocities": Task(
        "CartPoleNoVel-v1", "without memory 51, best 500", module="rl_zoo3.import_envs", episodes=100
    ),
    "Pendulum without velocity": Task(
        "PendulumNoVel-v1", "best about -150", module="rl_zoo3.import_envs", episodes=100
    ),
    "POPGym RepeatPrevious": Task(
        "popgym-RepeatPreviousEasy-v0", "without memory -.49, best 1", module="popgym", episodes=100
    ),
    "POPGym RepeatFirst": _popgym("RepeatFirstEasy", "best 1"),
    "POPGym CountRecall": _popgym("CountRecallEasy", "best 1"),
    "POPGym Autoencode": _popgym("AutoencodeEasy", "best 1"),
    "POPGym Concentration": _popgym("ConcentrationEasy", ""),
}
# Plain networks have a smaller learning rate, as in `benchmarks.science.pairs_networks`.
_PLAIN = {"learning_rate": "lin_0.003"}
NETWORKS = {
    "k = 1": Network({"core_steps": 1}),
    "k = 2, every": Network({"core_steps": 2, "inner_updates": "every"}),
    "k = 2, last": Network({"core_steps": 2, "inner_updates": "last"}),
    "k = 2, last, previous output": Network(
        {"core_steps": 2, "inner_updates": "last"}, policy=PreviousOutputPolicy
    ),
    "k = 3, every": Network({"core_steps": 3, "inner_updates": "every"}),
    "k = 3, last": Network({"core_steps": 3, "inner_updates": "last"}),
    # 71 neurons in the core and as many after it have the weights of 100.
    "k = 1 and a plastic read-out": Network({"core_steps": 1, "hidden_size": 71}, policy=ReadOutPolicy),
    "GRU, k = 1": Network({"cell": "gru", "alpha": "none", "core_steps": 1}, _PLAIN),
    "GRU, k = 2": Network({"cell": "gru", "alpha": "none", "core_steps": 2}, _PLAIN),
    "LSTM, k = 2": Network({"cell": "lstm", "alpha": "none", "core_steps": 2}, _PLAIN),
}


def _flat(env_id: str) -> gym.Env[Any, Any]:
    """The environment, with one vector where its observations are tuples, as POPGym's authors have it."""
    env = gym.make(env_id)
    is_tuple = isinstance(env.observation_space, gym.spaces.Tuple)
    return gym.wrappers.FlattenObservation(env) if is_tuple else env


def load(task: Task, network: Network) -> RunConfig:
    """The settings of a run, checked."""
    overrides = {**task.overrides, **network.overrides, "policy_kwargs": network.policy_kwargs}
    return load_config(task.env_id, task.algo, task.config, overrides)


def settings(task: Task, network: Network) -> dict[str, Any]:
    """What a run is trained with, in plain values."""
    config = load(task, network)
    n_timesteps = task.n_timesteps or config.n_timesteps
    run = {"algo": task.algo, "n_envs": config.n_envs, "n_timesteps": n_timesteps, "stop": task.stop}
    return {**run, "env_kwargs": task.env_kwargs, **config.hyperparams}


class StoppedCurve(CurveCallback):
    """Notes the learning curve, and ends the training after `stop` steps where that is given."""

    def __init__(self, n_timesteps: int, stop: int | None) -> None:
        super().__init__(n_timesteps if stop is None else stop)
        self.stop = stop

    def _on_step(self) -> bool:
        return self.stop is None or self.num_timesteps < self.stop


def train(run: Run) -> Result:
    """One run: what it scored, how it learned, and how long that took."""
    task, network = TASKS[run.group], NETWORKS[run.name]
    config, n_timesteps = load(task, network), run.settings["n_timesteps"]
    kwargs = config.kwargs()
    if network.policy is not None:
        kwargs["policy"] = network.policy
    if task.module is None:
        make: Any = task.env_id
    else:
        # By a function: POPGym's environments do not have the render mode that an id is made with.
        import_module(task.module)
        make = partial(_flat, task.env_id)
    env = plastic_rl.make_vec_env(make, config.n_envs, run.seed, env_kwargs=task.env_kwargs or None)
    model = algorithm_class(task.algo)(env=env, seed=run.seed, device="cpu", **kwargs)
    callback = StoppedCurve(n_timesteps, task.stop)
    processor = time.process_time()
    model.learn(n_timesteps, callback=callback)
    processor = time.process_time() - processor
    test = plastic_rl.make_vec_env(
        make, min(32, task.episodes), EVALUATION_SEED + run.seed, env_kwargs=task.env_kwargs or None
    )
    deterministic = not evaluates_sampled(task.env_id)
    returns = evaluate(model, test, task.episodes, deterministic=deterministic).returns / task.questions
    return {
        "score": round(float(returns.mean()), 4),
        "half_interval": round(float(1.96 * returns.std(ddof=1) / np.sqrt(len(returns))), 4),
        "curve": [(steps, round(mean / task.questions, 4)) for steps, mean in callback.curve],
        "steps": model.num_timesteps,
        "processor_seconds": round(processor, 1),
        "weights": sum(parameter.numel() for parameter in model.policy.parameters()),
    }


def table(runs: dict[str, dict[str, list[Result]]]) -> str:
    """Markdown: per task and network the score of every seed, its interval, and what it took."""
    columns = ["task", "levels", "network", "steps", "score of each seed", "mean", "+-", "CPU s"]
    rows = []
    for group, networks in runs.items():
        for name, records in networks.items():
            scores = [record["score"] for record in records]
            each = ", ".join(f"{record['seed']}: {record['score']:.3g}" for record in records)
            # That of a seed's episodes, not of the seeds.
            interval = max(record["half_interval"] for record in records)
            seconds = np.mean([record["processor_seconds"] for record in records])
            steps = f"{records[0]['steps']:,}"
            numbers = f"{np.mean(scores):.3g}", f"{interval:.2g}", f"{seconds:,.0f}"
            rows.append((group, TASKS[group].levels, name, steps, each, *numbers))
    return markdown_table(columns, rows) + "\n"


def main() -> None:
    """Train what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS, metavar="TASK")
    parser.add_argument(
        "--networks",
        nargs="+",
        default=["k = 1", "k = 2, every", "k = 2, last"],
        choices=NETWORKS,
        metavar="NAME",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    wanted = [
        Run(task, network, seed, settings(TASKS[task], NETWORKS[network]))
        for task in arguments.tasks
        for seed in arguments.seeds
        for network in arguments.networks
    ]
    train_missing(
        arguments.folder,
        wanted,
        train,
        lambda _, result: f"{result['score']:.3f} in {result['processor_seconds']} CPU s",
    )
    runs = read_runs(arguments.folder, {task: list(NETWORKS) for task in TASKS})
    text = table(runs)
    (arguments.folder / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
