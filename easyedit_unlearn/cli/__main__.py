"""``python -m easyedit_unlearn.cli``."""

from easyedit_unlearn.cli import main

if __name__ == "__main__":
    main()
