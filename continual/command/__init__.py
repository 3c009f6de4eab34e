"""One command a file: ``main`` takes what was typed after the command's name and returns the exit code."""
