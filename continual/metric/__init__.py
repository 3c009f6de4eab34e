"""What a matrix of scores says of a stream: accuracy, forgetting, transfer. One file an idea."""
