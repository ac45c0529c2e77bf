-- Wakes the generator when the table changes, so that a change arrives at once and not at the next poll, up to 30 seconds
-- later. It is only a wake-up: the generator then reads the whole table. Installing it again does no harm.
--
-- Needs PostgreSQL 14 or later. Run it as the table's owner; for another table or schema, change the name of the table.

CREATE OR REPLACE FUNCTION tenantry_notify() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog
AS $$
BEGIN
    NOTIFY tenantry; -- several in one transaction arrive as one
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER tenantry_notify
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON organization
    FOR EACH STATEMENT EXECUTE FUNCTION tenantry_notify();

-- A role for the generator that can read those two columns and nothing else. Fill in the password and run this once:
--
-- CREATE ROLE tenantry_reader LOGIN PASSWORD '…' CONNECTION LIMIT 5;
-- ALTER ROLE tenantry_reader SET default_transaction_read_only = on;
-- GRANT USAGE ON SCHEMA public TO tenantry_reader;
-- GRANT SELECT (tenant, status) ON organization TO tenantry_reader;
--
-- The generator refuses to read a table that row-level security would show it in part: a role that can't see every row
-- must not decide which tenants there are. Where a table has such policies, give the role BYPASSRLS.
--
-- To remove it:
--
-- DROP TRIGGER tenantry_notify ON organization;
-- DROP FUNCTION tenantry_notify();
