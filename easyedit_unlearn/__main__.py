"""``python -m easyedit_unlearn``."""

from easyedit_unlearn.cli import main

main()
