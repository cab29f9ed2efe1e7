"""The Redis store beyond the contract: faults at the wire, physical expiry, the live tail, its engine."""
