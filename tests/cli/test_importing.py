"""A command's module is imported without a search for garbage, which goes on as before afterwards."""

from __future__ import annotations

import gc
import sys

import pytest

from ptst_pl import cli


def test_collection_rests_while_a_module_is_imported(tmp_path, monkeypatch):
    (tmp_path / "noted_module.py").write_text("import gc\nENABLED = gc.isenabled()\n")
    (tmp_path / "broken_module.py").write_text("raise RuntimeError('in the middle')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        assert not cli._imported("noted_module").ENABLED
        assert cli._imported("noted_module") is sys.modules["noted_module"]
        with pytest.raises(RuntimeError, match="in the middle"):
            cli._imported("broken_module")
        assert gc.isenabled()
    finally:
        gc.unfreeze()
        sys.modules.pop("noted_module", None)
