"""Ranked lists of people for a job, or of jobs for a person, with reasons: `matchlib rank`."""
