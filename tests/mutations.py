"""Deliberate bugs, each of which the tests must catch: `python -m tests.mutations [--only TEXT] [--list]`.

Works on a copy of the checkout. A mutation that survives, or whose text has gone from its file, ends the command with
status 1. Most need a few seconds; all of them a quarter of an hour on two cores.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Mutation:
    """In `file`, below lit_diffusion/, `old` becomes `new`; `tests` are where a test must fail."""

    file: str
    old: str
    new: str
    tests: str


def of(file: str, tests: str, *changes: tuple[str, str]) -> list[Mutation]:
    """Several mutations of one file."""
    return [Mutation(file, old, new, tests) for old, new in changes]


D, N = "tests/diffusion", "tests/nn"
MUTATIONS = [
    *of(
        "diffusion/schedule.py",
        f"{D}/test_schedule.py",
        ("math.sqrt(beta_start), math.sqrt(beta_end), num_steps) ** 2", "beta_start, beta_end, num_steps)"),
        ("warmup = int(num_steps * fraction)", "warmup = int(num_steps * fraction) + 1"),
        ("scale = 1000 / max(num_steps, 1)", "scale = 1.0"),
        ("1 / torch.arange(max(num_steps, 0), 0, -1", "1 / torch.arange(max(num_steps, 0) + 1, 1, -1"),
        ("torch.cos((u + s) / (1 + s) * math.pi / 2) ** 2", "torch.cos(u * math.pi / 2) ** 2"),
        ("return self.log_alpha_bar(t) - self.", "return self.log_alpha_bar(t) + self."),
        ("(1 - curve[1:] / curve[:-1]).clamp(max=max_beta)", "(1 - curve[1:] / curve[:-1])"),
    ),
    *of(
        "diffusion/distributions.py",
        f"{D}/test_distributions.py {D}/test_bernoulli.py {D}/test_bound.py {D}/test_log_variance.py",
        ("std = self.variance.sqrt() if", "std = self.variance if"),
        ("torch.expm1(log_ratio) - log_ratio", "torch.expm1(log_ratio) + log_ratio"),
        ("(-log_variance / 2).clamp(max=largest).exp()) ** 2", "(-log_variance / 2).clamp(max=largest).exp())"),
        ("0.5 * (ratio - 1 - torch.log(ratio)", "0.5 * (ratio - 1 + torch.log(ratio)"),
        ("0.5 * torch.log(2 * math.pi * math.e * self.variance)", "0.5 * torch.log(2 * math.pi * self.variance)"),
        ("self.mean = self.rate - self.complement", "self.mean = self.rate"),
        ("p = torch.where(x > 0, self.rate, self.complement)", "p = torch.where(x > 0, self.complement, self.rate)"),
    ),
    *of(
        "diffusion/process.py",
        f"{D}/test_process.py {D}/test_binomial_process.py",
        ("c_0 = self.schedule.alpha_bar(s).sqrt() * beta", "c_0 = self.schedule.alpha_bar(t).sqrt() * beta"),
        ("self.schedule.alpha(t, s).sqrt() * sigma2_s", "self.schedule.alpha(t, s) * sigma2_s"),
        ("kept * one + self.rate * drawn", "kept * one + 0.5 * drawn"),
        ("up, down = up * before.rate, down * before.complement", "up, down = up * before.rate, down * before.rate"),
    ),
    *of(
        "diffusion/parameterization.py",
        f"{D}/test_parameterization.py {D}/test_reverse.py",
        (
            "return process.posterior(x_0, x_t, t, t - 1).mean",
            "return process.posterior(x_0, x_t, t, t - 1).mean + x_t",
        ),
        ("spread(1 / c_0, x_t) * output - spread(c_t / c_0", "spread(1 / c_0, x_t) * output + spread(c_t / c_0"),
        ("return signal * x_t - sigma * output", "return signal * x_t + sigma * output"),
        ("(x_t - output) * (1 - variance()) + output", "(x_t - output) * (1 - variance())"),
        ("return process.schedule.log_snr(t).exp()", "return process.schedule.log_snr(t)"),
    ),
    *of(
        "diffusion/variance.py",
        f"{D}/test_variance.py {D}/test_parameterization.py",
        ("fraction = (second_output(raw) + 1) / 2", "fraction = second_output(raw)"),
        ("return (2 * t - s).clamp(max=process.num_steps)", "return (t + 1).clamp(max=process.num_steps)"),
        ("before > 0.99 * beta", "before > 2 * beta"),
        ("if self.last or decoder.num_levels:", "if True:"),
        ("logsigmoid(second_output(raw) + spread(logit, x_t))", "logsigmoid(second_output(raw))"),
    ),
    *of(
        "diffusion/gaussian.py",
        f"{D}/test_reverse.py {D}/test_parameterization.py {D}/test_sampler.py {D}/test_objective.py",
        ("output, raw_variance = output.chunk(2, dim=1)", "raw_variance, output = output.chunk(2, dim=1)"),
        ("x_0 = self.x_0 if reverse.parameterization.clips_mean else", "x_0 = self.x_0 if True else"),
        ("self.t, self.output.detach(), self._raw_variance", "self.t, self.output, self._raw_variance"),
    ),
    *of(
        "diffusion/decoder.py",
        f"{D}/test_decoder.py {D}/test_log_variance.py",
        ("self._half_width = 1 / (num_levels - 1)", "self._half_width = 1 / num_levels"),
        ("x_0 < -1 + half, x_0 > 1 - half)", "x_0 < -1 - half, x_0 > 1 + half)"),
        ("z + 0.044715 * z**3", "z + 0.44715 * z**3"),
        ("/ 2 + log_sinhc - half**2 / 6", "/ 2 - half**2 / 6"),
        ("torch.log(2 * half)", "torch.log(half)"),
    ),
    *of(
        "diffusion/bound.py",
        f"{D}/test_bound.py",
        ("return nats / (x_0[0].numel() * math.log(2))", "return nats / x_0[0].numel()"),
        ("return torch.where(s == 0, sum_per_image(", "return torch.where(s < 0, sum_per_image("),
        ("return 127.5 * self.x_0_error.sqrt()", "return 127.5 * self.x_0_error"),
        ("return self.prior_kl[:, None] + terms", "return terms"),
    ),
    *of(
        "diffusion/bound_estimate.py",
        f"{D}/test_bound_estimate.py",
        ("e, y, last = e[:, 0], size * term, stratum == 0", "e, y, last = e[:, 0], term, stratum == 0"),
        ("* count / (count - 1)", ""),
    ),
    *of(
        "diffusion/timesteps.py",
        f"{D}/test_timesteps.py",
        ("torch.randint(1, self.num_steps + 1, (batch_size, 1)", "torch.randint(1, self.num_steps, (batch_size, 1)"),
        ("(1 / (self.num_steps * p[index]))", "(1 / p[index])"),
        ("self.losses.double().square().mean(1).sqrt()", "self.losses.mean(1)"),
    ),
    *of(
        "diffusion/weighting.py",
        f"{D}/test_weighting.py",
        ("snr.clamp(max=self.gamma)", "snr.clamp(min=self.gamma)"),
        ("x_0_weight / sensitivity", "x_0_weight * sensitivity"),
    ),
    *of(
        "diffusion/objective.py",
        f"{D}/test_objective.py {D}/test_learned_schedule.py",
        ('terms = 1 if self.scale == "per_term" else', 'terms = 1 if self.scale == "times_T" else'),
        ("prediction.detach_mean(), x_0", "prediction, x_0"),
        ("* draw.weight).sum(1)", ").sum(1)"),
    ),
    *of(
        "diffusion/sampler.py",
        f"{D}/test_sampler.py {D}/test_solvers.py",
        ("x = p.sample(generator) if s else p.outcome(generator)", "x = p.sample(generator)"),
        ("if s else self.transition(prediction, at_s)", ""),
        ("before = prediction", "before = None"),
    ),
    *of(
        "diffusion/step_spacing.py",
        f"{D}/test_sampler.py {D}/test_solvers.py",
        (
            "1 + round(i * (schedule.num_steps - 1) / (count - 1))",
            "1 + round(i * (schedule.num_steps - 2) / (count - 1))",
        ),
        ("falling[:-1]) / 2", "falling[:-1])"),
        ("max(result[i], result[i - 1] + 1)", "result[i]"),
    ),
    *of(
        "diffusion/solvers.py",
        f"{D}/test_sampler.py {D}/test_ddim_encode.py {D}/test_solvers.py",
        ("variance = self.eta**2 *", "variance = self.eta *"),
        ("at_s.clamp(min=steps[0]), clip=True)", "at_s.clamp(min=steps[0]), clip=False)"),
        ("(2 * (middle - schedule.log_snr(first)))", "(middle - schedule.log_snr(first))"),
        ("process.eps(x_0, prediction.x_t, prediction.t)", "prediction.eps"),
        ("clip=True).eps - prediction.eps) / 2", "clip=False).eps - prediction.eps) / 2"),
        ("return 2 * super().nfe(schedule) - 1", "return 2 * super().nfe(schedule)"),
    ),
    *of(
        "diffusion/bernoulli.py",
        f"{D}/test_bernoulli_reverse.py {D}/test_binomial_bound.py",
        ("bit.rate * up.rate + bit.complement * down.rate", "bit.rate * up.rate + bit.rate * down.rate"),
        ("softplus(-self.output) + target.complement * softplus(self.output)", "softplus(-self.output)"),
    ),
    *of(
        "diffusion/condition.py",
        f"{D}/test_conditioning.py",
        ("return mean + covariance[..., 0] * gradient", "return mean + gradient"),
        ("(1 - self.flipped) / self.flipped", "1 / self.flipped"),
    ),
    *of(
        "nn/embedding.py",
        f"{N}/test_embedding.py {N}/test_unet.py",
        ("half - ends_at_10000", "half"),
        ("waves[::-1] if cosines_first else waves", "waves if cosines_first else waves[::-1]"),
    ),
    *of(
        "nn/blocks.py",
        f"{N}/test_blocks.py {N}/test_unet.py",
        ("self.norm2(h) * (1 + scale) + shift", "self.norm2(h) * scale + shift"),
        ("(1, 0, 1, 0) if symmetric else (0, 1, 0, 1)", "(0, 1, 0, 1) if symmetric else (1, 0, 1, 0)"),
        ("return self.shortcut(x) + h", "return h"),
        ('mode="nearest"', 'mode="bilinear"'),
    ),
    *of(
        "nn/unet.py",
        f"{N}/test_unet.py",
        ("for _ in range(num_blocks + 1):", "for _ in range(num_blocks):"),
        ("time_channels = 4 * width", "time_channels = 2 * width"),
    ),
    *of(
        "data/batch_plans.py",
        "tests/data/test_batch_plans.py",
        ("return self.num_images // self.batch_size", "return -(-self.num_images // self.batch_size)"),
        ('derive_seed(self.seed, "order", epoch)', 'derive_seed(self.seed, "order", 0)'),
        ("torch.arange(rank, num_images, world_size)", "torch.arange(0, num_images, world_size)"),
    ),
    *of(
        "data/loader.py",
        "tests/data",
        ("x = torch.where(mirrored, x.flip(-1), x)", "x = torch.where(mirrored, x.flip(-2), x)"),
        ('self._served = state["batches"]', "self._served = 0"),
    ),
    *of(
        "pixels.py",
        "tests/data/test_pixels.py",
        ("div_((num_levels - 1) / 2)", "div_(num_levels / 2)"),
        ("round_().clamp_(0, num_levels - 1)", "clamp_(0, num_levels - 1)"),
    ),
    *of(
        "metrics/fidelity.py",
        "tests/metrics/test_fidelity.py tests/metrics/test_closed_forms.py tests/metrics/test_torch_fidelity.py",
        ("(scatter / max(count - 1, 1))", "(scatter / count)"),
        ("self.features.append(features[numbers % self.stride == 0])", "self.features.append(features[::self.stride])"),
    ),
    *of(
        "metrics/estimators.py",
        "tests/metrics/test_estimators.py",
        ("logits[order].double()", "logits.double()"),
        ("log_q = part.logsumexp(0) - np.log(len(part))", "log_q = part.exp().mean(0).log()"),
        (".kthvalue(neighbours + 1)", ".kthvalue(neighbours)"),
        ("torch.cdist(some.double(), centres) <= radius", "torch.cdist(some.float(), centres.float()) <= radius"),
        ("replace=False)].double().numpy()", "replace=False)].numpy()"),
    ),
    *of(
        "interop/weight_sets.py",
        "tests/interop/test_weight_sets.py",
        ('kind = (wanted or "ema") if averaged else None', 'kind = (wanted or "raw") if averaged else None'),
        ("if holds and asked and holds != asked:", "if False:"),
    ),
    *of(
        "data/image_listing.py",
        "tests/data/test_image_listing.py",
        ('"/." in target.removeprefix(top)', "False"),
        ("for path, target in reversed(links) if target not in taken", "for path, target in reversed(links)"),
    ),
    *of(
        "metrics/protocol.py",
        "tests/metrics/test_protocols.py",
        ("return to_levels(x, 256).float()", "return x.float().clamp(-1, 1).add(1).mul(127.5)"),
        ("return -(-num_images // self.max_features)", "return max(1, num_images // self.max_features)"),
    ),
    *of(
        "metrics/parzen.py",
        "tests/metrics/test_parzen.py",
        ("(squares / (-2 * sigma**2))", "(squares / (-(sigma**2)))"),
        ("- math.log(num_samples) - scale", "- scale"),
    ),
    *of(
        "metrics/reference_cache.py",
        "tests/metrics/test_reference_cache.py",
        ('if metadata["sha256"] == digest_of(statistics) else None', "if True else None"),
    ),
    *of(
        "callbacks/ema.py",
        "tests/callbacks/test_ema.py tests/training/test_training.py",
        ("get_ema_multi_avg_fn(decay)", "get_ema_multi_avg_fn(1 - decay)"),
        ("self._first_share *= self.decay", "pass"),
        ("max(left if self._updates else left - 1, 0)", "max(left, 0)"),
        ("1 < self._updates < self._expected_updates", "False"),
    ),
    *of(
        "callbacks/run_report.py",
        "tests/callbacks/test_run_report.py",
        ("used = min(number, batches * data.eval_batch_size)", "used = number"),
        ("if step <= end or", "if step < end or"),
    ),
    *of(
        "callbacks/divergence.py",
        "tests/callbacks/test_divergence.py",
        ("if not math.isfinite(loss):", "if math.isnan(loss):"),
        ("return None  # too few for a median", "pass"),
    ),
    *of(
        "callbacks/sample_blocks.py",
        "tests/callbacks/test_sample_blocks.py",
        (
            "for block in range(rank, -(-num_samples // block_size), ranks):",
            "for block in range(rank, num_samples // block_size, ranks):",
        ),
        ("min(block_size, num_samples - first)", "block_size"),
    ),
    *of(
        "callbacks/checkpoints.py",
        "tests/training/test_best_checkpoint.py tests/training/test_going_on.py",
        ("better = self.best is None or value < self.best", "better = self.best is None or value > self.best"),
        ("[: -self.keep] if self.keep else ()", "[: -self.keep - 1] if self.keep else ()"),
    ),
    *of(
        "runs/checkpoint_files.py",
        "tests/faults/test_checkpoint_files.py tests/training/test_going_on.py",
        ("check_archive(file)", "pass"),
        ("return max(whole)[-1] if whole else None", "return min(whole)[-1] if whole else None"),
    ),
    *of(
        "training/loops.py",
        "tests/training tests/faults/test_signals.py",
        ('state = {"evaluated": self.evaluated,', 'state = {"evaluated": True,'),
    ),
    *of(
        "training/schedule_check.py",
        "tests/training/test_schedule_check.py",
        ("schedule.last_epoch = steps - 1", "pass"),
        ("for step in range(1, steps + 1):", "for step in [steps]:"),
        ("batches // trainer.accumulate_grad_batches", "batches"),
        ('any(group["lr"] < 0', 'any(group["lr"] < -1'),
    ),
    *of(
        "training/resuming.py",
        "tests/training/test_resuming.py",
        ("trainer.strategy.lr_scheduler_configs = plateaus", "pass"),
        (', "_last_lr": rates}', "}"),
    ),
    *of(
        "runs/working_folder.py",
        "tests/training/test_resuming.py",
        ("here.parents[len(parts) - 1] if", "None if"),
        ("not chosen.samefile(other)", "False"),
    ),
    *of(
        "modules/diffusion.py",
        "tests/training/test_training_step.py",
        ("min(step / steps, 1.0) if steps else 1.0", "1.0"),
        (
            'derive_seed(self.seed, "train", step, self.global_rank)',
            'derive_seed(self.seed, "train", self.global_rank)',
        ),
    ),
    *of(
        "modules/generative.py",
        "tests/callbacks/test_sample_blocks.py",
        ('derive_seed(self.seed, "sample", block)', 'derive_seed(self.seed, "sample", 0)'),
    ),
    *of(
        "config/keys.py",
        "tests/config",
        ('f"{key}.".startswith(f"{other}.")', "key.startswith(other)"),
    ),
    *of(
        "table/experiment.py",
        "tests/table/test_table_meaning.py",
        ("statistics.stdev(values)", "statistics.pstdev(values)"),
        ('return "diverged" if run.scores[score].value is None else FINISHED', "return FINISHED"),
        ("key=lambda run: (run.time, run.name)", "key=lambda run: (-run.time, run.name)"),
    ),
    *of(
        "table/rows.py",
        "tests/table",
        ("if matches(one.settings, row.where)]", "]"),
    ),
    *of(
        "sweep/parameters.py",
        "tests/sweep/test_sweep_file.py",
        ("self.low + int(quantile * (self.high - self.low + 1))", "self.low + int(quantile * (self.high - self.low))"),
        ("total += probability", "total = probability"),
        ("math.ceil(self.low / self.q - 1e-9)", "math.ceil(self.low / self.q)"),
    ),
    *of(
        "sweep/job.py",
        "tests/sweep/test_sweep_run.py",
        ('ENDS = ("finished", "diverged")', 'ENDS = ("finished", "diverged", "failed")'),
    ),
]


def main() -> None:
    """Runs the mutations; prints one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="only mutations whose file or text holds this")
    parser.add_argument("--list", action="store_true", help="print the mutations and run none")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    chosen = [one for one in MUTATIONS if options.only in f"{one.file} {one.old} {one.new}"]
    if options.list:
        print(*(f"{one.file}: {one.old!r} -> {one.new!r}" for one in chosen), sep="\n")
        return
    begin, missed = time.monotonic(), 0
    for number, (mutation, verdict) in enumerate(run_all(chosen, options.jobs), 1):
        missed += not verdict.startswith("caught")
        print(f"[{number}/{len(chosen)}] {mutation.file}: {mutation.old!r} -> {mutation.new!r}: {verdict}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} caught in {time.monotonic() - begin:.0f} s")
    sys.exit(1 if missed else 0)


def run_all(mutations: list[Mutation], jobs: int) -> Iterator[tuple[Mutation, str]]:
    """Each mutation with what became of it, in copies of the checkout, one a worker."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        copies: Queue[Path] = Queue()
        for number in range(jobs):
            copies.put(copy_checkout(Path(folder, str(number))))

        def run(mutation: Mutation) -> str:
            copy = copies.get()
            try:
                return try_one(copy, mutation)
            finally:
                copies.put(copy)

        yield from zip(mutations, pool.map(run, mutations))


def copy_checkout(to: Path) -> Path:
    """The files that git knows, as they are now."""
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, to / name)
    return to


def try_one(copy: Path, mutation: Mutation) -> str:
    """Runs the tests on a mutated file, and puts the file back."""
    file = copy / "lit_diffusion" / mutation.file
    text = file.read_text()
    if text.count(mutation.old) != 1:
        return f"its text stands there {text.count(mutation.old)} times, not once"
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-n", "0", *mutation.tests.split()]
    environment = {**os.environ, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    file.write_text(text.replace(mutation.old, mutation.new))
    begin = time.monotonic()
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=600)
    except subprocess.TimeoutExpired:
        return "caught: the tests hang"
    finally:
        file.write_text(text)
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if done.returncode == 1 and failed:
        return f"caught by {failed[0].split(' ')[1]} in {time.monotonic() - begin:.0f} s"
    return "SURVIVED" if done.returncode == 0 else f"pytest ended with {done.returncode}: {done.stdout[-300:]}"


if __name__ == "__main__":
    main()
