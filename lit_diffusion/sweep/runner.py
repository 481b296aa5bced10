"""A sweep on this machine: every cell once, a given number at a time, even after interruptions."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from lit_diffusion.runs.watchdog import FIRST, STARTED_BY
from lit_diffusion.sweep.job import ENDS, Job

PERIOD = 0.5  # seconds
ELSEWHERE_PERIOD = 5.0
OWN_VARIABLES = (  # not passed on to cells
    STARTED_BY,
    FIRST,
    "LIT_DIFFUSION_RUN_FOLDER",
    "PL_GLOBAL_SEED",
    "PL_SEED_WORKERS",
)


class Sweep:
    """Runs jobs, `slots` at a time, each on its share of the processors and GPUs.

    propose: called with the jobs while a slot is free and none waits; returns a further one, or None if there is none.
    watch: called about twice a second with the jobs, to display them.
    """

    def __init__(
        self,
        jobs: list[Job],
        slots: int,
        propose: Callable[[list[Job]], Job | None],
        watch: Callable[[list[Job]], None],
    ):
        self.jobs, self.slots, self.propose, self.watch = jobs, slots, propose, watch
        self.interrupted = False
        self._free = list(range(slots))
        self._asked = 0.0  # when cells that run elsewhere were last checked

    def run(self) -> None:
        """Runs until every job has ended or a signal interrupts it; then stops the running jobs, resumably."""
        with self._handling_signals():
            try:
                while not self.interrupted and self._advance():
                    self.watch(self.jobs)
                    time.sleep(PERIOD)
            finally:
                for job in self._in("running"):
                    job.ask_to_stop()  # all at once: the time that they are given may be short
                for job in self._in("running"):
                    job.stop()
                self.watch(self.jobs)

    def _advance(self) -> bool:
        """Starts and updates jobs; returns whether any is left to wait for."""
        for job in self._in("running"):
            job.poll()
            if job.state != "running":
                self._free.append(job.slot)
        if time.monotonic() > self._asked + ELSEWHERE_PERIOD:
            self._asked = time.monotonic()
            for job in self._in("elsewhere"):
                self._start(job)
        while self._free and not self.interrupted:
            waiting = self._in("waiting")
            following = waiting[0] if waiting else self.propose(self.jobs)
            if following is None:
                break
            if not waiting:
                self.jobs.append(following)
            if following.state not in ENDS:
                self._start(following)
        return bool(self._in("running", "elsewhere", "waiting"))

    def _start(self, job: Job) -> None:
        if not self._free:
            return
        job.slot = self._free[0]
        job.start(self._environment(job.slot))
        if job.state == "running":
            self._free.pop(0)

    def _in(self, *states: str) -> list[Job]:
        return [job for job in self.jobs if job.state in states]

    def _environment(self, slot: int) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if name not in OWN_VARIABLES}
        if self.slots > 1:
            environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // self.slots)))
            gpus = list_gpus()
            if gpus:
                own = gpus[slot % len(gpus) :: self.slots] if self.slots < len(gpus) else [gpus[slot % len(gpus)]]
                environment["CUDA_VISIBLE_DEVICES"] = ",".join(own)
        return environment

    @contextmanager
    def _handling_signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM set `interrupted`, which is checked before each update of the jobs."""

        def interrupt(number: int, frame: FrameType | None) -> None:
            self.interrupted = True

        before = {one: signal.signal(one, interrupt) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)


def list_gpus() -> list[str]:
    """The GPUs that this process may use, by their names in CUDA_VISIBLE_DEVICES."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(index) for index in range(torch.cuda.device_count())]
