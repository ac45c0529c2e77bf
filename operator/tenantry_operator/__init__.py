"""The operator: turns a Tenant into a place in the cluster and keeps it that way."""
