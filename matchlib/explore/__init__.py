"""Looking at rankings: two systems' lists side by side, marked texts, a reader's judgements."""
