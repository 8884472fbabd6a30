"""``python -m ptst_pl``."""

from ptst_pl.cli import main

if __name__ == "__main__":
    main()
