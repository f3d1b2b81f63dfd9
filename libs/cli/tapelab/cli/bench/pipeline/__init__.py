"""``tapelab bench pipeline``: from topic to bars, from tick to signal, recovery and memory, on real processes."""
