"""Options of a policy: one that there is not stops the start, instead of being ignored."""

import pytest

from consent_middleware import ConfigurationError, ConsentPolicy, Registry

KEY = "a key for the tests alone"
MISSPELT = {
    "recrods": "records",
    "record": "records",
    "on_decisions": "on_decision",
    "onChoice": "on_choice",
    "page": "pages",
    "secret_key": "secret_keys",
    "Clock": "clock",
}


@pytest.fixture
def path(tmp_path):
    (tmp_path / "cookies.toml").write_text("")
    return tmp_path / "cookies.toml"


@pytest.mark.parametrize("option", MISSPELT)
def test_a_misspelt_option_stops_the_start(option, path):
    """The error says which was probably meant: a store that is not opened would keep no proof."""
    said = f"no option {option!r} \\(did you mean '{MISSPELT[option]}'\\?\\)"
    with pytest.raises(ConfigurationError, match=said):
        ConsentPolicy(Registry.from_text(""), secret_keys=KEY, **{option: None})
    with pytest.raises(ConfigurationError, match=said):
        ConsentPolicy.from_file(path, **{option: None})


def test_an_option_like_no_other_lists_them(path):
    """Several are told of at once."""
    with pytest.raises(ConfigurationError, match=r"no option 'xyz'.*; there are .*clock, .*records") as told:
        ConsentPolicy.from_file(path, secret_keys=KEY, xyz=1, recrods=None)
    assert "no option 'recrods' (did you mean 'records'?)" in str(told.value)


def test_nothing_is_read_or_opened_before(tmp_path):
    """Neither the registry nor a store."""
    with pytest.raises(ConfigurationError, match="no option 'recrods'"):
        ConsentPolicy.from_file(tmp_path / "missing.toml", secret_keys=KEY, recrods="sqlite:///x.db")
