"""What attacks need: a good model to damage, code that leaves a trace if it is run, and a watch on memory."""

import io
import json
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from plastic_rl.cli.main import main

# fmt: off
TRAIN = ["train", "PlasticMaze-v0", "--timesteps", "40", "--n-envs", "2", "--seed", "1", "--device", "cpu",
         "--env-kwargs", "max_episode_steps:20", "--hyperparams", "n_steps:10", "policy_kwargs.hidden_size:6",
         "policy_kwargs.backend:reference"]
# fmt: on
MEGABYTE = 2**20
# What one refused file may add to the memory of the process.
ALLOWED = 128 * MEGABYTE

# An audit hook cannot be taken away again: it listens while somebody wants to know.
_heard: list[str] = []
_listening = False


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if _listening and event in ("pickle.find_class", "os.system", "subprocess.Popen", "os.exec"):
        _heard.append(f"{event} {arguments}")


sys.addaudithook(_listen)


@contextmanager
def nothing_runs(folder: Path) -> Iterator[None]:
    """Inside, no pickle asks for anything, no program starts, and `Exploit` leaves nothing behind."""
    global _listening
    _heard.clear()
    _listening = True
    try:
        yield
    finally:
        _listening = False
    assert _heard == []
    assert not (folder / "executed").exists()


@contextmanager
def bounded_memory(allowed: int = ALLOWED) -> Iterator[None]:
    """Inside, the process needs at most so many bytes more than before, at any moment; measured on Linux."""
    if not Path("/proc/self/clear_refs").exists():
        yield
        return
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew
    before = peak()
    yield
    assert peak() - before < allowed, f"{(peak() - before) / MEGABYTE:.0f} MB more"


def peak() -> int:
    """The largest resident size of this process since it was last counted anew, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


class Exploit:
    """Unpickled, it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (str(self.path), "w")


class Kit:
    """The parts of a good model file, to make bad ones of.

    Attributes:
        members: of the archive.
        exploit: an object that creates a file when it is unpickled.
    """

    def __init__(self, model: Path, folder: Path) -> None:
        with zipfile.ZipFile(model) as archive:
            self.members = {name: archive.read(name) for name in archive.namelist()}
        self.exploit = Exploit(folder / "executed")

    def packed(self, **changes: Any) -> bytes:
        """An archive of the members; an underscore in a name is a dot, and None leaves one out."""
        named = {name.replace("_", "."): content for name, content in changes.items()}
        return self.packed_as(self.members | named)

    def packed_as(self, members: dict[str, Any]) -> bytes:
        """An archive of these members, those that are None left out."""
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            for name, content in members.items():
                if content is not None:
                    archive.writestr(name, content)
        return stream.getvalue()

    def with_settings(self, change: Callable[[Any], object]) -> bytes:
        """An archive whose settings were changed."""
        content = json.loads(self.members["settings.json"])
        change(content)
        return self.packed(settings_json=json.dumps(content))

    def with_tensors(self, member: str, change: Callable[[dict[str, torch.Tensor]], object]) -> bytes:
        """An archive in which the tensors of one member were changed."""
        name = f"{member}.safetensors"
        tensors = safetensors.torch.load(self.members[name])
        change(tensors)
        return self.packed_as(self.members | {name: safetensors.torch.save(tensors)})


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nobody has touched."""
    folder = tmp_path_factory.mktemp("good") / "run"
    assert main([*TRAIN, "--output", str(folder)]) == 0
    return folder


@pytest.fixture
def kit(run: Path, tmp_path: Path) -> Kit:
    return Kit(run / "model.zip", tmp_path)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., str]:
    """Run a command that has to fail in one line, with exit code 2, without running anything of a file."""

    def run_command(*arguments: str) -> str:
        capsys.readouterr()
        with nothing_runs(tmp_path), bounded_memory():
            code = main([*arguments])
        # A progress bar wipes itself away before.
        err = capsys.readouterr().err.rpartition("\r")[2]
        assert code == 2, err
        assert err.count("\n") == 1, err
        assert err.startswith("plastic-rl: error: "), err
        assert len(err) < 2000, err
        return err

    return run_command


@pytest.fixture
def refused_by(tmp_path: Path) -> Callable[..., str]:
    """Call a function that has to raise one of these errors, without running anything of a file."""

    def call(function: Callable[..., object], *arguments: Any, errors: Any) -> str:
        with nothing_runs(tmp_path), bounded_memory(), pytest.raises(errors) as raised:
            function(*arguments)
        return str(raised.value)

    return call
