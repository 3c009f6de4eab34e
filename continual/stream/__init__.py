"""Tasks in an order: their rows, how they are read, split, checked and batched."""
