"""Which Authorization headers are let in, and what becomes of tokens that change under a running process."""

from pathlib import Path

import pytest

from tenantry.errors import SettingsError
from tenantry_generator.auth import Tokens
from tenantry_generator.errors import Refused


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
