"""Take a core that was trained in one environment over into another one.

    python examples/transfer_core.py

The two have different observations and actions; what is carried over is how the neurons are connected, how
plastic the connections are and how fast they change.
"""

import tempfile
from pathlib import Path
from typing import Any

import plastic_rl

SETTINGS: dict[str, Any] = {
    "policy": "MlpPolicy",
    "n_steps": 32,
    "use_rms_prop": False,
    "policy_kwargs": {"hidden_size": 64},
}


def main() -> None:
    """Train briefly on CartPole, go on with the same core on Acrobot."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cartpole.zip"
        source = plastic_rl.PlasticA2C(env=plastic_rl.make_vec_env("CartPole-v1", n_envs=8), **SETTINGS)
        source.learn(10_000).save(path)

        model = plastic_rl.PlasticA2C(env=plastic_rl.make_vec_env("Acrobot-v1", n_envs=8), **SETTINGS)
        transfer = model.load_core(path)
    print("copied:", ", ".join(transfer.copied))
    print("fresh: ", ", ".join(transfer.fresh))
    model.learn(10_000)


if __name__ == "__main__":
    main()
