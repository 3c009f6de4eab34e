"""Records of runs, and how people see them: tables and pages. Never imports torch."""
