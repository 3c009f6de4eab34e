"""How each task is learned after the ones before it, one file a strategy."""
