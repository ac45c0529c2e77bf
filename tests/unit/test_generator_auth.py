"""Which Authorization headers are let in, and what becomes of tokens that change under a running process."""

from pathlib import Path

import pytest

from tenantry.errors import SettingsError
from tenantry_generator import auth
from tenantry_generator.auth import Caller, Tokens
from tenantry_generator.errors import Refused
from tenantry_generator.selector import parse_label_selector


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def refusal(tokens: Tokens, *headers: str) -> tuple[int, str]:
    with pytest.raises(Refused) as caught:
        tokens.check(list(headers))
    return caught.value.status, str(caught.value)


@pytest.mark.parametrize("header", ["Bearer s3cret", "bearer s3cret", "BEARER   s3cret "])
def test_the_token_is_let_in(header: str) -> None:
    Tokens(literal="s3cret", directory=None).check([header])


@pytest.mark.parametrize(
    "headers", [(), ("s3cret",), ("Bearer",), ("Bearer ",), ("Basic s3cret",), ("Bearer a", "Bearer b")]
)
def test_anything_but_one_bearer_token_is_asked_for_one(headers: tuple[str, ...]) -> None:
    tokens = Tokens(literal="s3cret", directory=None)
    assert refusal(tokens, *headers) == (401, "the request needs one header: Authorization: Bearer TOKEN")
    with pytest.raises(Refused) as caught:
        tokens.check(list(headers))
    assert caught.value.headers == {"WWW-Authenticate": 'Bearer realm="tenantry"'}


@pytest.mark.parametrize("token", ["other", "s3cre", "s3crett", "S3CRET", "\udcff", "ü"])
def test_a_wrong_token_is_forbidden(token: str) -> None:
    assert refusal(Tokens(literal="s3cret", directory=None), f"Bearer {token}") == (403, "the token is not valid")


def test_a_reference_that_argo_cd_did_not_resolve_is_named_as_such() -> None:
    status, message = refusal(Tokens(literal="s3cret", directory=None), "Bearer $argocd-secret:plugin.token")
    assert status == 401
    assert message == (
        "the token starts with '$': Argo CD could not resolve it; check that the Secret and the key that "
        "the plugin's ConfigMap names under `token` exist in Argo CD's namespace"
    )


def test_every_file_of_the_directory_holds_a_valid_token_but_the_kubelet_s_own(tmp_path: Path) -> None:
    (tmp_path / "current").write_text("new\n")
    (tmp_path / "previous").write_text(" old ")
    (tmp_path / "..data").write_text("hidden")
    (tmp_path / "sub").mkdir()
    tokens = Tokens(literal="fixed", directory=tmp_path)
    for token in ("new", "old", "fixed"):
        tokens.check([f"Bearer {token}"])
    assert refusal(tokens, "Bearer hidden")[0] == 403


def test_a_rotated_token_counts_and_the_old_one_no_longer(tmp_path: Path) -> None:
    clock = Clock()
    first, second = tmp_path / "..1", tmp_path / "..2"
    for folder, token in ((first, "old"), (second, "new")):
        folder.mkdir()
        (folder / "token").write_text(token)
    (tmp_path / "..data").symlink_to(first)
    (tmp_path / "token").symlink_to("..data/token")
    tokens = Tokens(literal=None, directory=tmp_path, clock=clock)
    tokens.check(["Bearer old"])
    (tmp_path / "..next").symlink_to(second)
    (tmp_path / "..next").replace(tmp_path / "..data")
    clock.now += 10
    tokens.check(["Bearer new"])
    assert refusal(tokens, "Bearer old")[0] == 403


def test_a_directory_that_empties_or_vanishes_leaves_the_last_tokens_valid(tmp_path: Path) -> None:
    clock = Clock()
    directory = tmp_path / "tokens"
    directory.mkdir()
    (directory / "token").write_text("s3cret")
    tokens = Tokens(literal=None, directory=directory, clock=clock)
    (directory / "token").unlink()
    clock.now += 10
    tokens.check(["Bearer s3cret"])
    directory.rmdir()
    clock.now += 10
    tokens.check(["Bearer s3cret"])
    directory.mkdir()
    (directory / "token").write_text("another")
    clock.now += 10
    tokens.check(["Bearer another"])
    assert refusal(tokens, "Bearer s3cret")[0] == 403


@pytest.mark.parametrize("content", ["", "\n", "$secret:key", "two words", "line\nline", "\x00"])
def test_a_directory_without_a_usable_token_ends_the_process(tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content)
    with pytest.raises(SettingsError) as caught:
        Tokens(literal=None, directory=tmp_path)
    expected = f"TENANTRY_TOKEN_DIR holds '{tmp_path}'; it accepts a directory with at least one readable token"
    assert str(caught.value) == expected


def test_the_caller_is_the_name_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "argocd").write_text("one")
    tokens = Tokens(literal="two", directory=tmp_path)
    assert (tokens.check(["Bearer one"]), tokens.check(["Bearer two"])) == (Caller("argocd"), Caller("AUTH_TOKEN"))


def test_a_selector_beside_a_token_binds_it_and_is_no_token(tmp_path: Path) -> None:
    (tmp_path / "gold").write_text("one")
    (tmp_path / "gold.selector").write_text("tier=gold,!internal\n")
    (tmp_path / "all").write_text("two")
    (tmp_path / "alone.selector").write_text("three")
    tokens = Tokens(literal=None, directory=tmp_path)
    bound = tokens.check(["Bearer one"])
    assert bound == Caller("gold", parse_label_selector("tier=gold,!internal", "x"))
    with pytest.raises(Refused, match="bound to a selector"):
        bound.require_unbound()
    tokens.check(["Bearer two"]).require_unbound()
    assert refusal(tokens, "Bearer three")[0] == 403
    assert refusal(tokens, "Bearer tier=gold,!internal")[0] == 403


@pytest.mark.parametrize("selector", ["", "\n", "tier in gold", "tier=gold,", "tier=g old", "a/b/c"])
def test_a_token_whose_selector_can_not_be_used_is_not_valid(tmp_path: Path, selector: str) -> None:
    (tmp_path / "gold").write_text("one")
    (tmp_path / "gold.selector").write_text(selector)
    (tmp_path / "all").write_text("two")
    tokens = Tokens(literal=None, directory=tmp_path)
    assert refusal(tokens, "Bearer one")[0] == 403
    tokens.check(["Bearer two"])


def test_a_changed_selector_counts(tmp_path: Path) -> None:
    clock = Clock()
    (tmp_path / "gold").write_text("one")
    (tmp_path / "gold.selector").write_text("tier=gold")
    tokens = Tokens(literal=None, directory=tmp_path, clock=clock)
    (tmp_path / "gold.selector").write_text("tier=silver")
    clock.now += 10
    assert tokens.check(["Bearer one"]).scope == parse_label_selector("tier=silver", "x")


def test_what_changes_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    (tmp_path / "gold").write_text("one")
    tokens = Tokens(literal=None, directory=tmp_path, clock=clock)
    (tmp_path / "gold").write_text("first")
    read = auth._read_token

    def meddle(path: Path) -> str | None:
        monkeypatch.undo()
        token = read(path)
        (tmp_path / "gold.selector").write_text("tier=gold")
        return token

    monkeypatch.setattr(auth, "_read_token", meddle)
    clock.now += 10
    assert refusal(tokens, "Bearer first")[0] == 403
    assert tokens.check(["Bearer first"]).scope == parse_label_selector("tier=gold", "x")
