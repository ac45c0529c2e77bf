"""What a class demands of its Tenants, besides what it lends them: limits, and a schema for their parameters.

Apart from the model, because nothing of it is a Tenant's to say.
"""

from functools import cached_property
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from tenantry.parameters import Schema, compile_schema
from tenantry.schema import Amounts, FreeForm, Frozen

__all__ = ["ClassLimits", "NamespaceLimits", "ParametersSchema", "QuotaLimits"]


class NamespaceLimits(Frozen):
    """`spec.limits.namespaces`; None is no limit."""

    quota: int | None = None


class QuotaLimits(Frozen):
    """`spec.limits.resourceQuotas`: the most of each resource, for all namespaces of a Tenant together."""

    hard: Amounts = Field(default_factory=dict)


class ClassLimits(Frozen):
    """`spec.limits` of a TenantClass: the most that a Tenant of the class may ask for."""

    namespaces: NamespaceLimits = NamespaceLimits()
    resource_quotas: QuotaLimits = QuotaLimits()


def _check_schema(source: dict[str, Any]) -> dict[str, Any]:
    compile_schema(source)
    return source


class ParametersSchema(Frozen):
    """`spec.parametersSchema`: what the parameters of the class's Tenants must be like."""

    open_api_v3_schema: Annotated[FreeForm, AfterValidator(_check_schema)] = Field(alias="openAPIV3Schema")

    @cached_property
    def compiled(self) -> Schema:
        """The schema, ready for use."""
        return compile_schema(self.open_api_v3_schema)
