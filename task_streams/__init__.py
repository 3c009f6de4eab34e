"""Streams of tasks, one file each: where its rows come from, under which licence, and how many there are."""
