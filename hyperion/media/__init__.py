"""Photos: what they are, where they are kept, what is in them, and the states they go through."""
