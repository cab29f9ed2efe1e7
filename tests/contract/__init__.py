"""The contract suite, `hector.testing.contract`, on every store; and what only single engines can show."""
