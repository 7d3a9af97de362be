"""The part of the Hugging Face Hub's HTTP interface that pushing and loading an agent speak to."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

import pytest


class FakeHub(BaseHTTPRequestHandler):
    """Keeps repositories in memory: the files of the last commit of each."""

    protocol_version = "HTTP/1.1"
    repos: ClassVar[dict[str, dict[str, bytes]]] = {}
    private: ClassVar[dict[str, bool]] = {}
    address: ClassVar[str]
    token = "hf_right"
    requests: ClassVar[list[str]] = []

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    def _answer(self, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._answer({"error": message}, status, {"X-Error-Code": code, "X-Error-Message": message})

    def do_POST(self) -> None:
        """Make a repository, say how files go up, take a commit."""
        body, path = self._body(), urlsplit(self.path).path
        self.requests.append(f"POST {path}")
        if self.headers.get("Authorization") != f"Bearer {self.token}":
            self._refuse(401, "Unauthorized", "Invalid username or password.")
        elif path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            self.repos.setdefault(name, {})
            self.private[name] = bool(asked.get("private") or asked.get("visibility") == "private")
            self._answer({"url": f"http://{self.headers['Host']}/{name}"})
        elif path == "/api/validate-yaml":
            self._answer({"errors": [], "warnings": []})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", path):
            files = json.loads(body)["files"]
            plain = [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in files]
            self._answer({"files": plain})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            for line in body.decode().splitlines():
                operation = json.loads(line)
                if operation["key"] == "file":
                    value = operation["value"]
                    self.repos[found[1]][value["path"]] = base64.b64decode(value["content"])
            url = f"http://{self.headers['Host']}/{found[1]}/commit/{self._commit(found[1])}"
            self._answer({"commitUrl": url, "commitOid": self._commit(found[1]), "success": True})
        else:
            self._answer({"error": f"unknown {path}"}, 404)

    def _commit(self, name: str) -> str:
        return hashlib.sha1(repr(sorted(self.repos[name].items())).encode()).hexdigest()

    def do_GET(self) -> None:
        """Tell of a repository, list its files, send one."""
        path = unquote(urlsplit(self.path).path)
        self.requests.append(f"{self.command} {path}")
        found = re.fullmatch(r"(?:/api/models)?/([^/]+/[^/]+)(/.*)?", path)
        name = found[1] if found else ""
        if name not in self.repos:
            self._refuse(401 if not self.repos else 404, "RepoNotFound", "Repository not found")
            return
        files, commit = self.repos[name], self._commit(name)
        rest = (found[2] or "") if found else ""
        if path.startswith("/api/") and rest.startswith("/tree/"):
            self._answer([self._entry(file, content) for file, content in files.items()])
        elif path.startswith("/api/"):
            if rest not in ("", "/revision/main", f"/revision/{commit}"):
                self._refuse(404, "RevisionNotFound", "Invalid rev id")
                return
            siblings = [{"rfilename": file} for file in files]
            about = {
                "id": name,
                "sha": commit,
                "siblings": siblings,
                "private": self.private[name],
                "tags": [],
            }
            self._answer({**about, "downloads": 0, "likes": 0})
        elif (sent := re.fullmatch(r"/resolve/[^/]+/(.*)", rest)) and sent[1] in files:
            content = files[sent[1]]
            etag = hashlib.sha1(content).hexdigest()
            self._answer(content, headers={"ETag": f'"{etag}"', "X-Repo-Commit": commit})
        else:
            self._refuse(404, "EntryNotFound", "Entry not found")

    do_HEAD = do_GET  # noqa: N815

    def _entry(self, file: str, content: bytes) -> dict[str, Any]:
        return {"type": "file", "path": file, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}


@pytest.fixture
def fake_hub() -> Iterator[type[FakeHub]]:
    """A hub of its own, on this machine."""
    FakeHub.repos.clear()
    FakeHub.private.clear()
    FakeHub.requests.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeHub)
    FakeHub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield FakeHub
    server.shutdown()
    thread.join()
    server.server_close()
