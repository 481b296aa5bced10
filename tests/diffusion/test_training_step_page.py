"""The training step of docs/mathematics.md against the package's own."""

import copy
import re
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from torch.optim import Adam
from torch.utils.data import DataLoader

from lit_diffusion.callbacks import EMA
from lit_diffusion.diffusion import AncestralSampler, GaussianProcess, GaussianReverse, LinearSchedule, Simple
from lit_diffusion.modules import DiffusionModule, LinearWarmup
from lit_diffusion.seeding import derive_seed, seed_step

PAGE = Path(__file__).parents[2] / "docs" / "mathematics.md"


def test_the_training_step_of_the_page_is_the_module_s(tmp_path, monkeypatch):
    """The same losses to the bit, and weights and average to 1e-12, over three steps seeded as in the module."""
    page: dict = {}
    torch.manual_seed(0)
    (code,) = re.findall(r"## A training step on one page\n.*?```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(code, page)
    reverse = GaussianReverse(
        GaussianProcess(LinearSchedule()), lambda i, o: copy.deepcopy(page["network"]), channels=1
    )
    batches = torch.rand(3, 4, 1, 8, 8) * 2 - 1
    module = DiffusionModule(
        reverse, Simple(), AncestralSampler(), lambda p: Adam(p, lr=2e-4), lambda o: LinearWarmup(o, 5000)
    )
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    losses, ema, start = [], EMA(0.9999), copy.deepcopy(page["network"])
    module.log = lambda name, value: losses.append(value.detach())
    Trainer(
        max_steps=3, accelerator="cpu", callbacks=[ema], gradient_clip_val=1.0, logger=False, default_root_dir=tmp_path,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    ).fit(module, DataLoader(batches, batch_size=None))  # fmt: skip
    for step, x_0 in enumerate(batches):
        seed_step(derive_seed(7, "train", step, 0), torch.device("cpu"))
        torch.testing.assert_close(page["training_step"](x_0, step), losses[step], rtol=0, atol=0)
    for found, expected in ((reverse.network, page["network"]), (ema.average.module.reverse.network, page["average"])):
        for a, b in zip(found.parameters(), expected.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    assert any(not torch.equal(a, b) for a, b in zip(start.parameters(), reverse.network.parameters()))
