"""The learning stage: train, choose among restarts, compare with the previous CV."""
