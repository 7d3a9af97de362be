"""`plastic-rl data fetch` from a server on this machine, and `plastic-rl data check`."""

import hashlib
import io
import re
import socket
import sys
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from plastic_rl.cli.main import main
from plastic_rl.envs.datasets import fetch as dataset_fetch
from plastic_rl.envs.datasets.fetch import DOWNLOADS, Download

pytest.importorskip("pooch")


def small_omniglot() -> bytes:
    drawing, archive = io.BytesIO(), io.BytesIO()
    Image.new("1", (105, 105), 1).save(drawing, "PNG")
    with zipfile.ZipFile(archive, "w") as members:
        for number in range(1, 21):
            members.writestr(f"images_background/Greek/character01/0001_{number:02}.png", drawing.getvalue())
    return archive.getvalue()


def small_cifar10() -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as members:
        for name in ("data_batch_1.bin", "test_batch.bin"):
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = 2 * 3073
            members.addfile(member, io.BytesIO(bytes(member.size)))
    return archive.getvalue()


FILES = {"/images_background.zip": small_omniglot(), "/cifar-10-binary.tar.gz": small_cifar10()}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path not in FILES and self.path != "/short":
            self.send_error(404)
            return
        data = FILES.get(self.path, b"half")
        self.send_response(200)
        self.send_header("Content-Length", str(len(data) + (self.path == "/short")))
        if self.path.endswith(".gz"):
            # As some servers do; it is not about the transfer, and the archive must come as it is.
            self.send_header("Content-Encoding", "x-gzip")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_arguments) -> None:
        pass


@pytest.fixture
def server(monkeypatch):
    """A server that stands for the official ones; `asked` lists what was asked of it."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.asked = []
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        offer(monkeypatch, f"http://127.0.0.1:{running.server_port}")
        yield running
        running.shutdown()
        thread.join()


def offer(monkeypatch, address: str, md5: str | None = None, path: str | None = None) -> None:
    def download(name: str) -> Download:
        checksum = md5 or hashlib.md5(FILES[f"/{name}"]).hexdigest()
        return Download(f"{address}{path or f'/{name}'}", checksum, name)

    small = {
        "omniglot": (download("images_background.zip"),),
        "cifar10": (download("cifar-10-binary.tar.gz"),),
    }
    monkeypatch.setattr(dataset_fetch, "DOWNLOADS", small)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PLASTIC_RL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("PLASTIC_RL_DATA", raising=False)
    return tmp_path / "cache" / "data"


def the_error(capsys) -> str:
    output = capsys.readouterr()
    errors = [line for line in output.err.splitlines() if line.startswith("plastic-rl: error: ")]
    assert len(errors) == 1, output.err
    assert "Traceback" not in output.err
    return errors[0]


def test_fetch_all_then_check(server, folder, capsys):
    assert main(["data", "fetch"]) == 0
    fetched = capsys.readouterr()
    assert "Omniglot: 1 of 1,623 characters of 1 alphabets" in fetched.out
    assert "CIFAR-10: 2 of 50,000 training images and 2 of 10,000 test images" in fetched.out
    assert "100%" in fetched.err, "the progress bar"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        name.removeprefix("/"): data for name, data in FILES.items()
    }
    assert main(["data", "check"]) == 0
    assert capsys.readouterr().out == fetched.out


def test_what_is_there_is_not_fetched_again(server, capsys):
    assert main(["data", "fetch", "cifar10"]) == 0
    assert main(["data", "fetch", "cifar10"]) == 0
    assert server.asked == ["/cifar-10-binary.tar.gz"]
    assert "Omniglot" not in capsys.readouterr().out


def test_fetch_into_another_folder(server, folder, tmp_path, capsys):
    assert main(["data", "fetch", "omniglot", "--output", str(tmp_path / "mine")]) == 0
    assert str(tmp_path / "mine" / "images_background.zip") in capsys.readouterr().out
    assert not folder.exists()
    assert main(["data", "check", str(tmp_path / "mine")]) == 2
    report = capsys.readouterr().out.splitlines()
    assert report[0].startswith("Omniglot: 1 of 1,623 characters")
    assert report[1].startswith("CIFAR-10: error: CIFAR-10 is not there")
    assert "`plastic-rl data fetch cifar10`" in report[1]


def test_a_wrong_checksum_is_not_kept(server, folder, monkeypatch, capsys):
    offer(monkeypatch, f"http://127.0.0.1:{server.server_port}", md5="0" * 32)
    assert main(["data", "fetch", "cifar10"]) == 2
    assert re.search("cannot download http://.*cifar-10-binary.tar.gz: .*hash", the_error(capsys))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("path", "reason"), [("/gone", "404"), ("/short", "IncompleteRead|1 more expected")])
def test_failures_of_the_server(server, folder, monkeypatch, capsys, path, reason):
    offer(monkeypatch, f"http://127.0.0.1:{server.server_port}", path=path)
    assert main(["data", "fetch", "cifar10"]) == 2
    assert re.search(f"cannot download http.*{path}: .*({reason})", the_error(capsys))
    assert list(folder.iterdir()) == []


def test_no_network(folder, monkeypatch, capsys):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        offer(monkeypatch, f"http://127.0.0.1:{closed.getsockname()[1]}")
        assert main(["data", "fetch", "omniglot"]) == 2
    error = the_error(capsys)
    assert "Connection refused" in error
    assert f"put at {folder / 'images_background.zip'}" in error


def test_a_silent_server_is_given_up(folder, monkeypatch, capsys):
    monkeypatch.setattr(dataset_fetch, "_TIMEOUT", (0.2, 0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        offer(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert main(["data", "fetch", "omniglot"]) == 2
    assert "timed out" in the_error(capsys)


def test_a_file_of_ones_own_is_never_written_over(server, folder, capsys):
    folder.mkdir(parents=True)
    (folder / "cifar-10-binary.tar.gz").write_text("my own")
    assert main(["data", "fetch", "cifar10"]) == 2
    assert "is not the official archive: move or delete it" in the_error(capsys)
    assert (folder / "cifar-10-binary.tar.gz").read_text() == "my own"
    assert server.asked == []
    assert main(["data", "check"]) == 2
    assert "CIFAR-10: error: " in capsys.readouterr().out


def test_a_folder_that_cannot_be_written(server, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert main(["data", "fetch", "cifar10", "--output", str(tmp_path / "file")]) == 2
    assert str(tmp_path / "file") in the_error(capsys)


def test_without_pooch(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pooch", None)
    assert main(["data", "fetch", "omniglot"]) == 2
    assert 'pip install "plastic-rl[data]"' in the_error(capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: {fetch,check}"),
        (["fetch", "mnist"], "'mnist'"),
        (["fetch", "--output", ""], "is empty"),
    ],
)
def test_bad_arguments(arguments, message, capsys):
    assert main(["data", *arguments]) == 2
    assert message in the_error(capsys)


def test_the_official_archives():
    urls = {download.place: (download.url, download.md5) for row in DOWNLOADS.values() for download in row}
    assert set(urls) == {
        "omniglot/images_background.zip",
        "omniglot/images_evaluation.zip",
        "cifar-10-binary.tar.gz",
    }
    for url, md5 in urls.values():
        assert url.startswith("https://")
        assert re.fullmatch("[0-9a-f]{32}", md5)
