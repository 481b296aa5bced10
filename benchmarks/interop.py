"""The cost of an import: CIFAR10's network of 35.7M parameters, in processes, in turn with scripts for the same file.

    python -m benchmarks.interop

ours: `lit-diffusion import` of a diffusers folder with random weights, from start to the run folder. load: a script
that reads the file of weights and writes it with torch.save. diffusers: a script that loads the folder into a
DDPMPipeline. The three alternate; printed are medians of seconds and of peak memory, and the median ratios of ours.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# A separate process makes the model, since the peak memory that the system reports of a child includes its parent's.
MODEL = """
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
torch.manual_seed(0)
network = UNet2DModel(
    sample_size=32, block_out_channels=(128, 256, 256, 256), attention_head_dim=None, downsample_padding=0,
    down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    flip_sin_to_cos=False, freq_shift=1, norm_eps=1e-6,
)
DDPMPipeline(network, DDPMScheduler()).save_pretrained("model")
"""
FILE = "unet/diffusion_pytorch_model.safetensors"
COMMANDS = {
    "ours": ["-m", "lit_diffusion", "import", "model", "-o", "out"],
    "load": ["-c", f"import torch, safetensors.torch as st; torch.save(st.load_file('model/{FILE}'), 'out')"],
    "diffusers": ["-c", "from diffusers import DDPMPipeline; DDPMPipeline.from_pretrained('model')"],
}


def spent(command: list[str], folder: Path) -> tuple[float, float]:
    """Seconds and peak MiB of a process."""
    out = folder / "out"
    shutil.rmtree(out) if out.is_dir() else out.unlink(missing_ok=True)
    begin = time.perf_counter()
    null = subprocess.DEVNULL
    process = subprocess.Popen([sys.executable, *command], cwd=folder, stdout=null, stderr=null)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{command} ended with {status}")
    return time.perf_counter() - begin, usage.ru_maxrss / 1024


def main() -> None:
    """Prints one line per command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, "-c", MODEL], cwd=folder, check=True)
        measured: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
        for _ in range(rounds):
            for name, command in COMMANDS.items():
                measured[name].append(spent(command, folder))
    for name, rows in measured.items():
        seconds, memory = (statistics.median(column) for column in zip(*rows))
        slower, larger = (
            statistics.median(ours[i] / theirs[i] for ours, theirs in zip(measured["ours"], rows)) for i in (0, 1)
        )
        ratios = f"ours takes {slower:.2f} of its time, {larger:.2f} of its memory"
        print(f"{name}: {seconds:.2f} s, {memory:.0f} MiB; {ratios}")


if __name__ == "__main__":
    main()
