import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache of statistics."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("LIT_DIFFUSION_CACHE", str(folder))
    return folder
