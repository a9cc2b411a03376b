"""The only place that imports EasyEdit: find it, import it, adapt it, register methods, run edits through it."""
