"""The benchmark of ``dlc serve`` runs, on few requests."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from benchmarks.serving import main

pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")


def test_both_servers_are_asked() -> None:
    outcome = CliRunner().invoke(main, ["--rounds", "1", "--requests", "9", "--connections", "4", "--batch", "8"])
    assert outcome.exit_code == 0, outcome.output
    assert "9 requests of one row from 4 connections" in outcome.output
    assert "one by one" in outcome.output
    assert "batches of up to 8" in outcome.output
