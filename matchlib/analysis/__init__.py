"""Analyses of rankings: what explains a pair, where a ranking errs, whom it harms."""
