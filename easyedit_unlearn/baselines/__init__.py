"""Gradient baselines, as EasyEdit algorithms. A new one: a module with its hparams and a ``Baseline``."""
