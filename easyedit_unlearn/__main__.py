"""``python -m easyedit_unlearn``."""

from __future__ import annotations

from easyedit_unlearn.cli import main

main()
