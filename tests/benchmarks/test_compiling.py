"""The table of compile times, of networks that take no time."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

import compiler
from benchmarks import compiling
from compiler.diagnostics import Source


def test_the_table_has_a_row_for_each_size(tmp_path):
    path = tmp_path / "compiling.csv"
    result = CliRunner().invoke(
        compiling.main, ["--layers", "3", "--layers", "6", "--rounds", "1", "--csv", str(path)], catch_exceptions=False
    )
    assert result.exit_code == 0
    assert "residual" in result.output
    rows = path.read_text().splitlines()
    assert [row.split(",")[:2] for row in rows[1:]] == [[name, n] for name in compiling.NETWORKS for n in ("3", "6")]


@pytest.mark.parametrize("network", compiling.NETWORKS)
def test_a_network_has_as_many_layers_as_it_says(network):
    checked = compiler.check(Source("net.dl", compiling.text_of(network, 9)))
    each = compiling.NETWORKS[network][0]
    weighted = {weight.name.rpartition(".")[0] for weight in compiler.compile_model(checked, "Net").weights}
    assert len([name for name in weighted if "repeat" in name]) == 9 // each * min(each, 2)
