"""What can be known of the Dockerfile without a daemon: that it names what is there, and keeps the usual rules."""

from __future__ import annotations

import re
from pathlib import Path

from dlc.commands.serve import serve

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "deploy" / "Dockerfile").read_text()
LINES = [line for line in TEXT.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]


def test_the_base_is_pinned() -> None:
    (version,) = re.findall(r"^ARG PYTHON=(\S+)$", TEXT, re.MULTILINE)
    assert re.fullmatch(r"3\.\d+\.\d+-slim-\w+", version)
    assert all(line.split()[1] == "python:${PYTHON}" for line in LINES if line.startswith("FROM"))


def test_it_does_not_run_as_root() -> None:
    last = max(number for number, line in enumerate(LINES) if line.startswith("FROM"))
    assert any(re.match(r"USER [1-9]\d*$", line) for line in LINES[last:])
    assert any(line.startswith("HEALTHCHECK") and "/v2/health/ready" in line for line in LINES[last:])


def test_what_is_copied_is_there_and_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for line in LINES:
        if line.startswith("COPY") and "--from" not in line:
            for name in line.split()[1:-1]:
                assert (ROOT / name).exists()
                assert f"!{name}" in ignored


def test_the_server_is_asked_for_what_it_knows() -> None:
    (entry,) = (line for line in LINES if line.startswith("ENTRYPOINT"))
    options = re.findall(r'"(--[\w-]+)"', entry)
    assert entry.startswith('ENTRYPOINT ["dlc", "serve", "/models"')
    assert set(options) <= {name for parameter in serve.params for name in parameter.opts}
