"""The small commands, as a user runs them."""

import json
import subprocess
import sys

import pytest


def run(*arguments, **options):
    command = [sys.executable, "-m", "consent_middleware", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_keygen():
    """A key is random, and long enough that nothing warns of it."""
    keys = {run("keygen").stdout.strip() for _ in range(2)}
    assert len(keys) == 2
    assert all(len(key) >= 43 for key in keys)


def test_check_a_good_file(tmp_path):
    """A good file is counted, and the command ends well."""
    path = tmp_path / "cookies.toml"
    path.write_text('presets = ["flask"]\n')
    result = run("check", str(path))
    assert (result.returncode, result.stderr) == (0, "")
    assert "1 cookies, 0 vendors, 6 purposes" in result.stdout


def test_check_a_bad_file(tmp_path):
    """Every mistake is told at once, with its line and the likely fix."""
    path = tmp_path / "cookies.toml"
    path.write_text('versoin = 1\n[[cookies]]\nname = "a"\npurpose = "analitics"\n')
    result = run("check", str(path))
    assert result.returncode == 1
    first, second = result.stderr.splitlines()
    assert first.startswith(f"{path}:1: versoin:")
    assert "version" in first
    assert second.startswith(f"{path}:4: cookies[0].purpose:")
    assert "analytics" in second


def test_check_strictly(tmp_path):
    """A suspicion fails only a strict check."""
    path = tmp_path / "cookies.toml"
    path.write_text('[[cookies]]\nname = "_ga"\npurpose = "essential"\n')
    result = run("check", str(path))
    assert (result.returncode, "[warning]" in result.stderr) == (0, True)
    assert run("check", "--strict", str(path)).returncode == 1


@pytest.mark.parametrize(("vendors", "warned"), [(100, False), (400, True)])
def test_check_warns_of_choices_that_are_too_long_for_a_cookie(tmp_path, vendors, warned):
    """With so many vendors that a choice among them is coarsened, the site is told; it starts all the same."""
    path = tmp_path / "cookies.toml"
    path.write_text("".join(f'[vendors.v{i}]\nname = "V"\npurposes = ["social"]\n' for i in range(vendors)))
    result = run("check", str(path))
    assert (result.returncode, "1800 octets" in result.stderr) == (0, warned)
    assert run("check", "--strict", str(path)).returncode == warned


def test_schema():
    """The schema is JSON."""
    assert json.loads(run("schema").stdout)["properties"]["cookies"]


@pytest.fixture(scope="module")
def overview():
    return run("--help").stdout


@pytest.mark.parametrize("command", ["check", "keygen", "schema", "records"])
def test_help_lists_every_command(overview, command):
    """Each command is in the list and explains itself."""
    assert command in overview
    assert run(command, "--help").returncode == 0
