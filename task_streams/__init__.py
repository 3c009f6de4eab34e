"""Streams of tasks, one file each. A file says where its rows come from, under which licence, and how many there are."""
