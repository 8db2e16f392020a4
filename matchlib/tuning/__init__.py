"""Language models that are tuned here to write hypothetical documents: HyRE by SFT and DPO."""
