"""A laboratory for Redis Streams: run a real queue, break it on purpose, see what became of every message."""
