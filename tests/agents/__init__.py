"""What every agent with a model behind it must do, at the wire: the same tests for all of them."""
