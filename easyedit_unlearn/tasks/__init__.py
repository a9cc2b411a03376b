"""Where questions come from. A new task: subclass ``components.Task`` and return it from ``easyedit_unlearn_tasks``."""
