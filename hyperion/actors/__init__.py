"""The actors: supervision, and one module for each kind of process."""
