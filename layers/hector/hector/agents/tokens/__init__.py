"""How many tokens a text is, as the model that it is for counts them; see docs/memory.md."""
