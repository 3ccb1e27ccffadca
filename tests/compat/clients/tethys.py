"""Runs in the environment of the Tethys portal.

`tethys.py jobs ADDRESS` makes jobs in the portal's database: those in BASIC, and on the Dask scheduler at ADDRESS those
in KEYS. The last line that it prints is their tokens as JSON. `tethys.py cluster PORT` is that scheduler with a worker,
which has run their tasks.
"""

# mypy: ignore-errors
# ruff: noqa: PLC0415 - each command imports what it needs, and what it needs takes seconds

from __future__ import annotations

import json
import signal
import sys
from datetime import timedelta

KEYS = ("polled", "finishes", "fails", "reported-dask")
BASIC = (
    *("basic", "looked-at", "short", "bad-token"),
    *("reported-PAUSED", "reported-FINISHED", "reported-FAILED", "reported-KILLED", "whole-life"),
)


def make_jobs(address: str) -> None:
    import django

    django.setup()
    from django.contrib.auth.models import User
    from django.utils import timezone
    from tethys_compute.models import BasicJob, DaskJob
    from tethys_compute.models.dask.dask_scheduler import DaskScheduler

    user = User.objects.create(username="alice")
    # The portal asks a job that has run for a while: right after its start it waits.
    common = {"user": user, "label": "test", "execute_time": timezone.now() - timedelta(minutes=1)}
    jobs = [BasicJob(name=name, **common) for name in BASIC]
    # With the defaults of Tethys 4.6 a newer Dask refuses the time limit.
    scheduler = DaskScheduler.objects.create(name="test", host=address, timeout=5, heartbeat_interval=5000)
    # They fetch no results: Tethys 4.6 waits for those of a task that another client submitted without end.
    dask = {"scheduler": scheduler, "forget": True, **common}
    jobs += [DaskJob(name=key, key=key, **dask) for key in KEYS]
    for job in jobs:
        job.save()
    print(json.dumps({job.name: job.status_report_token for job in jobs}))  # noqa: T201 - read by the tests


def run_cluster(port: str) -> None:
    from distributed import Client, LocalCluster

    cluster = LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        dashboard_address=None,
        host="127.0.0.1",
        scheduler_port=int(port),
    )
    client = Client(cluster)
    futures = [client.submit(str.upper, key, key=key) for key in KEYS]  # kept, so that the results are
    client.gather(futures)
    signal.pause()


if __name__ == "__main__":
    {"jobs": make_jobs, "cluster": run_cluster}[sys.argv[1]](sys.argv[2])
