"""Training: losses and trainers."""
