"""What invokes a function other than HTTP: the work queue, schedules, and the table's own stream."""
