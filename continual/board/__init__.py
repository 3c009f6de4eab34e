"""Leaderboards: a folder of rules and records, and the table that follows from them."""
