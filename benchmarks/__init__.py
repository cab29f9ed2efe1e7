"""The numbers that the README claims: `python -m benchmarks`. See README.md beside this file."""
