"""Processes: a supervisor that keeps workers serving on the same sockets. Knows nothing of HTTP.

    supervisor.py   binds, starts, listens to signals; does what fleet.py decides
    fleet.py        which workers there should be: rules without I/O; with actions.py, restarts.py, states.py, pulse.py
    process.py      one worker as the supervisor sees it
    worker.py       the worker's own program; hearing.py and inspection.py are threads in it
    channel.py      the line between the two
    changes.py      which files have changed, for reload

The command line and `run()` call `supervisor.py`. `worker.py` is a program of its own, started by `process.py`. It
needs little of this, so nothing is imported here.
"""
