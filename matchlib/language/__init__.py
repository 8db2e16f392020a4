"""Language models, their prompts, and the texts that they write."""
