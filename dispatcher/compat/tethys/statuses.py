"""The statuses of Dask's jobs in a Tethys portal: what they are there, and what events make of them."""

from __future__ import annotations

# What Dask says of a job of Tethys, as the status that Tethys gives it. Tethys itself takes waiting-processing for
# Results-Ready, so that it fetches results; the job runs then.
DASK_TO_TETHYS: dict[str, str] = {
    "new-released": "Submitted",
    "released-waiting": "Submitted",
    "waiting-no-worker": "Submitted",
    "no-worker-waiting": "Submitted",
    "pending": "Submitted",
    "no-worker-processing": "Running",
    "waiting-processing": "Running",
    "processing": "Running",
    "processing-memory": "Results-Ready",
    "memory-released": "Results-Ready",
    "finished": "Complete",
    "processing-erred": "Error",
    "erred-forgotten": "Error",
}

# The other way: the status of a job of Tethys that runs on Dask. An event that is not here changes nothing there.
EVENTS_TO_DASK: dict[str, str] = {
    "CREATED": "pending",
    "PENDING": "pending",
    "PROCESSING_INPUTS": "pending",
    "STAGING_INPUTS": "pending",
    "STAGED": "pending",
    "STAGING_JOB": "pending",
    "SUBMITTING": "pending",
    "QUEUED": "pending",
    "RUNNING": "processing",
    "CLEANING_UP": "processing",
    "ARCHIVING": "processing",
    "FINISHED": "finished",
    "FAILED": "processing-erred",
    "KILLED": "processing-erred",
    "STOPPED": "processing-erred",
}
