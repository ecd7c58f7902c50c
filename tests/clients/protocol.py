"""What the runners of Python speak: a job a line comes in, what its client hears goes out, as JSON.

A job is as in protocol.mjs.
"""

import json
import sys
import threading

OUT = threading.Lock()


def jobs():
    """The jobs, as they come."""
    for line in sys.stdin:
        yield json.loads(line)


def tell(job, kind, **more):
    """Writes one line, in one piece."""
    line = json.dumps({"job": job["job"], "kind": kind, **more}) + "\n"
    with OUT:
        sys.stdout.write(line)
        sys.stdout.flush()


def hear(job, event):
    """Tells of an event of either library."""
    tell(job, "event", name=event.event, id=event.id or "", data=event.data)


def headers_of(job):
    """How the client shows who it is."""
    headers = dict(job["headers"])
    if job["cookie"]:
        headers["Cookie"] = job["cookie"]
    return headers
