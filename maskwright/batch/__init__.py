"""A folder of pictures: nothing is lost, a second run goes on where the first stopped, and the network never waits.

`Batch` holds two places and a segmenter; it plans, runs and keeps the journal. The steps of one picture are those of
`Worker`, whoever drives them: the threads of `run_jobs`, or a cluster.
"""

from __future__ import annotations

from .journal import Entry, Recipe
from .places import LocalPlace, Place, RemotePlace, Stamp, open_place
from .plan import PICTURE_SUFFIXES, Job, Plan, name_targets
from .report import BatchReport
from .run import Limits, Progress, is_fatal, record, run_jobs, say_error
from .session import Batch, Choices, Runner, watch
from .sizing import BatchSize, open_beside_others
from .work import Decoded, Finished, Read, Settings, Unchanged, Worker

__all__ = [
    "PICTURE_SUFFIXES",
    "Batch",
    "BatchReport",
    "BatchSize",
    "Choices",
    "Decoded",
    "Entry",
    "Finished",
    "Job",
    "Limits",
    "LocalPlace",
    "Place",
    "Plan",
    "Progress",
    "Read",
    "Recipe",
    "RemotePlace",
    "Runner",
    "Settings",
    "Stamp",
    "Unchanged",
    "Worker",
    "is_fatal",
    "name_targets",
    "open_beside_others",
    "open_place",
    "record",
    "run_jobs",
    "say_error",
    "watch",
]
