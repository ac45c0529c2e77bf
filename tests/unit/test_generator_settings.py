"""Each setting's default, and for each wrong value the one line that the operator of the generator gets to see."""

from pathlib import Path

import pytest

from tenantry.errors import SettingsError
from tenantry_generator.settings import HELP, Settings, load_settings

NAME = "letters, digits and _, not starting with a digit, written as the catalog has it"
URL = (
    "TENANTRY_DATABASE_URL holds '(hidden)'; it accepts postgresql://USER:PASSWORD@HOST:PORT/NAME, "
    "with special characters in USER and PASSWORD %-encoded"
)
TOKEN = (
    "AUTH_TOKEN holds '(hidden)'; it accepts printable ASCII without spaces that does not start with '$', "
    "which is an unresolved reference"
)


def load(**values: str) -> Settings:
    return load_settings({"AUTH_TOKEN": "s3cret", **values})


def test_the_article_s_environment_is_enough() -> None:
    settings = load_settings({"AUTH_TOKEN": " s3cret\n"})
    assert settings.auth_token == "s3cret"
    assert settings.sources == ("cluster", "postgres")
    assert (settings.host, settings.port) == ("0.0.0.0", 4355)
    assert settings.database.arguments == {
        "host": "localhost",
        "port": 5432,
        "user": "postgres",
        "password": None,
        "database": "organization",
    }
    assert str(settings.table) == "organization"
    assert (settings.table.tenant_column, settings.table.columns) == ("tenant", ("status",))


def test_a_database_url_wins_over_the_single_settings() -> None:
    database = load(DB_HOST="elsewhere", TENANTRY_DATABASE_URL="postgresql://me:pa%2Fss@db:5433/app").database
    assert database.arguments == {"dsn": "postgresql://me:pa%2Fss@db:5433/app"}
    assert (database.address, database.user, database.name) == ("db:5433", "me", "app")
    assert database.user_setting == database.name_setting == database.address_setting == "TENANTRY_DATABASE_URL"


def test_a_url_may_name_several_hosts_and_an_address_of_ipv6() -> None:
    database = load(TENANTRY_DATABASE_URL="postgres://a:b@one:5432,[::1]:5433/app?sslmode=verify-full").database
    assert database.address == "one:5432,[::1]:5433"
    assert database.hosts == (("one", 5432), ("::1", 5433))
    assert load(TENANTRY_DATABASE_URL="postgres://a:b@one,two/app").database.hosts == (("one", 5432), ("two", 5432))
    assert load(TENANTRY_DATABASE_URL="postgres://a:b@one:5433/app").database.hosts == ()


def test_a_table_may_have_a_schema() -> None:
    table = load(TENANTRY_TABLE="billing.Customers", TENANTRY_COLUMNS="plan, status,plan").table
    assert (table.schema, table.name, table.columns) == ("billing", "Customers", ("plan", "status"))


def test_a_token_directory_stands_in_for_the_token(tmp_path: Path) -> None:
    settings = load_settings({"TENANTRY_TOKEN_DIR": str(tmp_path)})
    assert (settings.auth_token, settings.token_dir) == (None, tmp_path)


def test_there_is_no_tls_without_a_directory_for_it(tmp_path: Path) -> None:
    assert (load().tls_dir, load(TENANTRY_TLS_DIR=str(tmp_path)).tls_dir) == (None, tmp_path)


def test_a_kubeconfig_is_not_looked_at_when_the_cluster_is_no_source() -> None:
    assert load(KUBECONFIG="/no/config", TENANTRY_SOURCES="postgres").sources == ("postgres",)


def test_no_secret_is_in_the_representation() -> None:
    settings = load(DB_PASSWORD="hunter2", TENANTRY_DATABASE_URL="postgresql://me:hunter2@db/app")
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in repr(load(DB_PASSWORD="hunter2"))
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (
            {"AUTH_TOKEN": ""},
            "AUTH_TOKEN is not set; it accepts the bearer token that Argo CD sends; or set TENANTRY_TOKEN_DIR",
        ),
        ({"AUTH_TOKEN": "  "}, TOKEN),
        ({"AUTH_TOKEN": "$argocd:plugin.token"}, TOKEN),
        ({"AUTH_TOKEN": "two words"}, TOKEN),
        ({"AUTH_TOKEN": "schlüssel"}, TOKEN),
        (
            {"TENANTRY_TOKEN_DIR": "/nowhere"},
            "TENANTRY_TOKEN_DIR holds '/nowhere'; it accepts the path of an existing directory",
        ),
        (
            {"TENANTRY_TLS_DIR": "/nowhere"},
            "TENANTRY_TLS_DIR holds '/nowhere'; it accepts the path of an existing directory",
        ),
        (
            {"TENANTRY_SOURCES": "cluster,mysql"},
            "TENANTRY_SOURCES holds 'cluster,mysql'; it accepts one or more of cluster, postgres, separated by commas",
        ),
        (
            {"TENANTRY_SOURCES": ","},
            "TENANTRY_SOURCES holds ','; it accepts one or more of cluster, postgres, separated by commas",
        ),
        (
            {"KUBECONFIG": "/no/config:/nor/this"},
            "KUBECONFIG holds '/no/config:/nor/this'; it accepts the path of a kubeconfig file that exists; "
            "in a pod, leave it unset",
        ),
        ({"TENANTRY_BIND": "4355"}, "TENANTRY_BIND holds '4355'; it accepts HOST:PORT, for example 0.0.0.0:4355"),
        (
            {"TENANTRY_BIND": "localhost:70000"},
            "TENANTRY_BIND holds 'localhost:70000'; it accepts HOST:PORT, for example 0.0.0.0:4355",
        ),
        ({"DB_PORT": "postgres"}, "DB_PORT holds 'postgres'; it accepts a whole number from 1 to 65535"),
        ({"DB_PORT": "0"}, "DB_PORT holds '0'; it accepts a whole number from 1 to 65535"),
        ({"TENANTRY_DATABASE_URL": "host=db password=hunter2"}, URL),
        ({"TENANTRY_DATABASE_URL": "mysql://me:hunter2@db/app"}, URL),
        ({"TENANTRY_DATABASE_URL": "postgresql://me:hunter2@db:port/app"}, URL),
        ({"TENANTRY_DATABASE_URL": "postgresql://me:hun/ter2@db:5432/app"}, URL),
        ({"TENANTRY_DATABASE_URL": "postgresql://me:hun#ter2@db:5432/app"}, URL),
        ({"TENANTRY_DATABASE_URL": "postgresql://me:hunter2@db:5432"}, URL),
        ({"TENANTRY_DATABASE_URL": "postgresql://me:hunter2@[::1/app"}, URL),
        (
            {"TENANTRY_DATABASE_URL": "postgresql://me:hunter2@db/app?sslmode=verify"},
            "TENANTRY_DATABASE_URL holds '(hidden)'; it accepts "
            "sslmode=disable|allow|prefer|require|verify-ca|verify-full, of which only verify-full is safe",
        ),
        (
            {"TENANTRY_DATABASE_URL": "postgresql://me:hunter2@db/app?sslmode=verify-full&sslrootcert=/no/ca.crt"},
            "TENANTRY_DATABASE_URL holds '(hidden)'; it accepts sslrootcert=FILE with a file that exists, "
            "unlike '/no/ca.crt'",
        ),
        (
            {"TENANTRY_TABLE": 'organization"; DROP TABLE x'},
            "TENANTRY_TABLE holds 'organization\"; DROP TABLE x'; it accepts TABLE or SCHEMA.TABLE, each of " + NAME,
        ),
        (
            {"TENANTRY_TABLE": "a.b.c"},
            f"TENANTRY_TABLE holds 'a.b.c'; it accepts TABLE or SCHEMA.TABLE, each of {NAME}",
        ),
        (
            {"TENANTRY_TENANT_COLUMN": "tenant, id"},
            f"TENANTRY_TENANT_COLUMN holds 'tenant, id'; it accepts one column's name: {NAME}",
        ),
        (
            {"TENANTRY_COLUMNS": "*"},
            "TENANTRY_COLUMNS holds '*'; it accepts the names of the columns to publish, separated by commas; "
            "'*' would publish every column, password hashes too, into Argo CD's logs",
        ),
        (
            {"TENANTRY_COLUMNS": "status,2nd"},
            f"TENANTRY_COLUMNS holds 'status,2nd'; it accepts names of columns, separated by commas: {NAME}",
        ),
        (
            {"TENANTRY_COLUMNS": "values,project,plan"},
            "TENANTRY_COLUMNS holds 'values,project,plan'; it accepts names of columns that are no key of an answer "
            "or a request; project, values is taken; rename it in a view and name that in TENANTRY_TABLE",
        ),
    ],
)
def test_a_wrong_value_is_one_line_that_says_how_to_mend_it(values: dict[str, str], line: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(**values)
    assert str(caught.value) == line
    assert "hunter2" not in str(caught.value)


def test_help_lists_every_variable() -> None:
    for variable in ("AUTH_TOKEN", "DB_NAME", "DB_USER", "DB_HOST", "DB_PORT", "DB_PASSWORD", "KUBECONFIG"):
        assert variable in HELP
    for suffix in ("SOURCES", "DATABASE_URL", "TABLE", "TENANT_COLUMN", "COLUMNS", "BIND", "TOKEN_DIR"):
        assert f"TENANTRY_{suffix}" in HELP


def test_the_lease_is_in_the_pod_s_own_namespace_where_the_cluster_is_a_source_and_else_only_where_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = tmp_path / "namespace"
    monkeypatch.setattr("tenantry.settings._POD_NAMESPACE", own)
    assert load().lease_namespace is None
    own.write_text("tenantry-system\n")
    assert load().lease_namespace == "tenantry-system"
    config = tmp_path / "config"
    config.touch()
    assert load(KUBECONFIG=str(config)).lease_namespace is None
    assert load(TENANTRY_SOURCES="postgres").lease_namespace is None
    assert load(TENANTRY_SOURCES="postgres", TENANTRY_LEASE_NAMESPACE="here").lease_namespace == "here"
    assert (load().pod_name, load(TENANTRY_POD_NAME="pod-1").pod_name) == (None, "pod-1")
    with pytest.raises(SettingsError, match="TENANTRY_LEASE_NAMESPACE holds 'No Name'; it accepts the name"):
        load(TENANTRY_LEASE_NAMESPACE="No Name")
