"""What a process is to its system: the file with its number, its user, its signals, what systemd is told of it.

Each file stands by itself and knows nothing of servers. Called by `server/claims.py`, by `signals.py` and by whoever
supervises workers.
"""
