"""Names: a slug is stateless, always usable, and never makes one tenant of two."""

import pytest

from tenantry.names import is_dns_label, is_system_namespace, namespace_name, slug


@pytest.mark.parametrize("raw", ["acme", "a", "0815", "a-b-c", "7-begins-with-a-digit", "a" * 63])
def test_a_dns_label_is_its_own_slug(raw: str) -> None:
    assert slug(raw) == raw


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Acme Corp", "acme-corp-a73cb4"),
        ("global_tech", "global-tech-111497"),
        ("acme.corp", "acme-corp-80a1d5"),
        ("-acme-", "acme-185520"),
        ("株式会社", "tenant-e6843c"),
        ("", "tenant-e3b0c4"),
    ],
)
def test_any_other_name_gets_its_readable_part_and_a_digest(raw: str, expected: str) -> None:
    assert slug(raw) == expected


def test_names_that_read_alike_stay_different_tenants() -> None:
    alike = ["acme-corp", "Acme Corp", "acme corp", "ACME-CORP", "acme_corp", "acme.corp", " acme-corp"]
    assert len({slug(raw) for raw in alike}) == len(alike)


@pytest.mark.parametrize(
    "raw", ["a" * 64, "A" * 5000, "é" * 100, "a b" * 40, "x" * 55 + "--" + "Y" * 9, "\x00\n\t", "🦆"]
)
def test_every_slug_is_a_dns_label_and_its_own_slug(raw: str) -> None:
    assert is_dns_label(slug(raw))
    assert slug(slug(raw)) == slug(raw)


@pytest.mark.parametrize("text", ["", "-a", "a-", "A", "a.b", "a_b", "a" * 64, "a\n", "ä"])
def test_what_is_no_dns_label(text: str) -> None:
    assert not is_dns_label(text)


def test_a_namespace_is_named_after_its_tenant() -> None:
    assert namespace_name("acme", "dev") == "acme-dev"


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-anything", "argocd", "tenantry-system"])
def test_a_system_namespace_is_nobodys(name: str) -> None:
    assert is_system_namespace(name)


@pytest.mark.parametrize("name", ["acme", "kube", "kubernetes", "argocd-acme", "default-acme"])
def test_a_name_that_only_resembles_a_system_namespace_is_free(name: str) -> None:
    assert not is_system_namespace(name)
