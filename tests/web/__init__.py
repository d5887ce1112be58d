"""The contract over real HTTP."""
