"""The objects that a Tenant turns into, one module a kind: what it should be, what is there, and whether they agree."""
