"""A wheel carries the configs and the bundled model, so that ``ptst_pl demo`` runs where there is no repository."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
SHIPPED = ("configs", "checkpoints/tiny-chat", "checkpoints/real-aligned", "data/real")


class BuildWithShipped(build_py):
    """Copies what is shipped into the built package; an editable install finds it in the repository."""

    def run(self) -> None:
        """Build, then copy."""
        super().run()
        if not self.editable_mode:
            for name in filter(lambda name: (ROOT / name).exists(), SHIPPED):
                shutil.copytree(ROOT / name, Path(self.build_lib, "ptst_pl/shipped", name), dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithShipped})
