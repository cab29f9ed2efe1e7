"""Worker processes that are killed at random, on a store that they share; and a checker that reads everything back."""
