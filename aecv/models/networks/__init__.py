"""What every model is made of: batches, layers, where they start, and stacks of networks side by side."""
