"""Analyses of what a ranking does: whom it serves worse, and what can be done about it."""
