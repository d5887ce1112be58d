"""Measurements of Hyperion, side by side with others."""
