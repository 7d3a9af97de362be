"""Fixtures for tests that run RL-Zoo."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import gymnasium
import matplotlib
import pytest


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """`plastic_rl.zoo`, in an empty current folder; nothing of RL-Zoo is left behind afterwards."""
    with pytest.MonkeyPatch.context() as patch, matplotlib.rc_context():
        places = (gymnasium.wrappers, gymnasium.wrappers.common, gymnasium.envs.registration)
        for place in places:
            patch.setattr(place, "TimeLimit", gymnasium.wrappers.TimeLimit, raising=False)
        # At its first import RL-Zoo replaces Gymnasium's time limit, and seaborn the style of all figures.
        pytest.importorskip("rl_zoo3")
        from rl_zoo3.gym_patches import PatchedTimeLimit

        for place in places:
            patch.setattr(place, "TimeLimit", PatchedTimeLimit)
        import rl_zoo3
        from rl_zoo3 import enjoy, train, utils

        from plastic_rl.zoo import __main__ as zoo

        patch.setattr(train, "ExperimentManager", train.ExperimentManager)
        for module in (rl_zoo3, utils, enjoy):
            for name in ("create_test_env", "get_saved_hyperparams"):
                patch.setattr(module, name, getattr(module, name))
        patch.chdir(tmp_path_factory.mktemp("zoo"))
        yield zoo


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    """Tiny settings with everything that RL-Zoo turns into objects."""
    path = tmp_path / "settings.yml"
    path.write_text(
        """
        default: &default
          n_envs: 2
          n_timesteps: 80
          policy: MlpPolicy
          n_steps: 20
          learning_rate: lin_0.001
          gamma: 0.9
          normalize_advantage: true
          policy_kwargs: {hidden_size: 6, rule: oja, backend: reference, optimizer_kwargs: {eps: 1.0e-4}}
        PlasticMaze-v0: {<<: *default, n_steps: 40}
        """
    )
    return path
