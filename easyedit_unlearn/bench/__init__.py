"""A grid of methods, targets, mergers, sizes, seeds and models: every cell in a process of its own, none run twice."""
