"""The argument parser of all commands that are not Lightning's."""

from __future__ import annotations

import argparse
from typing import NoReturn

from ptst_pl import InputError


class Parser(argparse.ArgumentParser):
    """Its errors are the one line of every other error, under the command's name."""

    def error(self, message: str) -> NoReturn:
        """Raises InputError."""
        raise InputError(f"{self.prog.removeprefix('ptst_pl ')}: {message}")
