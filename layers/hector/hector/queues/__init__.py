"""Work queues: where turns wait for another process to run them."""
