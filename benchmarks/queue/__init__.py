"""The queue beside other queues; `python -m benchmarks.queue --help`."""
