"""A short readable twin of each algorithm: oracle and teaching text. Slow on purpose."""
