"""The statuses of a Tethys portal and of Dask's jobs in one: what events make of them, and they of events."""

from __future__ import annotations

from dispatcher.domain.event_names import TETHYS_EVENTS

# The short codes of statuses, as Tethys keeps them.
_CODES = {
    "PEN": "Pending",
    "SUB": "Submitted",
    "RUN": "Running",
    "VAR": "Various",
    "PAS": "Paused",
    "COM": "Complete",
    "ERR": "Error",
    "ABT": "Aborted",
    "VCP": "Various-Complete",
    "RES": "Results-Ready",
    "OTH": "Other",
}

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

# The status in a report to a portal. CLEANING_UP is not Results-Ready: a portal takes that for the end.
EVENTS_TO_TETHYS: dict[str, str] = {
    "CREATED": "Pending",
    "PENDING": "Pending",
    "PROCESSING_INPUTS": "Submitted",
    "STAGING_INPUTS": "Submitted",
    "STAGED": "Submitted",
    "STAGING_JOB": "Submitted",
    "SUBMITTING": "Submitted",
    "QUEUED": "Submitted",
    "RUNNING": "Running",
    "CLEANING_UP": "Running",
    "ARCHIVING": "Running",
    "PAUSED": "Paused",
    "FINISHED": "Complete",
    "FAILED": "Error",
    "KILLED": "Aborted",
    "STOPPED": "Aborted",
}


def tethys_status(given: str) -> str | None:
    """The status that a name or short code of Tethys stands for, None when it is none."""
    status = _CODES.get(given, given)
    return status if status in TETHYS_EVENTS else None
