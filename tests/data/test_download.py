import io
import json
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deepmucs_utils.data import download as module
from deepmucs_utils.data.download import download, fetch, unpack
from deepmucs_utils.errors import DeepMuCSError

NAME = "annotations/LIVECell/livecell_coco_val.json"
BODY = json.dumps({"images": [], "annotations": [], "filler": "x" * 300_000}).encode()


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


IMAGES = {f"images/livecell_train_val_images/A172/{n}.tif": b"II*" + bytes(500) for n in range(3)}


class Server:
    """A small file server that can misbehave.

    ``break_at`` ends every connection after so many bytes; ``ranges`` says whether it resumes;
    ``claim`` is added to the length that it announces.
    """

    def __init__(self):
        self.files = {
            f"/{NAME}": BODY,
            "/images.zip": zipped(IMAGES),
        }
        self.break_at, self.ranges, self.claim, self.status, self.asked = None, True, 0, 200, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def answer(self, request):
        body = self.files.get(request.path)
        if body is None or self.status != 200:
            request.send_error(404 if body is None else self.status)
            return
        span = request.headers.get("Range") if self.ranges else None
        start = int(span.removeprefix("bytes=").rstrip("-")) if span else 0
        self.asked.append(start)
        request.send_response(206 if span else 200)
        rest = body[start:]
        request.send_header("Content-Length", str(len(rest) + self.claim))
        if span:
            total = len(body) + self.claim
            request.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        request.end_headers()
        request.wfile.write(rest if self.break_at is None else rest[: self.break_at])
        request.close_connection = True

    def close(self):
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture()
def server(monkeypatch):
    monkeypatch.setattr(module, "PAUSE", 0.001)
    monkeypatch.setattr(module, "BLOCK", 10_000)
    server = Server()
    yield server
    server.close()


def left(root):
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


def test_a_root_is_downloaded_unpacked_and_recorded(server, tmp_path):
    root = download(tmp_path / "root", ["val"], server.url)
    assert left(root) == [NAME, "download.json", *sorted(IMAGES)]
    assert (root / NAME).read_bytes() == BODY
    record = json.loads((root / "download.json").read_text())
    assert record[NAME]["size"] == len(BODY) and len(record[NAME]["sha256"]) == 64
    asked = len(server.asked)
    assert download(root, ["val"], server.url) == root
    assert len(server.asked) == asked  # nothing is fetched twice


def test_a_connection_that_breaks_again_and_again_is_resumed_where_it_broke(server, tmp_path):
    server.break_at = 100_000
    assert fetch(tmp_path, NAME, server.url).read_bytes() == BODY
    assert server.asked == [0, 100_000, 200_000, 300_000]


def test_a_download_resumes_in_the_next_call(server, tmp_path, monkeypatch):
    server.break_at = 100_000
    monkeypatch.setattr(module, "TRIES", 1)
    server.files[f"/{NAME}"] = BODY[:100_000]
    server.claim = len(BODY) - 100_000
    with pytest.raises(DeepMuCSError, match="no more than 100000 bytes"):
        fetch(tmp_path, NAME, server.url)
    assert not (tmp_path / NAME).exists()
    server.files[f"/{NAME}"], server.claim, server.break_at = BODY, 0, None
    assert fetch(tmp_path, NAME, server.url).read_bytes() == BODY
    assert server.asked == [0, 100_000, 100_000]


def test_a_server_that_cannot_resume_is_asked_from_the_start(server, tmp_path):
    server.break_at, server.ranges = 100_000, False
    threading.Timer(0.2, lambda: setattr(server, "break_at", None)).start()
    module.PAUSE = 0.1
    assert fetch(tmp_path, NAME, server.url).read_bytes() == BODY
    assert set(server.asked) == {0}


def test_a_length_that_never_comes_is_an_error_and_no_file(server, tmp_path):
    server.claim = 5_000
    with pytest.raises(DeepMuCSError, match=r"no more than 3000\d\d bytes came.*resume"):
        fetch(tmp_path, NAME, server.url)
    assert not (tmp_path / NAME).exists()


def test_a_file_that_changed_on_the_server_is_not_taken(server, tmp_path):
    fetch(tmp_path, NAME, server.url).unlink()
    server.files[f"/{NAME}"] = BODY.replace(b"xx", b"xy")
    with pytest.raises(DeepMuCSError, match="recorded in download.json"):
        fetch(tmp_path, NAME, server.url)
    server.files[f"/{NAME}"] = BODY + b" "
    with pytest.raises(DeepMuCSError, match=f"{len(BODY) + 1} bytes that are not"):
        fetch(tmp_path, NAME, server.url)
    assert not (tmp_path / NAME).exists()


def test_a_file_that_changed_on_the_disk_is_noticed(server, tmp_path):
    path = fetch(tmp_path, NAME, server.url)
    path.write_bytes(BODY[:-10])
    with pytest.raises(DeepMuCSError, match="remove this file"):
        fetch(tmp_path, NAME, server.url)


@pytest.mark.parametrize(("status", "message"), [(403, "Forbidden"), (503, "no more than 0")])
def test_a_refusal_and_a_server_that_is_down_are_reported_in_one_sentence(
    server, tmp_path, status, message
):
    server.status = status
    with pytest.raises(DeepMuCSError, match=message):
        fetch(tmp_path, NAME, server.url)
    with pytest.raises(DeepMuCSError, match="no more than 0 bytes"):
        fetch(tmp_path, NAME, "http://127.0.0.1:9/")


@pytest.mark.parametrize(
    "name", ["../evil.tif", "/etc/evil.tif", "images/../../evil.tif", "other/evil.tif", "..\\evil"]
)
def test_an_archive_that_writes_outside_its_folder_is_refused_as_a_whole(tmp_path, name):
    archive = tmp_path / "images.zip"
    archive.write_bytes(zipped(IMAGES | {name: b"evil"}))
    root = tmp_path / "root"
    root.mkdir()
    with pytest.raises(DeepMuCSError, match="lies outside images/.*nothing was unpacked"):
        unpack(archive, root, "images")
    assert left(tmp_path) == ["images.zip"]


def test_a_link_in_an_archive_is_refused(tmp_path):
    archive = tmp_path / "images.zip"
    with zipfile.ZipFile(archive, "w") as zipped_file:
        link = zipfile.ZipInfo("images/link.tif")
        link.external_attr = 0o120777 << 16
        zipped_file.writestr(link, "/etc/passwd")
    with pytest.raises(DeepMuCSError, match="is a link"):
        unpack(archive, tmp_path, "images")


def test_a_damaged_archive_leaves_nothing_behind(tmp_path):
    archive = tmp_path / "images.zip"
    content = bytearray(zipped({"images/a.tif": bytes(range(256)) * 50}))
    content[60] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(DeepMuCSError, match="damaged"):
        unpack(archive, tmp_path, "images")
    assert left(tmp_path) == ["images.zip"]
