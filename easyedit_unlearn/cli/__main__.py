"""``python -m easyedit_unlearn.cli``."""

from __future__ import annotations

from easyedit_unlearn.cli import main

if __name__ == "__main__":
    main()
