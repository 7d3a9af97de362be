"""`plastic-rl completion`: what a shell completes with the script."""

import shutil
import subprocess

import pytest

from plastic_rl.cli.main import COMMANDS, main
from plastic_rl.envs import ENVIRONMENTS

COMPLETE = """
source ./script
COMP_WORDS=({words}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_shtab_plastic_rl
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shell")
    with pytest.MonkeyPatch.context() as patch:
        capture = []
        patch.setattr("builtins.print", lambda text: capture.append(text))
        assert main(["completion", "bash"]) == 0
    (folder / "script").write_text(capture[0])
    (folder / "model.zip").touch()
    return folder


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("plastic-rl ''", set(COMMANDS)),
        ("plastic-rl train Plastic", set(ENVIRONMENTS)),
        ("plastic-rl train PlasticMaze-v0 --algo plastic_", {"plastic_a2c", "plastic_ppo"}),
        ("plastic-rl evaluate --determ", {"--deterministic"}),
        ("plastic-rl data ''", {"fetch", "check"}),
        ("plastic-rl evaluate mod", {"model.zip"}),
    ],
)
def test_bash_completes(script, words, expected):
    done = subprocess.run(
        ["bash", "-c", COMPLETE.format(words=words)],
        cwd=script, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert expected <= set(done.stdout.split())
    if words.endswith(("plastic_", "determ", "mod")):
        assert set(done.stdout.split()) == expected


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_other_shells_have_a_script(shell, capsys):
    assert main(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert "plastic-rl" in out
    assert "timesteps" in out


def test_no_such_shell(capsys):
    assert main(["completion", "cmd"]) == 2
    assert "choose from" in capsys.readouterr().err
