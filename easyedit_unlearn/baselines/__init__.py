"""Gradient baselines, as EasyEdit algorithms. A new one: hparams, a loss, and a ``Method`` in a module of its own."""
