"""Names of the hub, from a server on this machine that answers as the hub does."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from safetensors.torch import load_file

from tests import processes

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path):
    """A hub that knows google/small: the folder that holds it, the hub's address, and the paths that were asked for."""
    asked: list[str] = []
    folder = tmp_path / "theirs"

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            path = self.path.split("?")[0]
            names = [str(one.relative_to(folder)) for one in sorted(folder.rglob("*")) if one.is_file()]
            if path.startswith("/api/models/google/small/tree"):
                files = [
                    {"type": "file", "path": one, "size": (folder / one).stat().st_size, "oid": one} for one in names
                ]
                self.answer(json.dumps(files).encode(), "application/json")
            elif path.startswith("/api/models/google/small"):
                description = {"id": "google/small", "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}
                self.answer(json.dumps(description).encode(), "application/json")
            elif path.removeprefix(f"/google/small/resolve/{COMMIT}/") in names:
                content = (folder / path.removeprefix(f"/google/small/resolve/{COMMIT}/")).read_bytes()
                self.answer(content, "application/octet-stream")
            else:
                self.send_error(404)

        do_HEAD = do_GET

        def answer(self, content: bytes, kind: str) -> None:
            self.send_response(200)
            headers = {"Content-Length": len(content), "Content-Type": kind, "X-Repo-Commit": COMMIT}
            for name, value in {**headers, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'}.items():
                self.send_header(name, str(value))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *arguments):
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def run(tmp_path, address, *arguments):
    """The command as a process: the hub's address is read when its package is imported."""
    cache = {"HF_HOME": str(tmp_path / "cache"), "HF_ENDPOINT": address}
    plain = {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    return processes.run(arguments, tmp_path, {**cache, **plain})


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_model_of_the_hub_is_fetched_once_and_then_from_its_cache(ending, small, hub, tmp_path):
    """Configurations and one file of weights, .safetensors first; then without any server."""
    folder, address, asked = hub
    weights = load_file(folder / "unet/diffusion_pytorch_model.safetensors")
    torch.save(weights, folder / "unet/diffusion_pytorch_model.bin")
    if ending == "bin":
        (folder / "unet/diffusion_pytorch_model.safetensors").unlink()
    (folder / "unet/diffusion_flax_model.msgpack").write_bytes(b"another")
    first = run(tmp_path, address, "import", "google/small", "-o", "first")
    assert first.returncode == 0, first.stderr
    files = {path.rsplit("/", 1)[1] for path in asked if "/resolve/" in path}
    expected = {"config.json", "scheduler_config.json", "model_index.json", f"diffusion_pytorch_model.{ending}"}
    assert files == expected
    state = torch.load(tmp_path / "first/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert torch.equal(state["reverse.network.stem.weight"], weights["conv_in.weight"])
    assert json.loads((tmp_path / "first/origin.json").read_text())["source"] == "google/small"
    again = run(tmp_path, "http://127.0.0.1:9", "import", "google/small", "-o", "again")
    assert again.returncode == 0, again.stderr


def test_name_that_the_hub_does_not_know(small, hub, tmp_path):
    """One line and status 2."""
    result = run(tmp_path, hub[1], "import", "google/other", "-o", "run")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "google/other is not a file or folder, not in the hub's cache, and cannot be downloaded" in result.stderr
