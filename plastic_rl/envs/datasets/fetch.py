"""Downloads of the official archives."""

from dataclasses import dataclass
from pathlib import Path

from plastic_rl.envs.datasets import download_folder

_OMNIGLOT = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python"
# Seconds to wait for the connection and for each piece of the answer.
_TIMEOUT = (10, 30)


@dataclass(frozen=True)
class Download:
    """An archive to be had: where from, its published MD5, and its place in the data folder."""

    url: str
    md5: str
    place: str


DOWNLOADS = {
    "omniglot": (
        Download(
            f"{_OMNIGLOT}/images_background.zip",
            "68d2efa1b9178cc56df9314c21c6e718",
            "omniglot/images_background.zip",
        ),
        Download(
            f"{_OMNIGLOT}/images_evaluation.zip",
            "6b91aef0f799c5bb55b94e3f2daec811",
            "omniglot/images_evaluation.zip",
        ),
    ),
    "cifar10": (
        Download(
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            "c32a1d4ab5d03f1284b67883e8d87530",
            "cifar-10-binary.tar.gz",
        ),
    ),
}
"""The archives of each dataset."""


class DownloadError(OSError):
    """An archive could not be had."""


def fetch(dataset: str, folder: Path | None = None) -> list[Path]:
    """Download the archives of a dataset, with a progress bar; those already there are left alone.

    Args:
        dataset: a key of `DOWNLOADS`.
        folder: where to put them; by default where the loaders look for them.

    Returns:
        The archives' paths.

    Raises:
        DownloadError: if the network, the server or the disk fails, if what came has another checksum, or if
            another file is in the archive's place, which is never written over.
        ImportError: without pooch, which does the downloading.
    """
    try:
        import pooch
    except ImportError as error:
        raise ImportError('downloads need pooch: pip install "plastic-rl[data]"') from error
    from urllib3.exceptions import HTTPError

    pooch.get_logger().setLevel("WARNING")
    paths = []
    for download in DOWNLOADS[dataset]:
        path = (folder or download_folder()) / download.place
        if path.exists() and pooch.file_hash(str(path), alg="md5") != download.md5:
            raise DownloadError(f"{path} is not the official archive: move or delete it to download that one")
        try:
            # Leaves nothing behind unless it is all there and has the right checksum.
            known_hash = f"md5:{download.md5}"
            pooch.retrieve(download.url, known_hash, path.name, path.parent, downloader=_download)
        # ValueError: another checksum. Whatever the network does is wrapped more than once.
        except (OSError, ValueError, HTTPError) as error:
            reason = f"cannot download {download.url}: {_innermost(error)}"
            raise DownloadError(f"{reason}. It may also be fetched by hand and put at {path}") from error
        paths.append(path)
    return paths


def _download(url: str, output_file: str, _pooch: object) -> None:
    """Download a file as it is; pooch's own function would unpack what the server calls compressed."""
    import requests
    from tqdm import tqdm  # type: ignore[import-untyped]

    as_it_is = {"Accept-Encoding": "identity"}
    with requests.get(url, stream=True, timeout=_TIMEOUT, headers=as_it_is) as response:
        response.raise_for_status()
        size = int(response.headers.get("Content-Length", 0)) or None
        title = url.rpartition("/")[2]
        with open(output_file, "wb") as file, tqdm(desc=title, total=size, unit="B", unit_scale=True) as bar:
            for chunk in response.raw.stream(1 << 16, decode_content=False):
                file.write(chunk)
                bar.update(len(chunk))


def _innermost(error: BaseException) -> str:
    """What an error that other errors are wrapped around says."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return str(error) or type(error).__name__
