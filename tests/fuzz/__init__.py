"""Fuzzing a running system by its OpenAPI document."""
