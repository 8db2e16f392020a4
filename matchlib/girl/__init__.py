"""GIRL (arXiv 2307.02157): write the job that a person should look for, and use it."""
