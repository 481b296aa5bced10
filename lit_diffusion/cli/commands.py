"""The commands by name: the module that runs each, imported when it is called, and its line in `lightning --help`."""

TRAINING = "lit_diffusion.training.command"
COMMANDS = {
    "fit": (TRAINING, "train a model: lightning fit -c configs/digits.yaml"),
    "validate": (TRAINING, "score a checkpoint: lightning validate -c runs/X/config.yaml --ckpt_path last"),
    "test": (TRAINING, "score a checkpoint into summary.json: lightning test -c runs/X/config.yaml --ckpt_path best"),
    "predict": (
        TRAINING,
        "samples, reconstructions, interpolations: lightning predict -c runs/X/config.yaml --ckpt_path best",
    ),
    "sweep": (
        "lit_diffusion.sweep.command",
        "run a sweep file on this machine: lit-diffusion sweep sweeps/table2.yaml -c configs/digits.yaml",
    ),
    "table": (
        "lit_diffusion.table.command",
        "a paper's table with our scores: lit-diffusion table runs/table2 --layout table2",
    ),
    "report": (
        "lit_diffusion.report.command",
        "tables, curves and pictures of many runs as one HTML page: lit-diffusion report runs/table2",
    ),
    "score": (
        "lit_diffusion.cli.score_command",
        "FID, IS, KID, precision, recall of any images: lit-diffusion score samples.npz cifar10:train",
    ),
    "import": (
        "lit_diffusion.interop.import_command",
        "released weights as a run: lit-diffusion import google/ddpm-cifar10-32 -o runs/ddpm-cifar10",
    ),
    "export": (
        "lit_diffusion.interop.export_command",
        "a run for other code bases: lit-diffusion export runs/X --format diffusers -o my-model",
    ),
    "doctor": ("lit_diffusion.doctor.command", "what this machine lacks, and how to fix it: lit-diffusion doctor"),
}
WORKERS = {"fit", "validate", "test", "predict", "sweep", "report"}  # do more than print: they go on if nobody reads it
